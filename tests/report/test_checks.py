"""Each check raises its hand for the fault it is for, and only then."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from recon3d.grid import AffineGrid
from recon3d.report.checks import check_result, clipping, slice_jumps
from recon3d.volume import Volume

pytestmark = pytest.mark.tiny


def smooth(shape=(24, 17, 19)):
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 2).astype(np.float32)


def test_a_seam_between_slabs_is_found_where_it_is():
    stack = smooth()
    assert slice_jumps(stack).state == "ok"
    stack[12:] += 10 * stack.std()
    check = slice_jumps(stack)
    assert check.state == "look"
    assert "slices 12 and 13 " in check.text


def test_constant_and_few_slices_do_not_jump():
    assert slice_jumps(np.ones((20, 4, 4))).state == "ok"
    assert slice_jumps(smooth((7, 5, 5))).state == "none"


def test_values_that_pile_up_or_are_none():
    data = smooth()
    assert clipping(data, "1").state == "ok"
    assert "clipped" in clipping(np.minimum(data, np.percentile(data, 99)), "1").text
    assert clipping(np.maximum(data, 0), "1").state == "ok"  # a bound of zero is no fault
    assert clipping(np.where(data > data.max() * 0.9, np.nan, data), "1").text.endswith("not finite numbers.")
    assert clipping(data * 0, "1").state == "look"
    assert "less than air" in clipping(data * 1000 - 1200, "HU").text


@pytest.mark.parametrize(
    ("record", "residual", "prior"),
    [
        (None, "none", "none"),
        ({"result": {"residual": 0.1}}, "none", "ok"),
        ({"result": {"residual": 0.1, "residual_to_noise": 1.1}, "models": {}}, "ok", "ok"),
        ({"result": {"residual_to_noise": 2.1}, "models": {"prior": {}}}, "look", "ok"),
        ({"models": {"prior": {}}, "config": {"force_prior": True}}, "none", "look"),
        ({"models": {"prior": {}}, "misfits": ["made for mri, not for ct"]}, "none", "look"),
        ({"result": "damaged", "models": 3, "config": []}, "none", "ok"),
    ],
)
def test_residual_and_prior_are_judged_by_the_record(record, residual, prior):
    volume = Volume(smooth(), AffineGrid.centred((24, 17, 19), 1.0))
    states = {check.name: check.state for check in check_result(volume, record)}
    assert (states["Residual"], states["Prior"]) == (residual, prior)
