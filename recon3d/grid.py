"""Grids: where the samples of a volume lie, as frozen values (millimetres, RAS+ for patients)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import GeometryError

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class AffineGrid:
    """Voxels on a lattice: world_mm = affine @ (x, y, z, 1), with indices at voxel centres.

    Parameters
    ----------
    shape : (z, y, x)
    affine : 4 x 4, millimetres; for patients RAS+ (x to the right, y to the front, z to the head). A shear is kept.
    """

    shape: tuple[int, int, int]
    affine: Matrix

    def __post_init__(self) -> None:
        shape = _three_counts(self.shape)
        matrix = np.asarray(self.affine, dtype=float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not _is_invertible(matrix):
            raise GeometryError(f"A grid needs an invertible finite 4 x 4 affine, got {matrix.tolist()}.")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", tuple(tuple(float(v) for v in row) for row in matrix))

    @classmethod
    def centred(cls, shape: Sequence[int], voxel_mm: float | Sequence[float]) -> AffineGrid:
        """A grid along the world axes whose centre is the world origin; `voxel_mm` is one length or (z, y, x).

        >>> AffineGrid.centred((1, 2, 3), (5.0, 2.0, 1.0)).affine[0]  # the world's x of three columns: -1, 0, 1
        (1.0, 0.0, 0.0, -1.0)
        """
        z, y, x = _three_lengths(voxel_mm)
        matrix = np.diag([x, y, z, 1.0])
        matrix[:3, 3] = [-(n - 1) / 2 * v for n, v in zip(reversed(_three_counts(shape)), (x, y, z), strict=True)]
        return cls(_three_counts(shape), tuple(map(tuple, matrix)))

    @classmethod
    def patient(cls, shape: Sequence[int], voxel_mm: float | Sequence[float]) -> AffineGrid:
        """A centred grid stored as axial images are: rows run to the back, columns to the left, slices to the head."""
        grid = cls.centred(shape, voxel_mm)
        return cls(grid.shape, tuple(map(tuple, np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.matrix)))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as an array."""
        return np.array(self.affine)

    @property
    def voxel_mm(self) -> tuple[float, float, float]:
        """Length of a voxel edge along (z, y, x)."""
        x, y, z = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """World position (x, y, z) of the centre of the grid."""
        z, y, x = ((n - 1) / 2 for n in self.shape)
        return tuple(float(v) for v in (self.matrix @ [x, y, z, 1.0])[:3])  # type: ignore[return-value]

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not at right angles (a gantry tilt that was not resampled)."""
        axes = self.matrix[:3, :3] / np.linalg.norm(self.matrix[:3, :3], axis=0)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4)

    def slab(self, start: int, stop: int) -> AffineGrid:
        """The same world positions, only slices start to stop."""
        if not 0 <= start < stop <= self.shape[0]:
            raise GeometryError(f"A slab lies inside slices 0 to {self.shape[0]}, got {start} to {stop}.")
        matrix = self.matrix
        matrix[:3, 3] += start * matrix[:3, 2]
        return AffineGrid((stop - start, *self.shape[1:]), tuple(map(tuple, matrix)))

    def resampled(self, shape: Sequence[int]) -> AffineGrid:
        """Another number of voxels over the same extent (outer voxel faces stay where they are)."""
        new = _three_counts(shape)
        ratio = [old / n for old, n in zip(reversed(self.shape), reversed(new), strict=True)]
        step = np.diag([*ratio, 1.0])
        step[:3, 3] = [(r - 1) / 2 for r in ratio]
        return AffineGrid(new, tuple(map(tuple, self.matrix @ step)))

    def with_voxel_mm(self, voxel_mm: float | Sequence[float]) -> AffineGrid:
        """Voxels of about another edge length (z, y, x) over the same extent, rounded to a whole number of them."""
        wanted = _three_lengths(voxel_mm)
        extent = (n * v for n, v in zip(self.shape, self.voxel_mm, strict=True))
        return self.resampled([max(1, round(e / v)) for e, v in zip(extent, wanted, strict=True)])


@dataclass(frozen=True)
class SurveyGrid:
    """A seismic survey: (crossline, inline, sample), bins on a rotated map grid, samples in time or depth.

    Parameters
    ----------
    shape : (crossline, inline, sample)
    inlines, crosslines : (first number, step)
    origin_m : map position (easting, northing) of the first bin
    inline_step_m, crossline_step_m : map vector from one inline (crossline) to the next
    sample_start, sample_step : in `sample_unit`
    sample_unit : "s" or "m"
    """

    shape: tuple[int, int, int]
    inlines: tuple[int, int]
    crosslines: tuple[int, int]
    origin_m: tuple[float, float]
    inline_step_m: tuple[float, float]
    crossline_step_m: tuple[float, float]
    sample_start: float
    sample_step: float
    sample_unit: str = "s"

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"A survey needs (crossline, inline, sample) of at least one, got {self.shape}.")
        if not self.sample_step > 0 or self.sample_unit not in ("s", "m"):
            raise GeometryError(f"A survey needs a positive step in s or m, got {self.sample_step} {self.sample_unit}.")


@dataclass(frozen=True)
class BeamGrid:
    """Samples along diverging ultrasound beams: (elevation, beam, depth), before scan conversion.

    Parameters
    ----------
    shape : (elevation, beam, depth)
    angle_rad : (first, step) of the beam angles, 0 along the axis of the probe
    depth_mm : (first, step) along each beam
    apex_mm : distance of the common apex behind the face of the probe; infinite for parallel beams
    pitch_mm : distance of neighbouring beams at the face, for parallel beams
    """

    shape: tuple[int, int, int]
    angle_rad: tuple[float, float]
    depth_mm: tuple[float, float]
    apex_mm: float = math.inf
    pitch_mm: float = 0.0

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise GeometryError(f"A beam grid needs (elevation, beam, depth) of at least one, got {self.shape}.")
        if not self.depth_mm[1] > 0:
            raise GeometryError(f"A beam grid needs a positive depth step, got {self.depth_mm[1]} mm.")


Grid = AffineGrid | SurveyGrid | BeamGrid


def _three_counts(shape: Sequence[int]) -> tuple[int, int, int]:
    counts = tuple(int(n) for n in shape)
    if len(counts) != 3 or min(counts) < 1:
        raise GeometryError(f"A grid needs three lengths (z, y, x) of at least one voxel, got {tuple(shape)}.")
    return counts


def _three_lengths(voxel_mm: float | Sequence[float]) -> tuple[float, float, float]:
    lengths = np.atleast_1d(np.asarray(voxel_mm, dtype=float))
    if lengths.shape not in ((1,), (3,)) or not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise GeometryError(f"Voxel lengths must be one or three positive numbers in mm, got {voxel_mm}.")
    z, y, x = np.broadcast_to(lengths, 3)
    return float(z), float(y), float(x)


def _is_invertible(matrix: NDArray[np.float64]) -> bool:
    """Whether the axes of an affine span space, however small the voxels are, and its last row is (0, 0, 0, 1)."""
    edges = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (edges > 0).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        return False
    return bool(abs(np.linalg.det(matrix[:3, :3] / edges)) > 1e-6)
