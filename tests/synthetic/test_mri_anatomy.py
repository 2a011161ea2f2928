"""Drawn MR volumes: seeded, scaled and turned as scans are, of any size and family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.mri import CartesianEncoding
from recon3d.errors import ConfigError, GeometryError
from recon3d.synthetic.mri_anatomy import FAMILIES, drawn_mr


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_volume(family: str) -> None:
    one, two, other = (drawn_mr((2, 64, 72), (5.0, 3.0, 3.0), seed, family=family) for seed in (3, 3, 4))
    assert one.data.dtype == np.complex64
    assert one.data.shape == (2, 64, 72)
    assert one.voxel_mm == pytest.approx((5.0, 3.0, 3.0))
    assert one.tags["family"] == family
    assert np.array_equal(one.data, two.data)
    assert not np.array_equal(one.data, other.data)
    assert np.isfinite(one.data).all()


def test_one_is_the_scale_that_a_scan_of_it_has() -> None:
    for seed in range(4):
        data = torch.from_numpy(drawn_mr((3, 96, 96), (5.0, 2.2, 2.2), seed).data)
        A = CartesianEncoding(torch.ones(1, *data.shape, dtype=torch.complex64))
        assert A.image_scale(A(data)) == pytest.approx(1.0, rel=0.05)


def test_the_phase_rule_leaves_images_nearly_real() -> None:
    for seed in range(6):
        data = drawn_mr((2, 96, 96), (5.0, 2.2, 2.2), seed, family="head").data
        bright = np.abs(data) > 0.3
        assert np.abs(np.angle(data[bright])).mean() < 0.35
        assert np.abs(data.imag).max() > 0.01


def test_contrasts_and_planes_vary() -> None:
    """The order of bright and dark tissue differs between scans: a prior must not learn one contrast."""
    ratios = []
    for seed in range(12):
        magnitude = np.abs(drawn_mr((1, 64, 64), (5.0, 3.4, 3.4), seed, family="brain").data[0])
        rim, middle = magnitude.max(axis=1)[magnitude.max(axis=1) > 0.05][:3].mean(), np.median(magnitude[24:40, 24:40])
        ratios.append(rim / middle)
    assert max(ratios) > 3 * min(ratios)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 33, 47)])
def test_any_size(shape: tuple[int, int, int]) -> None:
    for family in FAMILIES:
        assert drawn_mr(shape, (4.0, 0.6, 0.6), 1, family=family).data.shape == shape


def test_what_cannot_be_drawn_is_named() -> None:
    with pytest.raises(ConfigError, match="must be one of head"):
        drawn_mr((1, 8, 8), 2.0, 0, family="foot")
    with pytest.raises(GeometryError, match="three positive sizes"):
        drawn_mr((1, 8, 0), 2.0, 0)
