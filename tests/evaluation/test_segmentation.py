"""Otsu against scikit-image, Matthews against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.segmentation import matthews, otsu_mask, otsu_threshold


@pytest.mark.parametrize("seed", range(5))
def test_otsu_is_scikit_images(seed):
    rng = np.random.default_rng(seed)
    image = np.where(rng.random((40, 41)) < 0.3, rng.normal(4, 1, (40, 41)), rng.normal(0, 1, (40, 41)))
    assert otsu_threshold(image) == pytest.approx(threshold_otsu(image), abs=1e-12)


def test_otsu_parts_two_values():
    image = np.repeat([0.0, 1.0], [30, 10])
    assert (otsu_mask(image) == (image > 0.5)).all()
    with pytest.raises(InputError, match="two kinds"):
        otsu_threshold(np.ones(4))


def test_matthews_is_the_correlation_of_the_masks():
    rng = np.random.default_rng(0)
    a, b = rng.random(500) < 0.3, rng.random(500) < 0.6
    a |= b & (rng.random(500) < 0.5)
    assert matthews(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert matthews(a, a) == 1.0
    assert matthews(a, ~a) == -1.0
    assert matthews(np.ones(5), np.ones(5)) == 0.0
    with pytest.raises(ShapeError, match="one shape"):
        matthews(a, b[:-1])
