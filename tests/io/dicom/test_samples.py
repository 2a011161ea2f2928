"""Real scans: each folder ends as its table says, where dcm2niix places it, and survives conversion there and back."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from recon3d import io
from recon3d.errors import InputError
from recon3d.io import dicom
from recon3d.io.convert import convert
from recon3d.io.dicom.elements import quantised

READABLE = {
    "ct_body_j2k_20slices": ((20, 512, 512), (2, 0.9765625, 0.9765625), "HU"),
    "ct_headphantom_5mm_28slices": ((28, 512, 512), (5, 0.451171875, 0.451171875), "HU"),
    "ct_3slices_implicit": ((3, 512, 512), (1, 0.810547, 0.810547), "HU"),
    "mr_t1_sag_HFS_35slices": ((35, 256, 256), (4.8, 1.015625, 1.015625), "1"),
    "awkward/compressed_j2k": ((4, 256, 256), (1, 1, 1), "1"),
    "awkward/compressed_rle": ((4, 256, 256), (1, 1, 1), "1"),
    "awkward/compressed_jpegls": ((4, 256, 256), (1, 1, 1), "1"),
    "awkward/compressed_jpeg": ((4, 256, 256), (1, 1, 1), "1"),
    "awkward/rescale_slope_nonisotropic": ((4, 28, 64), (0.5, 4.0, 6.39995861), "1"),
    "awkward/siemens_multiframe": ((8, 256, 256), (0.9, 0.9375, 0.9375), "1"),
    "awkward/enhanced_ct": ((2, 512, 512), (10, 0.388672, 0.388672), "1"),
}
REFUSED = {
    "awkward/gantrytilting": "tilted: their planes lean 14.0 degrees",
    "awkward/sliceincrement": "1 missing slice: slices lie 5 mm apart and once 10 mm",
    "awkward/notavolume": "all 4 images lie at one position: not a volume",
}


@pytest.fixture(scope="module")
def samples() -> Path:
    if "RECON3D_SAMPLE_DATA" not in os.environ:
        pytest.skip("RECON3D_SAMPLE_DATA does not name the folder of sample data")
    return Path(os.environ["RECON3D_SAMPLE_DATA"]) / "dicom"


def canonical(image):
    """Data and affine with the axes that are nearest to right, front and head."""
    turned = nibabel.as_closest_canonical(image)
    return turned.get_fdata(), turned.affine


def as_nifti(volume):
    return nibabel.Nifti1Image(volume.data.T, volume.grid.matrix)


@pytest.mark.parametrize("name", READABLE)
def test_a_readable_folder_is_a_volume(samples, name):
    volume = dicom.read(samples / name)
    shape, voxel_mm, units = READABLE[name]
    assert (volume.shape, volume.units) == (shape, units)
    assert volume.voxel_mm == pytest.approx(voxel_mm, abs=2e-3)


@pytest.mark.parametrize("name", REFUSED)
def test_an_irregular_folder_is_refused(samples, name):
    with pytest.raises(InputError, match=REFUSED[name]):
        dicom.read(samples / name)


def test_the_missing_slice_can_be_filled(samples):
    volume = dicom.read(samples / "awkward/sliceincrement", resample_irregular=True)
    assert volume.shape == (5, 512, 512)
    assert volume.voxel_mm[0] == pytest.approx(5)


def test_four_transfer_syntaxes_hold_the_same_values(samples):
    volumes = [dicom.read(samples / f"awkward/compressed_{s}").data for s in ("j2k", "rle", "jpegls", "jpeg")]
    assert all(np.array_equal(volumes[0], other) for other in volumes[1:])


@pytest.mark.parametrize("name", READABLE)
def test_positions_and_values_survive_the_round_trip(samples, tmp_path, name):
    first = convert(samples / name, tmp_path / "a.nii")
    convert(tmp_path / "a.nii", tmp_path / "back", modality="MR", units=first.units)
    convert(tmp_path / "back", tmp_path / "b.nii")
    (a, where_a), (b, where_b) = (canonical(nibabel.load(tmp_path / f"{n}.nii")) for n in "ab")
    corners = np.array([[i, j, k, 1] for i in (0, a.shape[0]) for j in (0, a.shape[1]) for k in (0, a.shape[2])]).T
    assert np.abs((where_a - where_b) @ corners).max() < 1e-3
    assert np.abs(a - b).max() <= 0.501 * quantised(first.data, first.units)[1]
    assert io.load(tmp_path / "b.nii").units == first.units


@pytest.mark.parametrize("name", [*READABLE, "awkward/gantrytilting"])
def test_dcm2niix_places_the_same_values_at_the_same_positions(samples, tmp_path, name):
    if shutil.which("dcm2niix") is None:
        pytest.skip("dcm2niix is not installed (Debian package dcm2niix)")
    command = ["dcm2niix", "-z", "n", "-b", "n", "-f", "out", "-o", str(tmp_path), str(samples / name)]
    done = subprocess.run(command, capture_output=True, check=False)
    tilted = "tilt" in name
    file = tmp_path / ("out_Tilt_1.nii" if tilted else "out.nii")
    if not file.exists():
        pytest.skip(f"dcm2niix does not read this folder (exit status {done.returncode})")
    theirs, their_affine = canonical(nibabel.load(file))
    ours, our_affine = canonical(as_nifti(dicom.read(samples / name, tilt="correct")))
    assert np.abs(our_affine - their_affine).max() < 1e-3
    # Of a tilted slice they round the values between pixels down, and blend its first and last row with the outside.
    differs = np.abs(ours - theirs) > (1.01 if tilted else 1e-4)
    assert differs.any(axis=(0, 2)).sum() <= (6 if tilted else 0)
