"""An output is whole or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from recon3d.errors import DiskFullError, InputError, OutputExistsError
from recon3d.io.atomic import atomic_path


def write(path: Path, content: bytes, error: BaseException | None = None, **options: Any) -> None:
    with atomic_path(path, **options) as temporary:
        temporary.write_bytes(content)
        if error is not None:
            raise error


def test_the_file_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"12")
        assert not path.exists()
    assert path.read_bytes() == b"12"
    assert os.listdir(tmp_path) == ["a.nii.gz"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_nothing_is_left_of_a_failed_write(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write(tmp_path / "a.h5", b"half", error())
    assert os.listdir(tmp_path) == []


def test_a_failed_overwrite_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        write(path, b"new", RuntimeError(), overwrite=True)
    assert path.read_bytes() == b"old"
    write(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"


def test_an_existing_output_is_refused_before_and_after_the_work(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"

    def race() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"mine")
            path.write_bytes(b"theirs")

    with pytest.raises(OutputExistsError, match="--force"):
        race()
    assert path.read_bytes() == b"theirs"
    with pytest.raises(OutputExistsError, match=r"a\.h5.*--force"), atomic_path(path):
        pytest.fail("the block must not be entered")
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Quota"),
        RuntimeError(f"HDF5: write failed: {os.strerror(errno.ENOSPC)}"),
    ],
)
def test_a_full_disk_is_named_with_the_bytes_needed(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(DiskFullError, match=r"a\.h5 was not written, about 12345 bytes"):
        write(tmp_path / "a.h5", b"half", error, bytes_needed=12345)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_or_a_folder_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"), atomic_path(tmp_path / "no" / "a.h5"):
        pass
    with pytest.raises(InputError, match="is a folder"), atomic_path(tmp_path):
        pass


def test_protected_output(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="protected"), atomic_path(tmp_path / "a.h5"):
        raise PermissionError(errno.EACCES, "denied")


def test_a_device_is_never_replaced() -> None:
    with pytest.raises(InputError, match="no ordinary file"), atomic_path(os.devnull, overwrite=True):
        pass
    assert Path(os.devnull).is_char_device()
