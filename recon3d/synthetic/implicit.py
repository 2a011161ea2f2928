"""Implicit geometry for random phantoms: signed distances, random Fourier fields, swept tubes and Worley cells."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

# float32 on voxels; typed loosely since NumPy's stubs widen mixed expressions.
FloatArray = npt.NDArray[np.floating]
Points = npt.NDArray[np.floating]


@dataclass(frozen=True)
class FourierField:
    """A stationary random field of unit variance, a sum of plane waves that can be evaluated anywhere.

    The field is a function of position in mm, so a finer grid samples the same field more finely.

    Parameters
    ----------
    wavevectors : (n, 3) array
        Angular frequencies (z, y, x) in rad/mm.
    phases : (n,) array
        Phases in rad.
    """

    wavevectors: Points
    phases: Points

    @classmethod
    def random(cls, rng: np.random.Generator, wavelengths_mm: tuple[float, float], waves: int = 48) -> FourierField:
        """Draw isotropic waves with log-uniform wavelengths in the given band."""
        direction = rng.standard_normal((waves, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        low, high = np.log(wavelengths_mm)
        wavelength = np.exp(rng.uniform(low, high, (waves, 1)))
        return cls(2 * np.pi * direction / wavelength, rng.uniform(0, 2 * np.pi, waves))

    def at(self, points: Points) -> Points:
        """Values at points (n, 3) in mm, (z, y, x)."""
        phase = points @ self.wavevectors.T + self.phases
        values: Points = np.sqrt(2 / len(self.phases)) * np.cos(phase).sum(axis=1)
        return values

    def on_axes(self, axes: tuple[Points, Points, Points], voxel_mm: tuple[float, float, float]) -> FloatArray:
        """Voxel means on the grid spanned by the axes (z, y, x) in mm.

        The box average multiplies each wave by sinc(k h / 2) per axis, so waves finer than the voxel vanish, not alias.
        """
        z, y, x = axes
        weight = np.prod(np.sinc(self.wavevectors * np.asarray(voxel_mm) / (2 * np.pi)), axis=1)
        weight = weight * np.sqrt(2 / len(self.phases))
        kz, ky, kx = self.wavevectors.T
        # cos(a + b) = Re(exp(ia) exp(ib)): the sum over waves is one real matrix product.
        left = (np.exp(1j * (np.outer(z, kz) + self.phases))[:, None, :] * np.exp(1j * np.outer(y, ky))) * weight
        right = np.exp(1j * np.outer(kx, x))
        rows = np.concatenate([left.real, -left.imag], axis=-1).astype(np.float32).reshape(len(z) * len(y), -1)
        columns = np.concatenate([right.real, right.imag]).astype(np.float32)
        return (rows @ columns).reshape(len(z), len(y), len(x))


def ellipsoid_distance(
    z: FloatArray,
    y: FloatArray,
    x: FloatArray,
    centre_mm: tuple[float, float, float],
    radii_mm: tuple[float, float, float],
) -> FloatArray:
    """Signed distance in mm to an ellipsoid (negative inside), first-order exact at its surface.

    The implicit function f = |p/r| - 1 is divided by its own gradient; an infinite radius makes a cylinder.
    """
    value = np.zeros(np.broadcast_shapes(z.shape, y.shape, x.shape), np.float32)
    slope = np.zeros_like(value)
    for axis, centre, radius in zip((z, y, x), centre_mm, radii_mm, strict=True):
        offset = (axis - np.float32(centre)) * np.float32(1 / radius)
        value += offset * offset
        offset = offset * np.float32(1 / radius)
        slope += offset * offset
    value = np.sqrt(value)
    # At the centre both vanish; any small floor leaves a negative distance there.
    distance: FloatArray = (value - 1) * np.maximum(value, 0.05) / np.maximum(np.sqrt(slope), 1e-4)
    return distance


def smooth_union(a: FloatArray, b: FloatArray, blend_mm: float) -> FloatArray:
    """Union of two signed distances with a fillet of the given size (polynomial smooth minimum)."""
    h = np.clip(0.5 + 0.5 * (b - a) / np.float32(blend_mm), 0, 1)
    union: FloatArray = b + (a - b) * h - np.float32(blend_mm) * h * (1 - h)
    return union


def smooth_intersection(a: FloatArray, b: FloatArray, blend_mm: float) -> FloatArray:
    """Intersection of two signed distances with a rounded edge."""
    return -smooth_union(-a, -b, blend_mm)


def spline_tube(control_mm: Points, radii_mm: Points, samples: int) -> Points:
    """Segments (samples - 1, 8) of a tube swept along a cubic spline: start (z, y, x), end (z, y, x), two radii."""
    knots = np.linspace(0, 1, len(control_mm))
    t = np.linspace(0, 1, samples)
    points = CubicSpline(knots, control_mm)(t)
    radii = np.interp(t, knots, radii_mm)
    return np.column_stack([points[:-1], points[1:], radii[:-1], radii[1:]])


def branching_tubes(
    rng: np.random.Generator,
    root_mm: tuple[float, float, float],
    direction: tuple[float, float, float],
    radius_mm: float,
    length_mm: float,
    generations: int,
) -> Points:
    """Segments (n, 8) of a random tree of tubes; radii follow Murray's law, r0^3 = r1^3 + r2^3."""
    segments: list[npt.NDArray[np.float64]] = []
    front = [(np.asarray(root_mm, float), np.asarray(direction, float), radius_mm, length_mm)]
    for _ in range(generations):
        following = []
        for point, heading, radius, length in front:
            heading = heading / np.linalg.norm(heading)
            for _ in range(3):
                heading = heading + 0.22 * rng.standard_normal(3)
                heading = heading / np.linalg.norm(heading)
                end = point + heading * length / 3
                segments.append(np.concatenate([point, end, [radius, radius * 0.95]]))
                point, radius = end, radius * 0.95
            side = np.cross(heading, rng.standard_normal(3))
            side = side / np.linalg.norm(side)
            share = rng.uniform(0.3, 0.7)
            for sign, part in ((1.0, share), (-1.0, 1 - share)):
                child = heading + sign * (1.25 - part) * side
                following.append((point, child, radius * part ** (1 / 3), length * rng.uniform(0.7, 0.95)))
        front = following
    return np.array(segments)


def tube_distance(
    shape: tuple[int, int, int],
    origin_mm: Points,
    voxel_mm: tuple[float, float, float],
    segments: Points,
    reach_mm: float,
) -> FloatArray:
    """Signed distance to a union of tube segments, exact within `reach_mm` of them and `reach_mm` farther away."""
    distance = np.full(shape, reach_mm, np.float32)
    if len(segments):
        _stamp_tubes(distance, np.asarray(origin_mm, float), np.asarray(voxel_mm, float), segments, reach_mm)
    return distance


@numba.njit(cache=True)
def _stamp_tubes(
    distance: FloatArray, origin: Points, voxel: Points, segments: Points, reach: float
) -> None:  # pragma: no cover
    lower = np.empty(3, np.int64)
    upper = np.empty(3, np.int64)
    for s in range(segments.shape[0]):
        start, end = segments[s, :3], segments[s, 3:6]
        margin = max(segments[s, 6], segments[s, 7]) + reach
        for axis in range(3):
            low = (min(start[axis], end[axis]) - margin - origin[axis]) / voxel[axis]
            high = (max(start[axis], end[axis]) + margin - origin[axis]) / voxel[axis]
            lower[axis] = max(0, int(np.ceil(low)))
            upper[axis] = min(distance.shape[axis], int(np.floor(high)) + 1)
        dz, dy, dx = end[0] - start[0], end[1] - start[1], end[2] - start[2]
        square = max(dz * dz + dy * dy + dx * dx, 1e-12)
        for k in range(lower[0], upper[0]):
            pz = origin[0] + k * voxel[0] - start[0]
            for j in range(lower[1], upper[1]):
                py = origin[1] + j * voxel[1] - start[1]
                for i in range(lower[2], upper[2]):
                    px = origin[2] + i * voxel[2] - start[2]
                    t = min(1.0, max(0.0, (pz * dz + py * dy + px * dx) / square))
                    gap = np.sqrt((pz - t * dz) ** 2 + (py - t * dy) ** 2 + (px - t * dx) ** 2)
                    gap -= segments[s, 6] + t * (segments[s, 7] - segments[s, 6])
                    if gap < distance[k, j, i]:
                        distance[k, j, i] = gap


def worley_cells(
    z: FloatArray, y: FloatArray, x: FloatArray, spacing_mm: float, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Voronoi tissue of jittered lattice points (Worley, 1996).

    Returns
    -------
    border_mm, label, height_mm
        Half the difference of the two smallest distances (zero on cell borders), one uniform number per cell in
        [0, 1), and y relative to the centre of the cell.
    """
    border, label, height = np.empty_like(z), np.empty_like(z), np.empty_like(z)
    flat = (z.ravel(), y.ravel(), x.ravel())
    _worley(*flat, spacing_mm, np.uint64(seed), border.ravel(), label.ravel(), height.ravel())
    return border, label, height


@numba.njit(cache=True)
def _hash_uniform(a: int, b: int, c: int, channel: int, seed: np.uint64) -> float:  # pragma: no cover
    h = np.uint64(a + 100003) * np.uint64(0x9E3779B97F4A7C15) ^ seed
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(b + 100003)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0x94D049BB133111EB) + np.uint64(c + 100003)
    h = (h ^ (h >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(channel)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    h = h ^ (h >> np.uint64(31))
    return float(h >> np.uint64(11)) / 9007199254740992.0


@numba.njit(cache=True)
def _worley(
    z: FloatArray,
    y: FloatArray,
    x: FloatArray,
    spacing: float,
    seed: np.uint64,
    border: FloatArray,
    label: FloatArray,
    height: FloatArray,
) -> None:  # pragma: no cover
    for n in range(z.size):
        pz, py, px = z[n] / spacing, y[n] / spacing, x[n] / spacing
        cz, cy, cx = int(np.floor(pz)), int(np.floor(py)), int(np.floor(px))
        first, second = 1e9, 1e9
        na, nb, nc, ny = 0, 0, 0, 0.0
        for a in range(cz - 1, cz + 2):
            for b in range(cy - 1, cy + 2):
                for c in range(cx - 1, cx + 2):
                    qz = a + _hash_uniform(a, b, c, 0, seed)
                    qy = b + _hash_uniform(a, b, c, 1, seed)
                    qx = c + _hash_uniform(a, b, c, 2, seed)
                    d = (qz - pz) ** 2 + (qy - py) ** 2 + (qx - px) ** 2
                    if d < first:
                        second = first
                        first = d
                        na, nb, nc, ny = a, b, c, qy
                    elif d < second:
                        second = d
        border[n] = 0.5 * spacing * (np.sqrt(second) - np.sqrt(first))
        label[n] = _hash_uniform(na, nb, nc, 3, seed)
        height[n] = (py - ny) * spacing
