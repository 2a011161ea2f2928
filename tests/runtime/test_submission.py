"""A submission is read again; what it lacks is told file by file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.io.leaderboard import Expected, write_reconstruction
from recon3d.runtime.submission import check_submission, submission_image
from recon3d.runtime.undersampling import undersample_file
from recon3d.volume import Volume

HEADER = """<ismrmrdHeader><encoding><encodedSpace><matrixSize><x>8</x><y>12</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize></reconSpace><encodingLimits><kspace_encoding_step_1>
<center>4</center><maximum>7</maximum></kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def fully_sampled(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["kspace"] = np.full((2, 3, 8, 12), -1 - 1j, np.complex64)
        file["ismrmrd_header"] = HEADER.encode()
        file.attrs.update(max=1.0, norm=2.0)
    return path


def volume(data: np.ndarray) -> Volume:
    return Volume(data, AffineGrid.centred(data.shape, 1.0))


def test_the_image_is_the_magnitude_of_the_middle() -> None:
    data = np.arange(2 * 9 * 8).reshape(2, 9, 8) * 1j
    image = submission_image(volume(data), Expected(2, (4, 5)))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.abs(data[:, 2:6, 1:6]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.ones((3, 8, 8)), "has 3 slices, the input 2"),
        (np.ones((2, 4, 8)), "slices of 4 x 8, the submission 5 x 5"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        (None, "this is a scan or a series"),
    ],
)
def test_volumes_that_make_no_submission(data: np.ndarray | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        submission_image(None if data is None else volume(data), Expected(2, (5, 5)))


def test_a_submission_is_checked_from_the_disk(tmp_path: Path) -> None:
    inputs, submission = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    submission.mkdir()
    for name in "abcd":
        fully_sampled(inputs / f"{name}.h5")
    write_reconstruction(submission / "a.h5", np.ones((2, 8, 8)))
    write_reconstruction(submission / "b.h5", np.ones((2, 8, 7)))
    with h5py.File(submission / "c.h5", "w") as file:
        file["reconstruction"] = np.ones((2, 8, 8))
    (submission / "notes.txt").touch()
    faults = check_submission(inputs, submission)
    assert len(faults) == 4
    for fault, words in zip(
        faults, ("notes.txt is no file", "(2, 8, 7)", "c.h5 holds float64", "d.h5 is missing"), strict=True
    ):
        assert words in fault


def test_columns_that_the_scanner_left_out_are_not_in_the_mask(tmp_path: Path) -> None:
    """Encoded 12, centre at line 4, last line 7: columns 2 to 9 were measured."""
    source, target = fully_sampled(tmp_path / "a.h5"), tmp_path / "b.h5"
    assert undersample_file(source, target, "random", [(0.08, 1)]) == 1
    with h5py.File(target) as file:
        mask = file["mask"][()]
        kspace = file["kspace"][()]
        assert set(file.attrs) == {"acceleration", "num_low_frequency"}
    np.testing.assert_array_equal(np.flatnonzero(mask), np.arange(2, 10))
    assert not np.signbit(kspace.real[..., ~mask]).any()
    assert (kspace[..., mask] == -1 - 1j).all()
