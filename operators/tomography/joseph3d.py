"""Joseph's projector for cone beams and its exact transpose: bilinear interpolation in each plane a ray crosses.

A ray marches along the image axis to which it is closest, in voxels (Joseph, IEEE Trans. Med. Imaging 1, 1982), and
sums the image there, times the length of ray per plane; outside the image the object is zero. Upright views (circles,
helices) and tilted ones (C-arms, turned detectors) have kernels of their own.

The transposes visit the same samples. In them a task owns planes of the image and alone writes there: no atomics, and
the order of additions, hence every bit of the result, does not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from operators.tomography.cone_rays import ConeTables
from operators.tomography.joseph_tilted import add_backprojected, project_tilted
from operators.tomography.joseph_upright import backproject_upright, project_upright


def project(volume: NDArray[Any], tables: ConeTables, projections: NDArray[Any]) -> None:
    """Write the line integrals of `volume` (batch, z, y, x) to `projections` (batch, view, row, column).

    Both are contiguous and of one dtype, float32 or float64. Beside them it holds one padded copy of the image.
    """
    upright, tilted = tables
    for x, y in zip(volume, projections, strict=True):
        if upright.views.size:
            project_upright(x, upright, y)
        if tilted.views.size:
            project_tilted(x, tilted, y)


def backproject(projections: NDArray[Any], tables: ConeTables, volume: NDArray[Any]) -> None:
    """Write to `volume` (batch, z, y, x) the transpose of `project`, applied to `projections`.

    Beside them it holds one padded copy of the image and one of the projections.
    """
    upright, tilted = tables
    for y, x in zip(projections, volume, strict=True):
        if upright.views.size:
            backproject_upright(y, upright, x)
        else:
            x[:] = 0
        if tilted.views.size:
            add_backprojected(y, tilted, x)
