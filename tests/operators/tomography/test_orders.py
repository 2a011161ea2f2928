from __future__ import annotations

import math

import numpy as np
import pytest

from operators.errors import GeometryError
from operators.tomography.orders import ORDERS, view_angles


def test_bit_reversal_by_hand() -> None:
    np.testing.assert_allclose(view_angles(8) * 8 / math.pi, [0, 4, 2, 6, 1, 5, 3, 7])


@pytest.mark.parametrize("order", [o for o in ORDERS if o != "golden"])
def test_an_order_is_a_permutation(order: str) -> None:
    np.testing.assert_allclose(np.sort(view_angles(16, order, seed=3)), math.pi * np.arange(16) / 16)


def test_any_views_in_golden_order_lie_about_evenly() -> None:
    angles = view_angles(40, "golden")
    assert angles[1] == pytest.approx(math.radians(111.246), abs=1e-5)
    for start in range(19):
        gaps = np.diff(np.sort(angles[start : start + 21]), append=np.sort(angles[start : start + 21])[0] + math.pi)
        assert gaps.max() < 2.7 * math.pi / 21
    assert np.ptp(view_angles(40, "golden", 2 * math.pi)) > 1.8 * math.pi


@pytest.mark.parametrize(
    ("views", "order", "message"), [(6, "bit-reversed", "power of two"), (8, "spiral", "one of"), (0, "linear", "one")]
)
def test_what_cannot_be(views: int, order: str, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        view_angles(views, order)
