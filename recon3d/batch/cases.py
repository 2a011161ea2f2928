"""Cases: what of a folder can be reconstructed, and by which name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recon3d.errors import InputError
from recon3d.io import dicom, nifti, tiff_stack
from recon3d.io.formats import format_for
from recon3d.runtime.record import SUFFIXES

_HDF5 = (".h5", ".hdf5")
_ASKED = 20
"""Files of a folder that are asked whether they are DICOM."""


@dataclass(frozen=True)
class Case:
    """One thing to reconstruct.

    Parameters
    ----------
    name : unique in its batch; also the folder of its results, relative to that of the batch
    input : file or folder
    overrides : dotted ``key=value`` settings of this case alone
    columns : what a table says of it beside, carried into the summary
    """

    name: str
    input: Path
    overrides: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    def output(self, folder: Path, suffix: str) -> Path:
        """The file of its result in the folder of the batch."""
        return folder / self.name / f"{Path(self.name).name}{suffix}"


@dataclass(frozen=True)
class Found:
    """Cases of a folder, and how many files of which suffix are none."""

    cases: list[Case]
    aside: Mapping[str, int]


def find_cases(folder: Path, *, restores: bool = False, mapped: bool = False, skip: Path | None = None) -> Found:
    """Every case in a folder and below it, by name. Damaged files count: they fail by name, not by silence.

    Parameters
    ----------
    restores : whether the recipe restores volumes (scan.image); else NIfTI and DICOM images are left aside
    mapped : whether the recipe says how to read array files; else those are left aside
    skip : a folder that is not looked into, that of the results

    Raises
    ------
    InputError
        If there is none.
    """
    inputs: list[Path] = []
    aside: Counter[str] = Counter()
    for path, is_case in _walk(folder, restores, mapped, None if skip is None else skip.resolve()):
        if is_case:
            inputs.append(path)
        else:
            aside["".join(path.suffixes[-2:]).lower() or path.name] += 1
    if not inputs:
        told = f" ({_listed(aside)} were left aside)" if aside else ""
        raise InputError(
            f"There is nothing to reconstruct in {folder}{told}: expected scans of a known format, volumes with "
            "scan.image, or arrays with source."
        )
    short = [_stem(folder, path) for path in inputs]
    names = [
        name if short.count(name) == 1 else path.relative_to(folder).as_posix()
        for name, path in zip(short, inputs, strict=True)
    ]
    return Found([Case(name, path) for name, path in zip(names, inputs, strict=True)], dict(aside))


def _listed(aside: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(aside.items()))


def left_aside(found: Found) -> str:
    """What of a folder is no case, in words; empty if nothing."""
    return f"Left aside: {_listed(found.aside)}." if found.aside else ""


def _walk(folder: Path, restores: bool, mapped: bool, skip: Path | None) -> Iterator[tuple[Path, bool]]:
    entries = sorted(os.scandir(folder), key=lambda e: e.name)
    files = [Path(e.path) for e in entries if e.is_file() and not e.name.startswith(".")]
    if tiff_stack.matches(folder):
        yield folder, True
        return
    if any(dicom.matches(file) and not file.name.lower().endswith(".zip") for file in files[:_ASKED]):
        yield folder, restores or format_for(folder)[0] == "dicom_ct_pd"
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if path.resolve() != skip:
                yield from _walk(path, restores, mapped, skip)
        elif not (path.suffix == ".hdr" and path.with_suffix(".cfl").exists()):  # half of a pair
            yield path, _is_case(path, restores, mapped)


def _is_case(path: Path, restores: bool, mapped: bool) -> bool:
    if nifti.matches(path):
        return restores
    try:
        name: str = format_for(path)[0]
    except InputError:  # nobody's, or empty
        return path.name.lower().endswith(_HDF5)
    if name == "dicom":
        return restores
    return name != "arrays" or mapped or path.name.lower().endswith(_HDF5)


def _stem(folder: Path, path: Path) -> str:
    """``a/b.h5`` in the folder gives ``a/b``; the folder itself its own name."""
    if path == folder:
        return folder.resolve().name
    name = path.relative_to(folder).as_posix()
    if path.is_dir():
        return name
    known = next((s for s in SUFFIXES if name.lower().endswith(s)), path.suffix)
    return name[: -len(known)] if known else name


def reads_volumes(config: Any) -> bool:
    """Whether a configuration, as plain values, restores volumes."""
    return bool(isinstance(config.get("scan"), dict) and config["scan"].get("image") is not None)
