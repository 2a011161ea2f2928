import math

import numpy as np
import pytest

from operators.errors import GeometryError
from operators.tomography.grid import ImageGrid


def test_places():
    grid = ImageGrid((3, 4, 5), (2.0, 1.0, 0.5), (10.0, -1.0, 3.0))
    assert grid.first_voxel_mm == (8.0, -2.5, 2.0)
    np.testing.assert_allclose(grid.corners_mm.min(axis=0), (1.75, -3.0))
    np.testing.assert_allclose(grid.corners_mm.max(axis=0), (4.25, 1.0))
    assert ImageGrid.from_dict({key: np.array(value) for key, value in grid.to_dict().items()}) == grid


def test_slab_keeps_the_place():
    grid = ImageGrid((5, 4, 4), (2.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    assert grid.slab(1, 3).first_voxel_mm[0] == grid.first_voxel_mm[0] + 2.0
    with pytest.raises(GeometryError, match="A slab lies within"):
        grid.slab(3, 6)


@pytest.mark.parametrize(
    "values",
    [
        ((0, 4, 4),),
        ((4, 4),),
        ((2.5, 4, 4),),
        ((4, 4, 4), (1.0, -1.0, 1.0)),
        ((4, 4, 4), (1.0, math.nan, 1.0)),
        ((4, 4, 4), (1.0, 1.0, 1.0), (0.0, math.inf, 0.0)),
    ],
)
def test_impossible_grid_is_named(values):
    with pytest.raises(GeometryError, match="ImageGrid needs"):
        ImageGrid(*values)
