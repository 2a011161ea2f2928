"""Targets, reconstructions and what a submission must be."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from recon3d.errors import InputError, OutputExistsError
from recon3d.io.leaderboard import read_expected, read_reconstruction, read_target, volume_files, write_reconstruction

HEADER = """<ismrmrdHeader><encoding>
<encodedSpace><matrixSize><x>640</x><y>{lines}</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize></reconSpace></encoding></ismrmrdHeader>"""


def write(path: Path, shape: tuple[int, ...], header: str | None = None, **items: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("kspace", shape, "c8")
        if header is not None:
            file["ismrmrd_header"] = header.encode()
        for name, data in items.items():
            file[name] = data
    return path


@pytest.mark.parametrize(
    ("columns", "recon", "size"),
    [
        (372, (320, 320), (320, 320)),
        (320, (384, 312), (384, 312)),  # brain targets need not be square
        (300, (320, 320), (300, 300)),  # a FLAIR narrower than its matrix: a square of the width, as the official code
    ],
)
def test_size_of_a_submission(tmp_path: Path, columns: int, recon: tuple[int, int], size: tuple[int, int]) -> None:
    header = HEADER.format(lines=columns, rows=recon[0], columns=recon[1])
    expected = read_expected(write(tmp_path / "a.h5", (3, 2, 640, columns), header))
    assert (expected.slices, expected.size) == (3, size)
    assert (expected.acquisition, expected.acceleration) == ("", 0)


def test_what_is_no_fastmri_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.h5 is no fastMRI file"):
        read_expected(write(tmp_path / "a.h5", (1, 2, 4, 4)))
    with pytest.raises(InputError, match="no data set 'reconstruction'"):
        read_reconstruction(tmp_path / "a.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no \.h5 file"):
        volume_files(tmp_path / "empty")


def test_target_of_each_challenge(tmp_path: Path) -> None:
    both = {"reconstruction_rss": np.full((1, 8, 8), 2.0), "reconstruction_esc": np.full((1, 8, 8), 3.0)}
    multi = write(tmp_path / "multi.h5", (1, 2, 8, 8), **both)
    single = write(tmp_path / "single.h5", (1, 8, 8), **both)
    assert [read_target(path).data[0, 0, 0] for path in (multi, single)] == [2.0, 3.0]
    assert read_target(single, "multicoil").data[0, 0, 0] == 2.0
    lacking = write(tmp_path / "lacking.h5", (1, 8, 8), reconstruction_rss=both["reconstruction_rss"])
    with pytest.raises(InputError, match="holds no target"):  # never a sum of squares for an emulated coil
        read_target(lacking)


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_only_magnitudes_are_submitted(tmp_path: Path, bad: float) -> None:
    data = np.ones((2, 4, 4))
    data[1, 2, 3] = bad
    with pytest.raises(InputError, match="magnitudes"):
        write_reconstruction(tmp_path / "a.h5", data)
    assert list(tmp_path.iterdir()) == []


def test_written_files_are_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_reconstruction(path, np.ones((2, 4, 4)), {"method": "x"})
    assert read_reconstruction(path).data.dtype == np.float32
    with pytest.raises(OutputExistsError):
        write_reconstruction(path, np.zeros((2, 4, 4)))
    write_reconstruction(path, np.zeros((2, 4, 4)), overwrite=True)
    assert not read_reconstruction(path).data.any()
