"""The registry finds the module for a path, and says what it understands when there is none."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from recon3d.errors import DiskFullError, InputError, OutputExistsError
from recon3d.grid import AffineGrid
from recon3d.io import formats, load, save
from recon3d.volume import Volume

VOLUME = Volume(np.arange(24.0, dtype=np.float32).reshape(2, 3, 4), AffineGrid.centred((2, 3, 4), 1.5), units="HU")


def test_the_house_opens_without_heavy_imports() -> None:
    heavy = ("torch", "numba", "nibabel", "h5py", "scipy", "pydicom", "tifffile")
    code = f"import sys, recon3d.io; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["v.nii", "V.NII.GZ", "v.h5", "v.hdf5"])
def test_save_and_load_by_suffix(tmp_path: Path, name: str) -> None:
    save(VOLUME, tmp_path / name)
    back = load(tmp_path / name)
    assert isinstance(back, Volume)
    np.testing.assert_array_equal(back.data, VOLUME.data)
    assert back.units == "HU"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_overwriting_is_asked_for(tmp_path: Path) -> None:
    save(VOLUME, tmp_path / "v.h5")
    with pytest.raises(OutputExistsError, match="--force"):
        save(VOLUME, tmp_path / "v.h5")
    save(VOLUME.with_data(VOLUME.data + 1), tmp_path / "v.h5", overwrite=True)
    assert load(tmp_path / "v.h5").data.max() == 24  # type: ignore[union-attr]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", ["v.nii", "v.h5"])
def test_a_full_disk(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing goes to a device that is always full."""
    module = formats.format_named("nifti" if name == "v.nii" else "hdf5")
    write = module.write

    def full(obj: Any, path: Path) -> None:
        path.symlink_to("/dev/full")
        if name == "v.nii":
            write(obj, path)
        else:
            path.write_bytes(b"x" * 100_000)

    monkeypatch.setattr(module, "write", full)
    with pytest.raises(DiskFullError, match=r"disk is full.*about 96 bytes"):
        save(VOLUME, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_nobody_claims_the_path(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"reads native HDF5 .*NIfTI .*\.mat"):
        load(tmp_path / "a.docx")
    (tmp_path / "net.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match="holds weights of a network, no data: `recon3d models import`"):
        load(tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"no suffix that can be written: expected one of \.h5"):
        save(VOLUME, tmp_path / "a.docx")
    with pytest.raises(InputError, match="There is no file"):
        load(tmp_path / "none.nii")
    (tmp_path / "e.nii").touch()
    with pytest.raises(InputError, match=r"The file .* is empty"):
        load(tmp_path / "e.nii")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"The folder .* is empty"):
        load(tmp_path / "nothing")


def test_foreign_hdf5_goes_to_the_array_source(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1.0
    assert formats.format_for(tmp_path / "a.h5")[0] == "arrays"
    with pytest.raises(InputError, match="no recon3d file"):
        load(tmp_path / "a.h5", format="hdf5")


def test_unknown_formats_and_options(tmp_path: Path) -> None:
    save(VOLUME, tmp_path / "v.nii")
    with pytest.raises(InputError, match="no format 'nifty'"):
        load(tmp_path / "v.nii", format="nifty")
    with pytest.raises(InputError, match="nifti has no option unit: expected one of units, nan"):
        load(tmp_path / "v.nii", unit="HU")
    with pytest.raises(InputError, match="hdf5 has no option dtype: expected one of none"):
        save(VOLUME, tmp_path / "v.h5", dtype="int16")


def test_a_plug_in_brings_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in = SimpleNamespace(
        SUFFIXES=(".mine",),
        matches=lambda path: path.suffix == ".mine",
        read=lambda path, *, gain=1.0: VOLUME.with_data(np.fromfile(path, np.float32).reshape(2, 3, 4) * gain),
        write=lambda obj, path: obj.data.astype(np.float32).tofile(path),
    )
    monkeypatch.setitem(sys.modules, "plug_in_of_a_test", plug_in)  # type: ignore[arg-type]
    point = EntryPoint("mine", "plug_in_of_a_test", "recon3d.formats")
    monkeypatch.setattr(formats, "entry_points", lambda group: EntryPoints([point]))
    save(VOLUME, tmp_path / "v.mine")
    back = load(tmp_path / "v.mine", gain=2.0)
    np.testing.assert_array_equal(back.data, 2 * VOLUME.data)  # type: ignore[union-attr]
    assert "mine" in formats.format_names()
