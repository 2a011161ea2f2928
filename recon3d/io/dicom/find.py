"""Find the DICOM files behind a path: a file, a folder, a zip archive or a DICOMDIR."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from recon3d.errors import InputError

MAX_FILES = 200_000
MAX_ARCHIVE_BYTES = 64 << 30
BOMB_RATIO = 200
BOMB_FLOOR_BYTES = 256 << 20


@dataclass(frozen=True)
class Source:
    """One DICOM object that can be opened: a file of a folder or a member of an archive.

    Its name stays out of messages, since file names often carry a patient.
    """

    name: str = field(repr=False)
    size: int
    open: Callable[[], IO[bytes]] = field(repr=False)


def matches(path: str | os.PathLike[str]) -> bool:
    """Whether the path looks like DICOM: a file, or a folder or zip that holds one (the first 500 files are asked)."""
    path = Path(path)
    try:
        if path.is_dir():
            return any(_is_dicom(source) for source, _ in zip(_folder(path), range(500), strict=False))
        if not path.is_file():
            return False
        if zipfile.is_zipfile(path):
            return any(_is_dicom(source) for source, _ in zip(_archive(path), range(500), strict=False))
        return _is_dicom(_file(path))
    except (OSError, InputError, zipfile.BadZipFile):
        return False


def sources(path: str | os.PathLike[str]) -> list[Source]:
    """Every DICOM file behind a path, in the order of their names.

    Nothing of an archive is written to disk. An archive that claims more than its bytes can hold, whose members
    overlap, or that names files outside itself is refused before anything is unpacked.
    """
    path = Path(path)
    if path.is_dir():
        found = [source for source in _folder(path) if _is_dicom(source)]
    elif not path.is_file():
        raise InputError(f"A DICOM file, folder, zip or DICOMDIR was expected, but there is nothing at {path}.")
    elif zipfile.is_zipfile(path):
        found = [source for source in _archive(path) if _is_dicom(source)]
    elif _is_dicom(_file(path)):
        found = _listed(path) if _is_directory_object(_file(path)) else [_file(path)]
    else:
        raise InputError(f"A DICOM file was expected, but {path.name} is none (no DICM mark and no DICOM elements).")
    if not found:
        raise InputError(f"{path.name} holds no DICOM files; give the folder, zip or DICOMDIR of a series.")
    return found


def _file(path: Path) -> Source:
    return Source(str(path), path.stat().st_size, partial(_ClampedReader, path))


class _ClampedReader(io.BufferedReader):
    """A file that never asks for more memory than it has bytes left, whatever length a damaged header names."""

    def __init__(self, path: Path) -> None:
        raw = io.FileIO(path)
        super().__init__(raw)
        self._size = os.fstat(raw.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > 0:
            size = max(0, min(size, self._size - self.tell()))
        return super().read(size)


def _folder(path: Path) -> Iterator[Source]:
    count = 0
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            if not file.is_file():
                continue
            count += 1
            if count > MAX_FILES:
                raise InputError(f"{path.name} holds more than {MAX_FILES} files; give the folder of one study.")
            yield _file(file)


def _archive(path: Path) -> Iterator[Source]:
    try:
        archive = zipfile.ZipFile(path)
        members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise InputError(f"The zip archive {path.name} is damaged; make it again.") from error
    _check_archive(path, members)
    for member in sorted(members, key=lambda m: m.filename):
        if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
            yield Source(member.filename, member.file_size, partial(_open_member, archive, member))


def _check_archive(path: Path, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_FILES:
        raise InputError(f"The zip archive {path.name} lists {len(members)} files, more than the {MAX_FILES} allowed.")
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or (parts.parts[:1] and parts.parts[0].endswith(":")):
            raise InputError(
                f"The zip archive {path.name} names a file outside itself; unpack it by hand if you trust it."
            )
        if member.flag_bits & 1:
            raise InputError(f"The zip archive {path.name} is encrypted; unpack it first and give the folder.")
    packed, unpacked = sum(m.compress_size for m in members), sum(m.file_size for m in members)
    if packed > path.stat().st_size:
        raise InputError(f"The zip archive {path.name} is a bomb: its members overlap.")
    if unpacked > MAX_ARCHIVE_BYTES or unpacked > max(BOMB_FLOOR_BYTES, BOMB_RATIO * packed):
        raise InputError(
            f"The zip archive {path.name} would unpack {packed} bytes to {unpacked}, which looks like a bomb; "
            "unpack it by hand if you trust it."
        )


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    try:
        with archive.open(member) as stream:
            return io.BytesIO(stream.read(member.file_size))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RuntimeError) as error:
        raise InputError("A member of the zip archive is damaged; make the archive again.") from error
    except Exception as error:  # zlib.error and lzma errors have no common base
        raise InputError("A member of the zip archive cannot be unpacked; make the archive again.") from error


def _head(source: Source, length: int) -> bytes:
    if isinstance(source.open, partial) and source.open.func is _open_member:
        archive, member = source.open.args
        try:
            with archive.open(member) as stream:
                return bytes(stream.read(length))
        except Exception as error:  # zlib.error and lzma errors have no common base
            raise InputError("A member of the zip archive cannot be unpacked; make the archive again.") from error
    with source.open() as stream:
        return stream.read(length)


def _is_dicom(source: Source) -> bool:
    head = _head(source, 132) if source.size >= 16 else b""
    if head[128:132] == b"DICM":
        return True
    # Files without the mark start with an element of group 2 or 8, in either byte order, and a known or no VR.
    little, big = int.from_bytes(head[:2], "little"), int.from_bytes(head[:2], "big")
    if head and ((little in (2, 8) and head[3:4] == b"\0") or (big in (2, 8) and head[2:3] == b"\0")):
        explicit = head[4:6] in (b"UL", b"CS", b"UI", b"DA", b"TM", b"SH", b"OB", b"LO", b"US")
        return explicit or int.from_bytes(head[4:8], "little") < 256
    return False


def _is_directory_object(source: Source) -> bool:
    return b"1.2.840.10008.1.3.10" in _head(source, 1024)


def _listed(directory: Path) -> list[Source]:
    """The files that a DICOMDIR lists, which must lie beside or below it."""
    from recon3d.io.dicom.header import parse, value

    root = directory.parent.resolve()
    dataset = parse(_file(directory))
    found = []
    for record in value(dataset, "DirectoryRecordSequence", ()):
        parts = value(record, "ReferencedFileID")
        if not parts:
            continue
        parts = [parts] if isinstance(parts, str) else [str(p) for p in parts]
        file = root.joinpath(*parts)
        if any(p in ("", "..") or "/" in p or "\\" in p for p in parts) or not file.resolve().is_relative_to(root):
            raise InputError(
                f"The DICOM directory {directory.name} names a file outside its folder; give the folder itself."
            )
        if not file.is_file():
            raise InputError(
                f"The DICOM directory {directory.name} lists files of which at least one is missing; "
                "give the folder that holds the files."
            )
        found.append(_file(file))
    return found
