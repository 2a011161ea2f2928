"""DICOM objects on disk: one file, or a folder that is there whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from recon3d.errors import DiskFullError, InputError, OutputExistsError
from recon3d.io.atomic import is_disk_full

IMPLEMENTATION = "2.25.164391563280473061402537271063283718921"


def save_dataset(ds: Dataset, path: Path) -> None:
    """Write one object as Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, UID(IMPLEMENTATION)
    ds.file_meta = meta
    ds.save_as(path, enforce_file_format=True)


@contextmanager
def atomic_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder beside `folder`, moved onto it when the block ends well and removed when it does not."""
    if folder.exists():
        if not folder.is_dir():
            raise OutputExistsError(f"The output {folder} exists and is a file; choose the name of a new folder.")
        content: Sequence[Path] = list(folder.iterdir())
        if content and not overwrite:
            raise OutputExistsError(
                f"The folder {folder} is not empty: choose another name, or give --force to replace it."
            )
        if any(not p.is_file() or p.suffix != ".dcm" for p in content):
            raise OutputExistsError(
                f"The folder {folder} holds other files than DICOM, which are not replaced; choose another name."
            )
    if not folder.parent.is_dir():
        raise InputError(f"The folder {folder.parent} of the output {folder.name} does not exist: create it first.")
    temporary = folder.with_name(f".{secrets.token_hex(6)}.part.{folder.name}")
    try:
        temporary.mkdir()
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_disk_full(error):
            raise DiskFullError(
                f"The disk is full: {folder} was not written; make room or choose another disk."
            ) from error
        if isinstance(error, PermissionError):
            raise InputError(f"The output {folder} cannot be written: the folder is protected.") from error
        raise
