"""Array files of every kind give the same named arrays."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from recon3d.errors import InputError
from recon3d.io.entries import open_entries

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def write_matlab_73(path: Path) -> None:
    """What MATLAB writes: axes reversed, structs as groups, complex numbers as pairs, text as codes, cells as links."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["scan/raw"] = np.asfortranarray(ARRAY).T
        pairs = np.zeros((4, 3), dtype=[("real", "f8"), ("imag", "f8")])
        pairs["real"], pairs["imag"] = np.arange(12).reshape(4, 3), -1.0
        file["scan/k"] = pairs
        file["scan/unit"] = np.frombuffer(b"mm", np.uint8).astype(np.uint16)[:, None]
        file["scan/unit"].attrs["MATLAB_class"] = np.bytes_("char")
        file["scan/none"] = np.array([0, 0], np.uint64)
        file["scan/none"].attrs["MATLAB_empty"] = 1
        for i in range(2):
            file[f"#refs#/{i}"] = np.full((1, i + 1), float(i))
        cells = file.create_dataset("shots", (2, 1), dtype=h5py.ref_dtype)
        for i in range(2):
            cells[i, 0] = file[f"#refs#/{i}"].ref
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(512, b" "))


def test_matlab_73(tmp_path: Path) -> None:
    write_matlab_73(tmp_path / "a.mat")
    entries = open_entries(tmp_path / "a.mat")
    np.testing.assert_array_equal(entries["scan.raw"], ARRAY)
    assert entries.shapes["scan/raw"] == ARRAY.shape
    np.testing.assert_array_equal(entries["scan/k"], (np.arange(12).reshape(4, 3) - 1j).T)
    assert entries["scan.unit"] == "mm"
    assert entries["scan.none"].size == 0
    assert [entries[f"shots.{i}"].tolist() for i in range(2)] == [[[0.0]], [[1.0], [1.0]]]
    assert not any("#refs#" in key for key in entries)


def test_matlab_5(tmp_path: Path) -> None:
    cells = np.empty((1, 2), object)
    cells[0, 0], cells[0, 1] = np.zeros((1, 1)), np.ones((2, 1))
    scipy.io.savemat(tmp_path / "a.mat", {"scan": {"raw": ARRAY, "unit": "mm", "deep": {"x": 3.0}}, "shots": cells})
    entries = open_entries(tmp_path / "a.mat")
    np.testing.assert_array_equal(entries["scan.raw"], ARRAY)
    assert entries["scan.unit"] == "mm"
    assert entries["scan.deep.x"].item() == 3.0
    assert entries["shots.1"].shape == (2, 1)
    assert set(entries) == {"scan.raw", "scan.unit", "scan.deep.x", "shots.0", "shots.1"}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".tif", ".cfl", ".hdr"])
def test_plain_arrays(tmp_path: Path, suffix: str) -> None:
    path, key, expected = tmp_path / f"a{suffix}", "", ARRAY
    if suffix == ".npy":
        np.save(path, ARRAY)
    elif suffix == ".npz":
        np.savez_compressed(path, b=ARRAY, c=1)
        key = "b"
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["g/b"] = ARRAY
        key = "g/b"
    elif suffix == ".tif":
        tifffile.imwrite(path, ARRAY, photometric="minisblack")
    else:
        expected = ARRAY.astype(np.complex64) * 1j
        expected.T.tofile(path.with_suffix(".cfl"))
        path.with_suffix(".hdr").write_text("# Dimensions\n2 3 4\n")
    entries = open_entries(path)
    np.testing.assert_array_equal(entries[key], expected)


def test_a_star_names_one_key_only(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"full.data": 1, "full.angles": 2, "other": 3})  # type: ignore[arg-type]
    entries = open_entries(tmp_path / "a.npz")
    assert entries.find("*.data") == "full.data"
    assert entries.find("full.*") is None
    assert entries.find("nothing*") is None
    with pytest.raises(KeyError):
        entries["missing"]


def test_python_objects_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError):
        open_entries(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", x=np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        open_entries(tmp_path / "a.npz")["x"]


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".mat", ".tif", ".cfl"])
@pytest.mark.parametrize("damage", ["truncated", "foreign"])
def test_damaged(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"a{suffix}"
    data = np.random.default_rng(0).normal(size=(20, 30))
    match suffix:
        case ".npy":
            np.save(path, data)
        case ".npz":
            np.savez(path, data=data)
        case ".h5":
            with h5py.File(path, "w") as file:
                file["data"] = data
        case ".mat":
            scipy.io.savemat(path, {"data": data})
        case ".tif":
            tifffile.imwrite(path, data)
        case ".cfl":
            data.astype(np.complex64).tofile(path)
            path.with_suffix(".hdr").write_text("# Dimensions\n30 20\n")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"something else " * 30)

    def everything() -> None:
        for value in open_entries(path).values():
            np.sum(value)

    with pytest.raises(InputError, match=r"truncated|damaged"):
        everything()


def test_half_of_a_bart_pair(tmp_path: Path) -> None:
    (tmp_path / "a.hdr").write_text("# Dimensions\n1\n")
    with pytest.raises(InputError, match=r"a\.cfl is missing"):
        open_entries(tmp_path / "a.hdr")


def test_real_files() -> None:
    folder = os.environ.get("RECON3D_SAMPLE_DATA")
    if not folder:
        pytest.skip("RECON3D_SAMPLE_DATA is not set: no real array files to read")
    root = Path(folder)
    raw = open_entries(root / "mri" / "sense_tutorial_brain_16ch.mat")["raw"]
    assert (raw.shape, raw.dtype) == ((96, 96, 1, 16), np.complex128)
    folded = open_entries(root / "mri" / "brain_smallfov_8ch.cfl")[""]
    assert (folded.shape, folded.dtype) == ((1, 320, 168, 8, 1), np.complex64)
    pins = open_entries(root / "ultrasound" / "ArraySteelPins.mat")
    assert pins["data.31"].shape == (1750, 32)
    assert open_entries(root / "ct" / "savu_mm.nxs")["entry1/stxm_entry/data/data"].shape == (52, 7, 101)
