"""The scoring generator of MRI: determinism, one person on every grid, tissues, phase, and no training code."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.synthetic import mri_canvas, mri_scoring, scoring_head, scoring_knee
from recon3d.synthetic.mri_scoring import SCORING_CONTRASTS, scoring_mri

SHAPE, VOXEL_MM = (4, 48, 48), (6.0, 4.8, 4.8)
KNEE_MM = (6.0, 3.4, 3.4)


@pytest.mark.parametrize("anatomy", ["brain", "knee"])
def test_the_seed_decides_everything(anatomy) -> None:
    first, again, other = (scoring_mri(anatomy, SHAPE, VOXEL_MM, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.data, again.data)
    assert first.data.dtype == np.complex64
    assert np.abs(np.abs(first.data) - np.abs(other.data)).mean() > 0.02
    assert first.grid.voxel_mm == pytest.approx(VOXEL_MM)
    assert first.grid.centre_mm == pytest.approx((0, 0, 0))
    assert first.tags["contrast"] in SCORING_CONTRASTS[anatomy]


@pytest.mark.parametrize(("anatomy", "voxel_mm"), [("brain", VOXEL_MM), ("knee", KNEE_MM)])
def test_a_finer_grid_shows_the_same_person(anatomy, voxel_mm) -> None:
    coarse = scoring_mri(anatomy, SHAPE, voxel_mm, 8).data
    fine = scoring_mri(anatomy, (4, 96, 96), (voxel_mm[0], voxel_mm[1] / 2, voxel_mm[2] / 2), 8).data
    averaged = fine.reshape(4, 48, 2, 48, 2).mean(axis=(2, 4))
    overlap = np.abs(np.vdot(coarse, averaged)) / np.linalg.norm(coarse) / np.linalg.norm(averaged)
    assert overlap > 0.97


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("anatomy", "voxel_mm"), [("brain", VOXEL_MM), ("knee", KNEE_MM)])
def test_a_person_lies_in_air_under_a_smooth_phase(anatomy, voxel_mm, seed) -> None:
    image = scoring_mri(anatomy, SHAPE, voxel_mm, seed, SCORING_CONTRASTS[anatomy][0]).data
    size = np.abs(image)
    assert np.isfinite(image).all()
    assert 0.7 < size.max() < 2
    assert 0.2 < (size > 0.05).mean() < 0.95
    assert (size[:, :, [0, -1]] < 1e-3).all()  # air at the sides
    bright = (size[:, 1:] > 0.3) & (size[:, :-1] > 0.3)
    step = np.angle(image[:, 1:] * image[:, :-1].conj())[bright]
    assert np.abs(step).mean() < 0.5
    assert np.angle(image[size > 0.3] * np.exp(-1j * np.angle(image[size > 0.3].sum()))).std() > 0.05


def test_contrasts_order_the_tissues() -> None:
    t1, t2, flair = (np.abs(scoring_mri("brain", SHAPE, VOXEL_MM, 5, name).data) for name in ("T1", "T2", "FLAIR"))
    fluid = t2 > 0.8 * t2.max()
    assert fluid.sum() > 20
    assert t1[fluid].mean() < 0.4
    assert flair[fluid].mean() < 0.3


def test_knees_lie_coronally() -> None:
    grid = scoring_mri("knee", SHAPE, KNEE_MM, 0).grid
    x, y, z = grid.matrix[:3, :3].T
    assert x[0] == -KNEE_MM[2]  # columns to the left
    assert y[2] == -KNEE_MM[1]  # rows to the foot
    assert z[1] == -KNEE_MM[0]  # slices to the back


def test_bad_input() -> None:
    with pytest.raises(InputError, match="-1"):
        scoring_mri("brain", SHAPE, VOXEL_MM, -1)
    with pytest.raises(InputError, match="heart"):
        scoring_mri("heart", SHAPE, VOXEL_MM, 0)
    with pytest.raises(InputError, match="FLAIR"):
        scoring_mri("brain", SHAPE, VOXEL_MM, 0, "T9")


def test_nothing_is_taken_from_the_training_generator() -> None:
    parts = ("implicit", "mri_canvas", "scoring_head", "scoring_knee")
    own = {"recon3d.errors", "recon3d.grid", "recon3d.volume", *(f"recon3d.synthetic.{name}" for name in parts)}
    for module in (mri_scoring, mri_canvas, scoring_head, scoring_knee):
        names = {
            node.module
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("recon3d")
        }
        assert names <= own
