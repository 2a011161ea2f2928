import numpy as np
import pytest
from numba import njit

from operators.tomography import lanes


@njit
def both(target, spread, source):
    lanes.add_interpolated(target, 1, source, 2, source.dtype.type(0.25), source.dtype.type(0.5))
    lanes.spread_interpolated(spread, 0, source, 3, source.dtype.type(0.25), source.dtype.type(0.5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vector_code_does_what_the_plain_bodies_say(dtype):
    source = np.arange(5 * lanes.LANES, dtype=dtype).reshape(5, lanes.LANES)
    target, spread = np.ones((2, 3, lanes.LANES), dtype)
    both(target, spread, source)
    np.testing.assert_array_equal(target[1], 1 + 0.25 * source[2] + 0.5 * source[3])
    np.testing.assert_array_equal(spread[:2], 1 + np.outer((0.25, 0.5), source[3]))
    assert (target[[0, 2]] == 1).all()
    assert (spread[2] == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_lanes_start_on_a_cache_line(dtype):
    array = lanes.empty_lanes(3, 5, dtype=dtype)
    assert array.shape == (3, 5, lanes.LANES)
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous
