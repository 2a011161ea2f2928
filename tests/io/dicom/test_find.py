"""Folder, zip and DICOMDIR; hostile archives."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from recon3d.errors import InputError
from recon3d.io import dicom
from recon3d.io.dicom import find


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"case/{file.name}")
    return target


def directory(folder: Path, names: list[list[str]]) -> None:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    ds.DirectoryRecordSequence = []
    with pydicom.config.disable_value_validation():  # names with dots are no valid CS
        for name in names:
            record = Dataset()
            record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", name
            ds.DirectoryRecordSequence.append(record)
        ds.save_as(folder / "DICOMDIR", enforce_file_format=True)


def test_folder_zip_and_dicomdir_give_the_same_volume(series, tmp_path):
    folder = series()
    (folder / "notes.txt").write_text("not DICOM, to be passed over")
    wanted = dicom.read(folder)
    directory(tmp_path, [["series", file.name] for file in folder.glob("*.dcm")])
    directory(folder, [])
    for path in (zipped(folder, tmp_path / "case.zip"), tmp_path / "DICOMDIR"):
        assert dicom.matches(path)
        found = dicom.read(path)
        assert np.array_equal(found.data, wanted.data)
        assert found.grid == wanted.grid


def test_a_file_without_the_mark_is_found(series):
    folder = series()
    for file in folder.iterdir():
        raw = file.read_bytes()
        group_length = struct.unpack("<L", raw[140:144])[0]
        file.write_bytes(raw[144 + group_length :])
    assert dicom.read(folder).shape == (4, 5, 7)


def test_other_files_are_not_claimed(tmp_path):
    for name, content in (("a.txt", b"this is text"), ("b.bin", bytes(1000)), ("c.zip", b"PK\x03\x04junk")):
        (tmp_path / name).write_bytes(content)
        assert not dicom.matches(tmp_path / name)
    assert not dicom.matches(tmp_path)
    assert not dicom.matches(tmp_path / "missing")
    with pytest.raises(InputError, match="holds no DICOM files"):
        dicom.read(tmp_path)


@pytest.mark.parametrize("name", ["../out.dcm", "/etc/out.dcm", "a/../../out.dcm", "C:/out.dcm", "..\\out.dcm"])
def test_an_archive_that_names_files_outside_itself_is_refused(series, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, (series() / "000.dcm").read_bytes())
    with pytest.raises(InputError, match="outside itself"):
        dicom.read(tmp_path / "bad.zip")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(find, "BOMB_FLOOR_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(8 << 20))
    opened = []
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args, **kwargs: opened.append(args))
    with pytest.raises(InputError, match="bomb"):
        find.sources(tmp_path / "bomb.zip")
    assert not opened


def test_overlapping_members_are_refused(series, tmp_path):
    path = zipped(series(images=2), tmp_path / "overlap.zip")
    raw = bytearray(path.read_bytes())
    start = raw.find(b"PK\x01\x02")
    while start >= 0:  # the central directory claims that each member takes the whole archive
        raw[start + 20 : start + 24] = struct.pack("<L", len(raw))
        start = raw.find(b"PK\x01\x02", start + 4)
    path.write_bytes(raw)
    with pytest.raises(InputError, match="overlap"):
        dicom.read(path)


def test_a_lying_or_broken_member_is_refused(series, tmp_path):
    path = zipped(series(images=2), tmp_path / "broken.zip")
    raw = bytearray(path.read_bytes())
    raw[60:90] = bytes(30)
    path.write_bytes(raw)
    with pytest.raises(InputError):
        dicom.read(path)


def test_a_directory_that_points_outside_its_folder_is_refused(series, tmp_path):
    series("elsewhere", 1)
    (tmp_path / "media").mkdir()
    directory(tmp_path / "media", [["..", "elsewhere", "000.dcm"]])
    with pytest.raises(InputError, match="outside its folder"):
        dicom.read(tmp_path / "media" / "DICOMDIR")
