"""Drawn CT: seeded, in range, coherent along z, to scale, for any size and family."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import ConfigError, GeometryError
from recon3d.synthetic.anatomy.fields import grain, smooth_field
from recon3d.synthetic.ct import FAMILIES, MAX_HU, MIN_HU, anatomical_ct

SHAPE = (6, 40, 44)


@pytest.mark.parametrize("family", [*FAMILIES, None])
def test_same_seed_same_volume_and_values_in_range(family: str | None) -> None:
    one = anatomical_ct(SHAPE, (5.0, 9.0, 9.0), 11, family=family)
    two = anatomical_ct(SHAPE, (5.0, 9.0, 9.0), 11, family=family)
    other = anatomical_ct(SHAPE, (5.0, 9.0, 9.0), 12, family=family)
    assert one.data.dtype == np.float32
    assert one.data.shape == SHAPE
    assert one.units == "HU"
    assert one.voxel_mm == pytest.approx((5.0, 9.0, 9.0))
    np.testing.assert_array_equal(one.data, two.data)
    assert not np.array_equal(one.data, other.data)
    assert one.data.min() >= MIN_HU
    assert one.data.max() <= MAX_HU
    if family is not None:
        assert one.tags["family"] == family


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 33, 7), (5, 2, 31), (9, 17, 13)])
def test_any_odd_size(shape: tuple[int, int, int]) -> None:
    volume = anatomical_ct(shape, (3.0, 1.5, 0.7), 5)
    assert volume.data.shape == shape
    assert np.isfinite(volume.data).all()


def test_slices_cohere_along_z() -> None:
    for family in ("abdomen", "thorax", "head"):
        data = np.clip(anatomical_ct((8, 48, 48), (2.0, 8.0, 8.0), 3, family=family).data, -1000, 1000)
        along_z = np.abs(np.diff(data, axis=0)).mean()
        shuffled = np.random.default_rng(0).permuted(data.reshape(8, -1), axis=1).reshape(data.shape)
        assert along_z < 0.3 * np.abs(np.diff(shuffled, axis=0)).mean()


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_doubling_the_voxel_keeps_the_anatomy(seed: int) -> None:
    fine = anatomical_ct((8, 96, 96), 5.0, seed, family="abdomen").data
    coarse = anatomical_ct((4, 48, 48), 10.0, seed, family="abdomen").data
    area_fine_mm2 = (fine > -300).mean(axis=0).sum() * 5.0**2
    area_coarse_mm2 = (coarse > -300).mean(axis=0).sum() * 10.0**2
    assert area_fine_mm2 > 1e4
    assert area_coarse_mm2 == pytest.approx(area_fine_mm2, rel=0.12)


def test_a_body_holds_air_fat_soft_tissue_and_bone() -> None:
    tissue = np.stack([anatomical_ct((4, 64, 64), 6.0, seed, family="abdomen").data for seed in range(4)])
    for low, high, share in ((-1024, -950, 0.1), (-130, -60, 0.02), (20, 90, 0.03), (200, 1600, 0.001)):
        assert ((tissue > low) & (tissue < high)).mean() > share


def test_fields_have_unit_deviation_and_their_length() -> None:
    rng = np.random.default_rng(0)
    field = smooth_field((20, 60, 60), (1.0, 1.0, 1.0), 4.0, rng)
    assert field.std() == pytest.approx(1.0, abs=0.1)
    neighbours = np.corrcoef(field[:, :, 1:].ravel(), field[:, :, :-1].ravel())[0, 1]
    apart = np.corrcoef(field[:, :, 16:].ravel(), field[:, :, :-16].ravel())[0, 1]
    assert neighbours > 0.85
    assert abs(apart) < 0.15
    assert grain((5, 30, 30), (0.0, 0.8, 0.8), rng).std() == pytest.approx(1.0, abs=1e-3)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="abdomen"):
        anatomical_ct(SHAPE, 3.0, 0, family="tail")
    with pytest.raises(GeometryError):
        anatomical_ct((0, 4, 4), 3.0, 0)
    with pytest.raises(GeometryError):
        anatomical_ct(SHAPE, -1.0, 0)
