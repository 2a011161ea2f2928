"""The scoring generator: determinism, attenuation ranges, coherence along z, and one patient on every grid."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pkgutil import iter_modules

import numpy as np
import pytest
from scipy import ndimage

from recon3d.errors import InputError
from recon3d.synthetic import ct_scoring, implicit, scoring_torso
from recon3d.synthetic.ct_scoring import scoring_ct

SHAPE, VOXEL_MM = (6, 64, 64), (4.0, 6.0, 6.0)


def test_the_seed_decides_everything() -> None:
    first, again, other = (scoring_ct(SHAPE, VOXEL_MM, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.data, again.data)
    assert np.abs(first.data - other.data).mean() > 20
    assert first.units == "HU"
    assert first.data.dtype == np.float32
    assert first.grid.voxel_mm == pytest.approx(VOXEL_MM)


@pytest.mark.parametrize("seed", range(6))
def test_attenuation_is_that_of_a_patient(seed: int) -> None:
    hu = scoring_ct(SHAPE, VOXEL_MM, seed).data
    assert np.isfinite(hu).all()
    assert hu.min() >= -1024
    assert 500 < hu.max() < 2500
    # Air round the body, soft tissue, fat and bone each have their share.
    assert (hu[:, 0] < -990).all()
    body = (hu > -500).mean()
    assert 0.05 < body < 0.6
    soft, fat, bone = ((hu > 0) & (hu < 200), (hu > -130) & (hu < -60), hu > 300)
    assert soft.sum() > 0.2 * (hu > -500).sum()
    assert fat.sum() > 0.04 * (hu > -500).sum()
    assert bone.sum() > 0.005 * (hu > -500).sum()
    labels, _ = ndimage.label(hu > -400)
    assert np.bincount(labels.ravel())[1:].max() > 0.5 * (hu > -400).sum()


@pytest.mark.parametrize("seed", [0, 5, 11])
def test_neighbouring_slices_belong_together(seed: int) -> None:
    hu = np.clip(scoring_ct((8, 80, 80), (3.0, 4.5, 4.5), seed).data, -200, 300)
    near = np.corrcoef(hu[3].ravel(), hu[4].ravel())[0, 1]
    far = np.corrcoef(hu[0].ravel(), hu[7].ravel())[0, 1]
    assert near > 0.95
    assert far < near
    assert np.abs(hu[3] - hu[4]).max() > 10


def test_a_finer_grid_shows_the_same_patient() -> None:
    coarse = scoring_ct((4, 48, 48), (4.0, 8.0, 8.0), 8).data
    fine = scoring_ct((8, 96, 96), (2.0, 4.0, 4.0), 8).data
    averaged = fine.reshape(4, 2, 48, 2, 48, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(coarse.ravel(), averaged.ravel())[0, 1] > 0.99


def test_a_small_field_is_a_crop_that_the_body_fills() -> None:
    hu = scoring_ct((3, 40, 40), (3.0, 2.0, 2.0), 21).data
    assert (hu > -300).mean() > 0.4


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        scoring_ct(SHAPE, VOXEL_MM, -1)


def test_nothing_is_taken_from_the_training_generator() -> None:
    own = {"recon3d.errors", "recon3d.grid", "recon3d.volume", "recon3d.synthetic.implicit"}
    torso = "recon3d.synthetic.scoring_torso"
    parts = [import_module(f"{torso}.{part.name}") for part in iter_modules(scoring_torso.__path__)]
    assert len(parts) == 4
    for module in (ct_scoring, implicit, *parts):
        names = {
            node.module
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("recon3d")
        }
        assert {name for name in names if not name.startswith(torso)} <= own


def test_field_has_unit_variance_and_agrees_with_its_point_values() -> None:
    field = implicit.FourierField.random(np.random.default_rng(1), (6.0, 12.0), 96)
    z, y, x = (np.linspace(0, length, n) for length, n in ((90, 19), (110, 23), (130, 27)))
    sampled = field.on_axes((z, y, x), (1e-6, 1e-6, 1e-6))
    points = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1).reshape(-1, 3)
    assert np.abs(sampled.ravel() - field.at(points)).max() < 1e-4
    assert sampled.std() == pytest.approx(1.0, abs=0.15)
    assert field.on_axes((z, y, x), (24.0, 24.0, 24.0)).std() < 0.2


def test_tube_distance_agrees_with_the_slow_minimum() -> None:
    rng = np.random.default_rng(2)
    segments = np.column_stack([rng.uniform(-8, 8, (5, 6)), rng.uniform(1, 3, (5, 2))])
    shape, voxel = (7, 9, 11), (2.0, 1.5, 1.0)
    origin = np.array([-6.0, -6.0, -5.0])
    fast = implicit.tube_distance(shape, origin, voxel, segments, 4.0)
    points = origin + np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1) * np.array(voxel)
    slow = np.full(shape, 4.0)
    for segment in segments:
        start, along = segment[:3], segment[3:6] - segment[:3]
        t = np.clip((points - start) @ along / (along @ along), 0, 1)
        gap = np.linalg.norm(points - start - t[..., None] * along, axis=-1) - (
            segment[6] + t * (segment[7] - segment[6])
        )
        slow = np.minimum(slow, gap)
    assert (slow < 0).any()
    assert np.allclose(fast, slow, atol=1e-5)


def test_worley_borders_are_those_of_one_cell() -> None:
    z, y, x = (
        axis.astype(np.float32) for axis in np.meshgrid(np.arange(9.0), np.arange(12.0), np.arange(13.0), indexing="ij")
    )
    border, label, _ = implicit.worley_cells(z, y, x, 5.0, 7)
    assert (border >= 0).all()
    assert 4 < len(np.unique(label)) < 80
    # Two neighbouring voxels in different cells have the border between them, at most a voxel away.
    change = label[:, :, 1:] != label[:, :, :-1]
    assert change.any()
    assert (border[:, :, 1:] + border[:, :, :-1])[change].max() <= 1.0 + 1e-5
