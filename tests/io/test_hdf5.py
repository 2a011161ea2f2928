"""Native HDF5 gives back what it was given, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid, Grid, SurveyGrid
from recon3d.io import load, save
from recon3d.io.hdf5 import FORMAT, MARKER
from recon3d.scan import Scan
from recon3d.volume import Volume

GRIDS: list[Grid] = [
    AffineGrid((2, 3, 4), ((1.0, 0.5, 0.0, -3.0), (0.0, 2.0, 0.0, 1 / 3), (0.0, 0.25, 2.5, 0.0), (0.0, 0.0, 0.0, 1.0))),
    SurveyGrid((2, 3, 4), (100, 2), (7, -1), (1e5, 2e5), (12.5, 0.1), (-0.1, 25.0), 0.5, 0.004),
    BeamGrid((2, 3, 4), (-0.3, 0.1), (5.0, 0.2), pitch_mm=0.3),
]

names = st.text("abcdefghij_é 1", min_size=1, max_size=8)
plain = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    hnp.arrays(st.sampled_from([np.float64, np.int16, np.complex64, np.bool_]), hnp.array_shapes(max_side=4)),
)
numbers = st.sampled_from([np.int16, np.uint8, np.float32, np.float64, np.complex64, np.complex128])


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert set(a) == set(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        assert a == b


block = hnp.arrays(numbers, st.tuples(st.integers(1, 4), st.integers(1, 5)), fill=st.just(1))


@settings(max_examples=40)
@given(
    st.lists(block, min_size=1, max_size=3),
    st.booleans(),
    st.dictionaries(names, plain, max_size=4),
    st.dictionaries(names, st.floats(-1e9, 1e9), max_size=2),
    st.sampled_from(GRIDS),
)
def test_scan_round_trip(
    tmp_path_factory: pytest.TempPathFactory, blocks: Any, ragged: bool, entries: Any, calibration: Any, grid: Grid
) -> None:
    blocks = [np.nan_to_num(block, nan=1.0, posinf=2.0, neginf=3.0) for block in blocks]
    data = tuple(blocks) if ragged else blocks[0]
    scan = Scan("any", data, ("shot", "sample"), entries, grid, {"std": 0.1}, "1/mm", calibration, "é")
    path = tmp_path_factory.mktemp("h5") / "s.h5"
    save(scan, path)
    back = load(path)
    assert isinstance(back, Scan)
    for field in ("kind", "data", "axes", "acquisition", "noise", "units", "calibration", "name"):
        assert_same(getattr(back, field), getattr(scan, field))
    assert back.grid == grid


@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: type(g).__name__)
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.complex64])
@pytest.mark.parametrize("frames", [None, 3])
def test_volume_round_trip(tmp_path: Path, grid: Grid, dtype: type, frames: int | None) -> None:
    shape = grid.shape if frames is None else (frames, *grid.shape)
    data = (np.arange(np.prod(shape)).reshape(shape) * (1 + 1j if dtype is np.complex64 else 1)).astype(dtype)
    times = (0.0, 0.1, 0.7) if frames else None
    tags = {"kernel": None, "window": (40.0, 400.0), "steps": {"names": ("a", "b"), "n": 2}, "ok": True}
    save(Volume(data, grid, "HU", times, tags), tmp_path / "v.hdf5")
    back = load(tmp_path / "v.hdf5")
    assert isinstance(back, Volume)
    assert_same(back.data, data)
    assert (back.grid, back.units, back.times_s) == (grid, "HU", times)
    assert_same(back.tags, tags)


def test_counts_are_compressed_and_noise_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grid = AffineGrid.centred((20, 40, 50), 1.0)
    for name, data in (("counts", rng.poisson(9, grid.shape)), ("noise", rng.normal(size=grid.shape))):
        save(Volume(data, grid), tmp_path / f"{name}.h5")
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert (file["data"].compression is not None) == (name == "counts")
        np.testing.assert_array_equal(load(tmp_path / f"{name}.h5").data, data)  # type: ignore[arg-type]


def test_long_text_survives(tmp_path: Path) -> None:
    text = "header " * 20_000
    save(Volume(np.zeros((2, 3, 4)), GRIDS[0], tags={"text": text}), tmp_path / "v.h5")
    assert load(tmp_path / "v.h5").tags["text"] == text  # type: ignore[union-attr]


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_truncated(tmp_path: Path, part: float) -> None:
    path = tmp_path / "v.h5"
    save(Volume(np.random.default_rng(0).normal(size=(2, 3, 4)), GRIDS[0]), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(InputError, match=r"v\.h5 is damaged or truncated"):
        load(path)


@pytest.mark.parametrize("lost", ["data", "grid", "tags"])
def test_missing_parts(tmp_path: Path, lost: str) -> None:
    save(Volume(np.zeros((2, 3, 4)), GRIDS[0]), tmp_path / "v.h5")
    with h5py.File(tmp_path / "v.h5", "a") as file:
        del file[lost]
    with pytest.raises(InputError, match=f"damaged or truncated.*{lost}"):
        load(tmp_path / "v.h5")


def test_newer_and_unknown(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    save(Volume(np.zeros((2, 3, 4)), GRIDS[0]), path)
    with h5py.File(path, "a") as file:
        file.attrs["kind"] = "hologram"
    with pytest.raises(InputError, match="'hologram': expected a volume or a scan"):
        load(path)
    with h5py.File(path, "a") as file:
        file.attrs[MARKER] = FORMAT + 1
    with pytest.raises(InputError, match="install a newer recon3d"):
        load(path)


def test_what_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    for tags in ({"f": object()}, {"a/b": 1}, {"t": np.array(["x"], object)}):
        with pytest.raises(InputError):
            save(Volume(np.zeros((2, 3, 4)), GRIDS[0], tags=tags), tmp_path / "v.h5")
    assert list(tmp_path.iterdir()) == []
