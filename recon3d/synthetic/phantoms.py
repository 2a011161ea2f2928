"""Textbook phantoms: the 3D Shepp-Logan head, spheres and resolution bars, with exact line integrals of ellipsoids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recon3d.errors import ShapeError
from recon3d.grid import AffineGrid
from recon3d.volume import Volume

FloatArray = npt.NDArray[np.floating]

# Kak and Slaney (1988), table 3.1, extended along z as in Schabel (2006), with the contrast of Toft (1996):
# value, semi-axes (x, y, z), centre (x, y, z), rotation about z in degrees, in units of half the field.
_SHEPP_LOGAN = (
    (1.0, (0.6900, 0.920, 0.810), (0.00, 0.0000, 0.00), 0.0),
    (-0.8, (0.6624, 0.874, 0.780), (0.00, -0.0184, 0.00), 0.0),
    (-0.2, (0.1100, 0.310, 0.220), (0.22, 0.0000, 0.00), -18.0),
    (-0.2, (0.1600, 0.410, 0.280), (-0.22, 0.0000, 0.00), 18.0),
    (0.1, (0.2100, 0.250, 0.410), (0.00, 0.3500, -0.15), 0.0),
    (0.1, (0.0460, 0.046, 0.050), (0.00, 0.1000, 0.25), 0.0),
    (0.1, (0.0460, 0.046, 0.050), (0.00, -0.1000, 0.25), 0.0),
    (0.1, (0.0460, 0.023, 0.050), (-0.08, -0.6050, 0.00), 0.0),
    (0.1, (0.0230, 0.023, 0.020), (0.00, -0.6060, 0.00), 0.0),
    (0.1, (0.0230, 0.046, 0.020), (0.06, -0.6050, 0.00), 0.0),
)


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid that adds `value` inside; all triples are (z, y, x) in mm, the rotation is about z, x to y."""

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    value: float = 1.0
    angle_rad: float = 0.0

    def to_unit_ball(self) -> FloatArray:
        """The 3 x 3 matrix that maps (z, y, x) relative to the centre onto the unit ball."""
        c, s = np.cos(self.angle_rad), np.sin(self.angle_rad)
        turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        matrix: FloatArray = turn / np.asarray(self.radii_mm)[:, None]
        return matrix


def shepp_logan_ellipsoids(half_field_mm: tuple[float, float, float]) -> tuple[Ellipsoid, ...]:
    """The ten ellipsoids of the modified 3D Shepp-Logan head in a field of the given half lengths (z, y, x).

    The two tilted ellipsoids are rotated in mm, so y and x must have the same half length; z may differ.
    """
    hz, hy, hx = half_field_mm
    if not np.isclose(hy, hx):
        raise ShapeError(f"The Shepp-Logan head needs square slices, got {2 * hy} x {2 * hx} mm; choose ny = nx in mm.")
    return tuple(
        Ellipsoid((z * hz, y * hy, x * hx), (c * hz, b * hy, a * hx), value, np.deg2rad(angle))
        for value, (a, b, c), (x, y, z), angle in _SHEPP_LOGAN
    )


def chord_lengths(ellipsoids: Sequence[Ellipsoid], origins_mm: FloatArray, directions: FloatArray) -> FloatArray:
    """Exact line integrals through a sum of ellipsoids, the oracle of the projectors.

    Mapping an ellipsoid onto the unit ball turns a ray o + t d into another straight line; the two roots of
    |M (o - c) + t M d|^2 = 1 give the chord (Kak and Slaney 1988, section 3.1).

    Parameters
    ----------
    ellipsoids : sequence of Ellipsoid
    origins_mm : (..., 3) array
        A point (z, y, x) on each infinite line.
    directions : (..., 3) array
        Directions (z, y, x), of any length but zero.

    Returns
    -------
    (...) array
        The sum of value times chord length, in value mm.
    """
    origins, directions = np.broadcast_arrays(np.asarray(origins_mm, float), np.asarray(directions, float))
    length = np.linalg.norm(directions, axis=-1, keepdims=True)
    if origins.shape[-1:] != (3,) or not (length > 0).all():
        raise ShapeError(f"Rays need origins and non-zero directions of shape (..., 3), got {origins.shape}.")
    unit = directions / length
    total = np.zeros(origins.shape[:-1])
    for ellipsoid in ellipsoids:
        matrix = ellipsoid.to_unit_ball()
        start = (origins - np.asarray(ellipsoid.centre_mm)) @ matrix.T
        step = unit @ matrix.T
        square = (step * step).sum(-1)
        # Measured from the point of the line nearest to the centre, far sources lose no digits.
        nearest = start - ((start * step).sum(-1) / square)[..., None] * step
        total += ellipsoid.value * 2 * np.sqrt(np.maximum(1 - (nearest * nearest).sum(-1), 0) / square)
    return total


def rasterise(ellipsoids: Sequence[Ellipsoid], grid: AffineGrid, supersampling: int = 3) -> npt.NDArray[np.float32]:
    """Voxel means of a sum of ellipsoids on a centred grid.

    Voxels that a surface cuts are averaged over `supersampling` cubed points; the others are exact.
    """
    axes = _axes(grid)
    voxel = np.asarray(grid.voxel_mm)
    offset = (np.arange(supersampling) + 0.5) / supersampling - 0.5
    points = np.stack(np.meshgrid(*(offset * step for step in voxel), indexing="ij"), axis=-1).reshape(-1, 3)
    volume = np.zeros(grid.shape)
    for ellipsoid in ellipsoids:
        matrix = ellipsoid.to_unit_ball()
        # The box that holds the rotated ellipsoid: the row norms of the inverse map.
        reach = np.linalg.norm(np.linalg.inv(matrix), axis=1) + voxel
        box = tuple(
            slice(*np.searchsorted(axis, (centre - r, centre + r)))
            for axis, centre, r in zip(axes, ellipsoid.centre_mm, reach, strict=True)
        )
        centres = np.stack(np.meshgrid(*(axis[b] for axis, b in zip(axes, box, strict=True)), indexing="ij"), axis=-1)
        position = (centres - np.asarray(ellipsoid.centre_mm)) @ matrix.T
        radius = np.linalg.norm(position, axis=-1)
        # No point of a voxel is farther from its centre in the unit ball than the corner allows.
        margin = np.abs(matrix) @ (voxel / 2)
        cut = np.abs(radius - 1) <= np.linalg.norm(margin)
        inside = (radius < 1).astype(float)
        samples = position[cut][:, None, :] + points @ matrix.T
        inside[cut] = ((samples * samples).sum(-1) < 1).mean(axis=1)
        volume[box] += ellipsoid.value * inside
    return volume.astype(np.float32)


def shepp_logan(
    shape: tuple[int, int, int], voxel_mm: tuple[float, float, float] = (1.0, 1.0, 1.0), supersampling: int = 3
) -> Volume:
    """The modified 3D Shepp-Logan head, filling the grid; values 0 to 1, the brain near 0.2.

    Parameters
    ----------
    shape : (z, y, x)
        The slices must be square in mm.
    voxel_mm : (z, y, x)
    supersampling : int
        Points per axis in voxels that a surface cuts.
    """
    grid = AffineGrid.centred(shape, voxel_mm)
    z, y, x = (n * step / 2 for n, step in zip(shape, voxel_mm, strict=True))
    return Volume(rasterise(shepp_logan_ellipsoids((z, y, x)), grid, supersampling), grid)


def sphere(
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    radius_mm: float,
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    value: float = 1.0,
) -> Volume:
    """One ball with partial-volume edges; `centre_mm` is (z, y, x) from the centre of the grid."""
    grid = AffineGrid.centred(shape, voxel_mm)
    ball = Ellipsoid(centre_mm, (radius_mm, radius_mm, radius_mm), value)
    return Volume(rasterise([ball], grid, supersampling=7), grid)


def bars(
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    widths_mm: Sequence[float],
    value: float = 1.0,
) -> Volume:
    """Resolution bars: one row of four bars per width, along y, each as wide as its gap, extruded through z.

    Bar edges are exact box averages, so a bar keeps its area whatever the voxel.

    Parameters
    ----------
    shape, voxel_mm : (z, y, x)
    widths_mm : sequence of float
        Bar widths; row i takes an equal share of the height, in order.
    """
    grid = AffineGrid.centred(shape, voxel_mm)
    widest, field = max(widths_mm), shape[2] * voxel_mm[2]
    if min(widths_mm) <= 0 or 7 * widest > field:
        raise ShapeError(f"Four bars of {widest} mm with gaps need {7 * widest} mm, got a field of {field} mm.")
    row_mm = shape[1] * voxel_mm[1] / len(widths_mm)
    plane = np.zeros(shape[1:])
    for row, width in enumerate(widths_mm):
        # A tenth of the row stays empty on both sides.
        top = (row + 0.1 - len(widths_mm) / 2) * row_mm
        across = _box_share(shape[1], voxel_mm[1], top, top + 0.8 * row_mm)
        along = sum(_box_share(shape[2], voxel_mm[2], (2 * k - 3.5) * width, (2 * k - 2.5) * width) for k in range(4))
        plane += np.outer(across, along)
    data = np.broadcast_to((value * plane).astype(np.float32), shape).copy()
    return Volume(data, grid)


def _axes(grid: AffineGrid) -> tuple[FloatArray, FloatArray, FloatArray]:
    z, y, x = ((np.arange(n) - (n - 1) / 2) * step for n, step in zip(grid.shape, grid.voxel_mm, strict=True))
    return z, y, x


def _box_share(count: int, step_mm: float, low_mm: float, high_mm: float) -> FloatArray:
    """The share of each voxel of a centred axis that [low, high] covers."""
    edges = np.clip((np.arange(count + 1) - count / 2) * step_mm, low_mm, high_mm)
    share: FloatArray = np.diff(edges) / step_mm
    return share
