"""Solid shapes painted one over another into a CT volume, with partial coverage at their borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numba import njit

Vector = Sequence[float] | np.ndarray
"""Three numbers (x, y, z) in mm, or one array of them."""


class Tissue(IntEnum):
    """What a voxel is made of; decides its texture and which shapes may cover it."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    CAVITY = 3
    LUNG = 4
    SOFT = 5
    CORTEX = 6
    MARROW = 7
    BLOOD = 8
    CONTENT = 9
    GAS = 10
    BRAIN = 11
    FLUID = 12
    SKIN = 13
    METAL = 14
    DEVICE = 15


EVERYWHERE = (1 << len(Tissue)) - 1
NOT_AIR = EVERYWHERE & ~(1 << Tissue.AIR)


def only(*tissues: Tissue) -> int:
    """Return the bit mask that lets a shape cover these tissues and no other."""
    mask = 0
    for tissue in tissues:
        mask |= 1 << tissue
    return mask


INSIDE = only(Tissue.CAVITY, Tissue.SOFT, Tissue.BLOOD, Tissue.CONTENT, Tissue.GAS, Tissue.FLUID, Tissue.LUNG)
"""What organs of the trunk may lie over: anything within its walls but bone."""


def rotation(angles_rad: Vector) -> np.ndarray:
    """Return the 3 x 3 rotation about x, then y, then z, for vectors (x, y, z)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles_rad), np.sin(angles_rad)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


@dataclass
class Canvas:
    """The volume being painted, with the place of each voxel in the body.

    Attributes
    ----------
    hu, tissue : arrays (z, y, x), float32 in HU and uint8.
    body_mm : float32 (3, z, y, x), body coordinates x (to the left), y (to the back), z (to the head) of each voxel.
    bumps : float32 (3, z, y, x), fields of unit deviation, coarse to fine, that make surfaces uneven.
    to_body, origin_mm, warp_mm : body = to_body @ grid_mm + origin + warp, grid_mm (x, y, z) from the grid's centre.
    """

    hu: np.ndarray
    tissue: np.ndarray
    body_mm: np.ndarray
    bumps: np.ndarray
    to_body: np.ndarray
    origin_mm: np.ndarray
    warp_mm: np.ndarray
    voxel_mm: tuple[float, float, float]

    @property
    def edge_mm(self) -> float:
        """Width in body mm over which a border goes from empty to full: one voxel."""
        return float(np.mean(self.voxel_mm)) * float(np.linalg.norm(self.to_body[:, 0]))

    def locate(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the voxel indices (x, y, z), not rounded, of body points (n, 3)."""
        shape = np.array(self.hu.shape[::-1])
        step = np.array(self.voxel_mm[::-1])
        inverse = np.linalg.inv(self.to_body)
        shift = np.zeros_like(points_mm)
        index = np.zeros_like(points_mm)
        for _ in range(3):  # The warp is smooth and small, so the fixed point is near after three rounds.
            index = (points_mm - self.origin_mm - shift) @ inverse.T / step + (shape - 1) / 2
            near = np.clip(np.rint(index), 0, shape - 1).astype(int)
            shift = self.warp_mm[:, near[:, 2], near[:, 1], near[:, 0]].T
        return index


_COLUMNS = 29
_ELLIPSOID, _CAPSULE, _BOX = 0.0, 1.0, 2.0


class Scene:
    """A list of shapes in body coordinates (x, y, z) in mm, painted in the order they were added."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray] = []

    def _add(
        self,
        rows: np.ndarray,
        hu: float,
        tissue: Tissue,
        over: int,
        bump: tuple[int, float] | None,
        opacity: float,
        below: tuple[Vector, float] | None,
    ) -> None:
        rows[:, 18] = hu
        rows[:, 19], rows[:, 20] = bump if bump else (0, 0.0)
        rows[:, 21], rows[:, 22], rows[:, 23] = over, tissue, opacity
        if below is not None:
            rows[:, 24] = 1.0
            rows[:, 25:28], rows[:, 28] = below
        self._blocks.append(rows)

    def ellipsoid(
        self,
        centre_mm: Vector,
        radii_mm: Vector,
        hu: float,
        tissue: Tissue,
        *,
        turn: np.ndarray | None = None,
        power: float = 2.0,
        over: int = NOT_AIR,
        bump: tuple[int, float] | None = None,
        opacity: float = 1.0,
        below: tuple[Vector, float] | None = None,
    ) -> None:
        """Add a super-ellipsoid: power 2 is an ellipsoid, more is boxier; `turn` maps body axes to its own.

        `over` is the mask of tissues it may cover, `bump` an index of `Canvas.bumps` and the amplitude in mm of its
        surface, `below` keeps the part of it with normal . p < offset.
        """
        rows = np.zeros((1, _COLUMNS))
        rows[0, 0] = _ELLIPSOID
        rows[0, 1:4], rows[0, 4:7] = centre_mm, np.maximum(radii_mm, 0.2)
        rows[0, 7:16] = (np.eye(3) if turn is None else turn).ravel()
        rows[0, 16] = power
        self._add(rows, hu, tissue, over, bump, opacity, below)

    def box(
        self,
        centre_mm: Vector,
        half_mm: Vector,
        hu: float,
        tissue: Tissue,
        *,
        turn: np.ndarray | None = None,
        rounding_mm: float = 0.0,
        over: int = EVERYWHERE,
        bump: tuple[int, float] | None = None,
        opacity: float = 1.0,
    ) -> None:
        """Add a box with rounded edges."""
        rows = np.zeros((1, _COLUMNS))
        rows[0, 0] = _BOX
        rows[0, 1:4], rows[0, 4:7] = centre_mm, half_mm
        rows[0, 7:16] = (np.eye(3) if turn is None else turn).ravel()
        rows[0, 16] = rounding_mm
        self._add(rows, hu, tissue, over, bump, opacity, None)

    def tube(
        self,
        points_mm: np.ndarray | Sequence[Sequence[float]],
        radii_mm: float | np.ndarray | Sequence[float],
        hu: float,
        tissue: Tissue,
        *,
        over: int = NOT_AIR,
        bump: tuple[int, float] | None = None,
        opacity: float = 1.0,
        below: tuple[Vector, float] | None = None,
    ) -> None:
        """Add round cones along a line of points (n, 3) with a radius at each point."""
        points = np.asarray(points_mm, dtype=float)
        radii = np.broadcast_to(np.asarray(radii_mm, dtype=float), (len(points),))
        self.segments(
            points[:-1],
            points[1:],
            radii[:-1],
            radii[1:],
            hu,
            tissue,
            over=over,
            bump=bump,
            opacity=opacity,
            below=below,
        )

    def segments(
        self,
        starts_mm: np.ndarray,
        ends_mm: np.ndarray,
        start_radii_mm: np.ndarray,
        end_radii_mm: np.ndarray,
        hu: float,
        tissue: Tissue,
        *,
        over: int = NOT_AIR,
        bump: tuple[int, float] | None = None,
        opacity: float = 1.0,
        below: tuple[Vector, float] | None = None,
    ) -> None:
        """Add round cones between start and end points (n, 3)."""
        rows = np.zeros((len(starts_mm), _COLUMNS))
        rows[:, 0] = _CAPSULE
        rows[:, 1:4], rows[:, 4:7] = starts_mm, ends_mm
        rows[:, 16], rows[:, 17] = np.maximum(start_radii_mm, 0.1), np.maximum(end_radii_mm, 0.1)
        self._add(rows, hu, tissue, over, bump, opacity, below)

    def paint(self, canvas: Canvas) -> None:
        """Paint all shapes that meet the canvas, in order."""
        if not self._blocks:
            return
        rows = np.concatenate(self._blocks)
        capsule = rows[:, 0] == _CAPSULE
        centre = np.where(capsule[:, None], (rows[:, 1:4] + rows[:, 4:7]) / 2, rows[:, 1:4])
        turn = np.abs(rows[:, 7:16].reshape(-1, 3, 3))
        solid = np.einsum("nij,ni->nj", turn, rows[:, 4:7])
        line = np.abs(rows[:, 4:7] - rows[:, 1:4]) / 2 + np.maximum(rows[:, 16], rows[:, 17])[:, None]
        half = np.where(capsule[:, None], line, solid)
        # The margin covers uneven surfaces, the soft border, and what the warp does across the shape.
        half = half * 1.25 + 3.0 * rows[:, 20:21] + 2.0 * canvas.edge_mm + 1.5
        inverse = np.abs(np.linalg.inv(canvas.to_body))
        reach = half @ inverse.T / np.array(canvas.voxel_mm[::-1])
        middle = canvas.locate(centre)
        shape = np.array(canvas.hu.shape[::-1])
        first = np.maximum(np.ceil(middle - reach), 0).astype(np.int64)
        last = np.minimum(np.floor(middle + reach) + 1, shape).astype(np.int64)
        seen = np.all(last > first, axis=1)
        if seen.any():
            _paint(
                canvas.hu,
                canvas.tissue,
                canvas.body_mm,
                canvas.bumps,
                rows[seen].astype(np.float32),
                first[seen],
                last[seen],
                np.float32(canvas.edge_mm),
            )


@njit(cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
def _paint(
    hu: np.ndarray,
    tissue: np.ndarray,
    body: np.ndarray,
    bumps: np.ndarray,
    rows: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    edge: float,
) -> None:
    half = np.float32(0.5)
    one = np.float32(1.0)
    zero = np.float32(0.0)
    for n in range(rows.shape[0]):
        r = rows[n]
        kind = int(r[0])
        value, amplitude, over, label, opacity = r[18], r[20], int(r[21]), np.uint8(r[22]), r[23]
        field = int(r[19])
        power = r[16]
        ax, ay, az = r[4] - r[1], r[5] - r[2], r[6] - r[3]
        inverse_square = one / max(ax * ax + ay * ay + az * az, np.float32(1e-6))
        slack = np.float32(3.0) * amplitude + half * edge
        for k in range(first[n, 2], last[n, 2]):
            for j in range(first[n, 1], last[n, 1]):
                for i in range(first[n, 0], last[n, 0]):
                    if not (over >> tissue[k, j, i]) & 1:
                        continue
                    px, py, pz = body[0, k, j, i], body[1, k, j, i], body[2, k, j, i]
                    qx, qy, qz = px - r[1], py - r[2], pz - r[3]
                    fade = opacity
                    if kind == 1:
                        t = min(max((qx * ax + qy * ay + qz * az) * inverse_square, zero), one)
                        radius = r[16] + t * (r[17] - r[16])
                        qx, qy, qz = qx - t * ax, qy - t * ay, qz - t * az
                        square = qx * qx + qy * qy + qz * qz
                        if radius < half * edge:
                            # A line thinner than a voxel keeps its cross-section: wider and fainter.
                            fade *= (radius / (half * edge)) ** 2
                            radius = half * edge
                        limit = radius + slack
                        if square > limit * limit:
                            continue
                        distance = np.sqrt(square) - radius
                    else:
                        lx = r[7] * qx + r[8] * qy + r[9] * qz
                        ly = r[10] * qx + r[11] * qy + r[12] * qz
                        lz = r[13] * qx + r[14] * qy + r[15] * qz
                        if kind == 0:
                            ux, uy, uz = abs(lx) / r[4], abs(ly) / r[5], abs(lz) / r[6]
                            if power == np.float32(2.0):
                                k0 = np.sqrt(ux * ux + uy * uy + uz * uz)
                            else:
                                if max(ux, max(uy, uz)) > np.float32(1.8):
                                    continue
                                k0 = (ux**power + uy**power + uz**power) ** (one / power)
                            vx, vy, vz = ux / r[4], uy / r[5], uz / r[6]
                            k1 = np.sqrt(vx * vx + vy * vy + vz * vz) + np.float32(1e-6)
                            distance = k0 * (k0 - one) / k1 if k0 > np.float32(0.05) else -min(r[4], min(r[5], r[6]))
                        else:
                            bx, by, bz = abs(lx) - r[4] + power, abs(ly) - r[5] + power, abs(lz) - r[6] + power
                            ox, oy, oz = max(bx, zero), max(by, zero), max(bz, zero)
                            distance = np.sqrt(ox * ox + oy * oy + oz * oz) + min(max(bx, max(by, bz)), zero) - power
                            thin = np.float32(2.0) * min(r[4], min(r[5], r[6]))
                            if thin < edge:
                                fade *= thin / edge
                                distance -= half * (edge - thin)
                    if amplitude > zero:
                        distance += amplitude * bumps[field, k, j, i]
                    if r[24] > half:
                        distance = max(distance, r[25] * px + r[26] * py + r[27] * pz - r[28])
                    cover = half - distance / edge
                    if cover <= zero:
                        continue
                    cover = min(cover, one) * fade
                    hu[k, j, i] += cover * (value - hu[k, j, i])
                    if cover > half:
                        tissue[k, j, i] = label
