"""SEG-Y: files made by segyio itself, read with their survey, written back with their headers; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recon3d
import recon3d.errors
from recon3d.errors import GeometryError, InputError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.io import segy
from recon3d.io.inspect import describe, lines
from recon3d.io.segy.reader import dead_traces, fold_map
from recon3d.scan import Scan
from recon3d.volume import Volume

segyio = pytest.importorskip("segyio")

NI, NX, NT = 5, 4, 8
ORIGIN, ALONG, ACROSS = np.array([5e5, 6e6]), np.array([12.0, 16.0]), np.array([-20.0, 15.0])  # rotated, 20 x 25 m
Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Write a survey with segyio: inlines 10, 12 ..., crosslines 100 ...; options leave traces out or spoil them."""

    def write(
        keep: Callable[[int, int], bool] = lambda i, x: True,
        *,
        format: int = 5,
        crossline_sorted: bool = False,
        words: bool = True,
        scalar: int = -10,
        offsets: tuple[int, ...] = (0,),
        spoil: Callable[[int, np.ndarray], np.ndarray] = lambda n, trace: trace,
        ids: dict[int, int] | None = None,
        endian: str = "big",
        delay: int = 40,
    ) -> Path:
        path = tmp_path / "made.sgy"
        pairs = [(i, x) for i in range(NI) for x in range(NX)]
        if crossline_sorted:
            pairs = [(i, x) for x in range(NX) for i in range(NI)]
        chosen = [(i, x, o) for i, x in pairs if keep(i, x) for o in offsets]
        spec = segyio.spec()
        spec.format, spec.samples, spec.tracecount, spec.endian = format, np.arange(NT) * 4, len(chosen), endian
        with segyio.create(str(path), spec) as file:
            file.text[0] = segyio.tools.create_text_header({1: "made for a test"})
            file.bin.update({3217: 4000})
            for n, (i, x, offset) in enumerate(chosen):
                xy = ORIGIN + i * ACROSS + x * ALONG
                factor = abs(scalar) if scalar < 0 else 1 / max(scalar, 1)
                header = {1: n + 1, 29: (ids or {}).get(n, 1), 37: offset, 71: scalar, 109: delay, 115: NT, 117: 4000}
                header |= {181: round(xy[0] * factor), 185: round(xy[1] * factor)}
                if words:
                    header |= {189: 10 + 2 * i, 193: 100 + x}
                file.header[n] = header
                values = (100 * i + 10 * x + np.arange(NT) + 1 + offset).astype(np.float32)
                file.trace[n] = spoil(n, values).astype(file.dtype)
        return path

    return write


def gappy(i: int, x: int) -> bool:
    return (i, x) not in {(1, 2), (4, 3), (0, 0)}


@pytest.mark.parametrize("format", [1, 2, 3, 5])
@pytest.mark.parametrize("endian", ["big", "little"])
def test_complete_survey_is_a_volume_at_its_place(make: Maker, format: int, endian: str) -> None:
    volume = recon3d.load(make(format=format, endian=endian))
    assert isinstance(volume, Volume)
    grid = volume.grid
    assert isinstance(grid, SurveyGrid)
    assert (grid.shape, grid.inlines, grid.crosslines) == ((NX, NI, NT), (10, 2), (100, 1))
    np.testing.assert_allclose(grid.origin_m, ORIGIN)
    np.testing.assert_allclose((grid.inline_step_m, grid.crossline_step_m), (ACROSS, ALONG))
    assert (grid.sample_start, grid.sample_step, grid.sample_unit) == (0.04, 0.004, "s")
    assert volume.data[2, 3].tolist() == [321.0 + k for k in range(NT)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": 1},
        {"format": 3},
        {"crossline_sorted": True},
        {"keep": gappy},
        {"endian": "little"},
        {"scalar": 10},
    ],
)
def test_round_trip_is_byte_identical(make: Maker, tmp_path: Path, options: dict[str, Any]) -> None:
    path, copy = make(**options), tmp_path / "copy.sgy"
    recon3d.save(recon3d.load(path), copy, like=path)
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("crossline_sorted", [False, True])
def test_filled_traces_get_headers_coordinates_and_a_mark(make: Maker, tmp_path: Path, crossline_sorted: bool) -> None:
    path, out = make(gappy, format=1, crossline_sorted=crossline_sorted), tmp_path / "out.sgy"
    scan = recon3d.load(path)
    assert isinstance(scan, Scan)
    cube = np.full((NX, NI, NT), 7.25, np.float32)
    cube[tuple(np.asarray(scan.acquisition[name]) for name in ("crossline", "inline"))] = scan.data
    recon3d.save(Volume(cube, scan.grid), out, like=path)
    with segyio.open(str(out)) as file:  # it is a regular cube now, which segyio finds by itself
        assert (len(file.ilines), len(file.xlines)) == (NI, NX)
        slow_first = cube if crossline_sorted else cube.swapaxes(0, 1)  # the order of the source is kept
        np.testing.assert_array_equal(segyio.tools.cube(file), slow_first)
        marked = {(h[189], h[193]): (h[181], h[185], h[29]) for h in file.header if h[233] == 1}
        assert b"3 of 20 traces filled" in bytes(file.text[0])
    assert set(marked) == {(12, 102), (18, 103), (10, 100)}
    assert marked[12, 102] == (*np.rint(10 * (ORIGIN + ACROSS + 2 * ALONG)).astype(int), 1)
    before, after = (_records(p) for p in (path, out))
    assert before <= after  # every old trace is there, header and samples, byte for byte
    assert len(after - before) == 3


def _records(path: Path) -> set[bytes]:
    raw, size = path.read_bytes()[3600:], 240 + 4 * NT
    return {raw[k : k + size] for k in range(0, len(raw), size)}


def test_rotated_survey_from_coordinates_alone(make: Maker) -> None:
    scan = recon3d.load(make(gappy, words=False, scalar=-100))
    assert isinstance(scan, Scan)
    grid = scan.grid
    assert isinstance(grid, SurveyGrid)
    assert sorted(grid.shape[:2]) == [NX, NI]
    lengths = sorted(float(np.hypot(*step)) for step in (grid.inline_step_m, grid.crossline_step_m))
    np.testing.assert_allclose(lengths, [20.0, 25.0], rtol=1e-3)
    assert "from the coordinates" in str(scan.acquisition["assumed"])


def test_binning_of_given_size(make: Maker) -> None:
    azimuth = float(np.degrees(np.arctan2(*ALONG)))
    volume = recon3d.load(make(words=False), bin_m=(20.0, 25.0), azimuth_deg=azimuth)
    assert volume.grid.shape == (NX, NI, NT)


def test_without_numbers_and_places_the_traces_are_a_line(make: Maker) -> None:
    path = make(words=False)
    raw = bytearray(path.read_bytes())
    size = 240 + 4 * NT
    for k in range(NI * NX):
        raw[3600 + k * size + 180 : 3600 + k * size + 188] = bytes(8)
    path.write_bytes(raw)
    assert recon3d.load(path).grid.shape == (NI * NX, 1, NT)


def test_dead_traces_are_told_from_quiet_ones(make: Maker) -> None:
    def spoil(n: int, trace: np.ndarray) -> np.ndarray:
        return {1: trace * 0, 2: trace * 0 + 5, 3: trace * np.nan, 4: trace * 1e-5, 5: trace * 1e-12}.get(n, trace)

    scan = recon3d.load(make(spoil=spoil, ids={6: 2, 7: 3}))
    assert isinstance(scan, Scan)
    dead = {1, 2, 3, 5, 6, 7}  # zero, constant, not finite, fainter than any recording, marked; 4 is only quiet
    assert len(scan.data) == NI * NX - len(dead)
    data = np.random.default_rng(0).standard_normal((9, 20))
    data[3] = 0
    assert dead_traces(data, np.ones(9, int)).tolist() == [k == 3 for k in range(9)]


def test_offsets_and_duplicates(make: Maker) -> None:
    path = make(offsets=(100, 300))
    with pytest.raises(
        InputError, match=r"20 bins hold more than one trace, up to 2, of 2 offsets: choose one by offset="
    ):
        recon3d.load(path)
    assert recon3d.load(path, offset=300).data[0, 0, 0] == 301
    assert recon3d.load(path, duplicates="first").data[0, 0, 0] == 101
    assert recon3d.load(path, duplicates="mean").data[0, 0, 0] == 201
    with pytest.raises(InputError, match="no live trace of offset 5: its offsets are 100, 300"):
        recon3d.load(path, offset=5)
    with pytest.raises(InputError, match="give duplicates=first or =mean"):
        recon3d.load(make(offsets=(7, 7)))


def test_all_dead_is_one_sentence(make: Maker) -> None:
    with pytest.raises(InputError, match=r"All 20 traces of .* are dead"):
        recon3d.load(make(spoil=lambda n, trace: trace * 0))


def test_truncated_and_wrong_files_are_one_sentence(make: Maker, tmp_path: Path) -> None:
    raw = make().read_bytes()

    def spoiled(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    with pytest.raises(InputError, match="ends 172 bytes into a trace of 272, after 19 whole ones: it is cut short"):
        recon3d.load(spoiled("cut.sgy", raw[:-100]))
    with pytest.raises(InputError, match="fewer than the headers"):
        recon3d.load(spoiled("short.sgy", raw[:500]))
    with pytest.raises(InputError, match="states sample format 4: expected one of 1, 2, 3"):
        recon3d.load(spoiled("format.sgy", raw[:3224] + b"\0\4" + raw[3226:]))
    empty = bytearray(raw)
    empty[3220:3222] = empty[3714:3716] = b"\0\0"
    with pytest.raises(InputError, match="states no samples per trace"):
        recon3d.load(spoiled("samples.sgy", bytes(empty)))
    unknown = bytearray(raw)
    unknown[3216:3218] = b"\0\0"
    for k in range(NI * NX):
        unknown[3600 + k * 272 + 116 : 3600 + k * 272 + 118] = b"\0\0"
    path = spoiled("interval.sgy", bytes(unknown))
    with pytest.raises(InputError, match="states no sample interval: give interval_ms"):
        recon3d.load(path)
    assert recon3d.load(path, interval_ms=2.0).grid.sample_step == 0.002
    assert recon3d.load(path, interval_ms=5.0, unit="m").grid.sample_step == 5.0


def test_new_files_hold_what_the_grid_says(make: Maker, tmp_path: Path) -> None:
    volume, out = recon3d.load(make()), tmp_path / "new.sgy"
    recon3d.save(volume, out)
    again = recon3d.load(out)
    np.testing.assert_array_equal(again.data, volume.data)
    assert again.grid == volume.grid
    scan = recon3d.load(make(gappy))
    recon3d.save(scan, out, overwrite=True)
    assert isinstance(recon3d.load(out), Scan)


def test_what_segy_cannot_hold(make: Maker, tmp_path: Path) -> None:
    image = Volume(np.zeros((2, 2, 2)), AffineGrid.centred((2, 2, 2), 1.0))
    with pytest.raises((InputError, GeometryError), match="SurveyGrid, not a AffineGrid"):
        recon3d.save(image, tmp_path / "a.sgy")
    volume = recon3d.load(make())
    with pytest.raises(InputError, match="real traces"):
        recon3d.save(volume.with_data(volume.data + 1j), tmp_path / "a.sgy")
    small = make(lambda i, x: i < 3)
    with pytest.raises(InputError, match="is of another survey"):
        recon3d.save(volume, tmp_path / "a.sgy", like=small)


def test_integers_are_rounded_and_kept_in_range(make: Maker, tmp_path: Path) -> None:
    path, out = make(format=3), tmp_path / "out.sgy"
    volume = recon3d.load(path)
    data = volume.data.copy()
    data[0, 0, :2] = 1.6, 1e6
    recon3d.save(volume.with_data(data), out, like=path)
    assert recon3d.load(out).data[0, 0, :2].tolist() == [2.0, 32767.0]


def test_inspect_prints_survey_and_fold(make: Maker) -> None:
    text = "\n".join(lines(describe(make(gappy, format=1))))
    for words in ("4-byte IBM float, big-endian", "inlines: 10 to 18 in steps of 2 (5)", "20, 3 without a live trace",
                  ".111", "11.1", "spacing m (inlines, crosslines):", "lines from: bytes 189 and 193"):  # fmt: skip
        assert words in text


def test_fold_map_never_hides_a_gap() -> None:
    fold = np.full((200, 100), 12)
    fold[77, 33] = 0
    text = fold_map(fold)
    assert len(text) <= 24
    assert max(map(len, text)) <= 64
    assert sum(line.count(".") for line in text) == 1
    assert "+" in text[0]


def test_missing_package_names_the_extra(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    monkeypatch.setitem(__import__("sys").modules, "segyio", None)
    with pytest.raises(recon3d.errors.MissingPackageError, match=r"pip install 'recon3d\[seismic\]'"):
        segy.read(path)
