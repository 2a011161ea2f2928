"""Where the points of an ultrasound image lie: planes and boxes under a probe, beams, and beams made into images.

The frame of the probe has x lateral, y elevation and z depth, in mm from the middle of its face. In the world, as
viewers show it, the probe points down: depth runs to the feet and x to the left, so world = (-x, y, -z). On an
`AffineGrid` each slice is a picture as it is shown, rows running into the depth and columns along x;
slices follow one another along y.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from operators.ultrasound import SectorSampling
from recon3d.errors import InputError
from recon3d.grid import AffineGrid, BeamGrid, Grid
from recon3d.volume import Volume

Range = tuple[float, float]
_WORLD = np.array([-1.0, 1.0, -1.0])
"""The world's axes along those of the probe."""


def image_grid(x_mm: Range, z_mm: Range, voxel_mm: tuple[float, float], y_mm: Range = (0.0, 0.0)) -> AffineGrid:
    """A plane (or box) below the probe, its first and last voxels in the middle of the given ends or inside them.

    Parameters
    ----------
    x_mm, z_mm, y_mm : lateral, depth and elevation, (first, last)
    voxel_mm : edges along (depth, lateral); slices are as far apart as columns
    """
    dz, dx = voxel_mm
    counts = [1 + int((last - first) / step + 1e-9) for (first, last), step in ((y_mm, dx), (z_mm, dz), (x_mm, dx))]
    affine = ((-dx, 0.0, 0.0, -x_mm[0]), (0.0, 0.0, dx, y_mm[0]), (0.0, -dz, 0.0, -z_mm[0]), (0.0, 0.0, 0.0, 1.0))
    return AffineGrid((counts[0], counts[1], counts[2]), affine)


def points_mm(grid: Grid) -> NDArray[np.float64]:
    """The points of a grid in the frame of the probe, (point, 3), in the order of the grid's axes.

    Raises
    ------
    InputError
        For grids without places under a probe, and for beams in more than one plane.
    """
    if isinstance(grid, AffineGrid):
        z, y, x = np.meshgrid(*map(np.arange, grid.shape), indexing="ij")
        world = np.stack([x, y, z], axis=-1).reshape(-1, 3) @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
        return np.asarray(world * _WORLD)
    if not isinstance(grid, BeamGrid) or grid.shape[0] != 1:
        raise InputError(
            f"Ultrasound is imaged on an AffineGrid or on beams of one plane, got {type(grid).__name__} {grid.shape}."
        )
    _, beams, depths = grid.shape
    depth = grid.depth_mm[0] + grid.depth_mm[1] * np.arange(depths)
    if math.isinf(grid.apex_mm):
        lateral = (np.arange(beams) - 0.5 * (beams - 1)) * grid.pitch_mm
        x, z = np.broadcast_arrays(lateral[:, None], depth)
    else:
        angle = (grid.angle_rad[0] + grid.angle_rad[1] * np.arange(beams))[:, None]
        x = (grid.apex_mm + depth) * np.sin(angle)
        z = (grid.apex_mm + depth) * np.cos(angle) - grid.apex_mm
    return np.stack([x, np.zeros_like(x), z], axis=-1).reshape(-1, 3)


def grid_through(places_mm: NDArray[np.float64]) -> tuple[AffineGrid | BeamGrid, bool]:
    """The grid whose points lie at these places of the probe's frame, and whether its columns are beams.

    Parameters
    ----------
    places_mm : (depth, lateral, 3) of one plane: a rectangle, or beams that diverge from a point on the axis

    Raises
    ------
    InputError
        If the points are no such grid, to a hundredth of their spacing.
    """
    if places_mm.ndim != 3 or places_mm.shape[-1] != 3 or min(places_mm.shape[:2]) < 2:
        raise InputError(
            f"The places of an image are (depth, lateral, 3), two or more each way, got {places_mm.shape}."
        )
    x, z = places_mm[..., 0], places_mm[..., 2]
    if not np.isfinite(places_mm).all() or not (z[-1] > z[0]).all():
        raise InputError("The places of an image are finite and go down, depth along their first axis.")
    depths, lines = x.shape
    dx, dz = x[-1] - x[0], z[-1] - z[0]
    grid: AffineGrid | BeamGrid
    if np.abs(dx).max() < 1e-3 * dz.max():
        step = ((z[-1, 0] - z[0, 0]) / (depths - 1), (x[0, -1] - x[0, 0]) / (lines - 1))
        grid = image_grid((x[0, 0], x[0, -1]), (z[0, 0], z[-1, 0]), step, (places_mm[0, 0, 1],) * 2)
        wanted = places_mm.reshape(-1, 3)
    else:
        angles = np.arctan2(dx, dz)
        leaning = int(np.abs(angles).argmax())
        apex = z[0, leaning] - x[0, leaning] / np.tan(angles[leaning])
        radius = np.hypot(x[:, leaning], z[:, leaning] - apex)
        spacing = ((angles[-1] - angles[0]) / (lines - 1), (radius[-1] - radius[0]) / (depths - 1))
        grid = BeamGrid((1, lines, depths), (angles[0], spacing[0]), (radius[0] + apex, spacing[1]), -apex)
        wanted = places_mm.swapaxes(0, 1).reshape(-1, 3)
    found = points_mm(grid)
    smallest = np.linalg.norm(places_mm[1, 0] - places_mm[0, 0])
    if found.shape != wanted.shape or np.abs(found - wanted).max() > 0.01 * smallest:
        raise InputError(
            "The places of the image are neither a rectangle nor beams from one point on the probe's axis."
        )
    return grid, isinstance(grid, BeamGrid)


def scan_converted(volume: Volume, grid: AffineGrid | None = None) -> Volume:
    """An image of beams on the squares of a picture, by bilinear interpolation; the lowest value outside the sector.

    Parameters
    ----------
    volume : real, on a BeamGrid; of an envelope or in decibels (an RF image loses its carrier)
    grid : in the plane of the beams; by default as wide and deep as they reach, with voxels as fine as samples in depth
        allow, at most 1024 a side
    """
    beams = volume.grid
    if not isinstance(beams, BeamGrid):
        raise InputError(f"Scan conversion is for beams, '{volume!r}' lies on a {type(beams).__name__} already.")
    if np.iscomplexobj(volume.data):
        raise InputError("Scan conversion is for envelopes or decibels, the image is complex: take its magnitude.")
    places = points_mm(beams)
    if grid is None:
        low, high = places.min(axis=0), places.max(axis=0)
        edge = max(beams.depth_mm[1], float((high - low)[[0, 2]].max()) / 1023)
        grid = image_grid((low[0], high[0]), (low[2], high[2]), (edge, edge))
    wanted = points_mm(grid)
    if math.isinf(beams.apex_mm):
        beam = wanted[:, 0] / beams.pitch_mm + 0.5 * (beams.shape[1] - 1)
        depth = wanted[:, 2]
    else:
        from_apex = wanted[:, 2] + beams.apex_mm
        beam = (np.arctan2(wanted[:, 0], from_apex) - beams.angle_rad[0]) / beams.angle_rad[1]
        depth = np.hypot(wanted[:, 0], from_apex) - beams.apex_mm
    index = (depth - beams.depth_mm[0]) / beams.depth_mm[1]
    plane = grid.shape[1:]
    sampling = SectorSampling(
        beams.shape,
        torch.from_numpy(beam.reshape(grid.shape)[0]),
        torch.from_numpy(index.reshape(grid.shape)[0]),
        dtype=torch.float64,
    )
    lowest = float(volume.data.min())
    shifted = torch.from_numpy(np.asarray(volume.data, dtype=np.float64) - lowest)
    data = sampling(shifted).numpy().reshape(*volume.data.shape[:-2], *plane) + lowest
    return Volume(data.astype(np.float32), grid, volume.units, volume.times_s, volume.tags)
