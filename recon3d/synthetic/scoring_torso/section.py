"""A window of one random patient: warped coordinates, shared random fields and the volume being painted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from recon3d.grid import AffineGrid
from recon3d.synthetic.implicit import (
    FloatArray,
    FourierField,
    Points,
    ellipsoid_distance,
    smooth_intersection,
    tube_distance,
)

AIR_HU = -1000.0


class Part(IntEnum):
    """Names the random stream of each part, so that no part depends on which others lie in the window."""

    PATIENT = 0
    FIELDS = 1
    TABLE = 2
    CHEST = 3
    BOWEL = 4
    LIVER = 5
    STOMACH = 6
    KIDNEYS = 7
    VESSELS = 8
    SPINE = 9
    RIBS = 10
    PELVIS = 11


@dataclass(frozen=True)
class Patient:
    """What is drawn once per seed; lengths in mm, attenuation in HU. Axes: z superior, y posterior, x patient left."""

    half_width: float
    half_depth: float
    roundness: float
    fat_mm: float
    wall_mm: float
    level_mm: float
    offset: tuple[float, float]
    blood: float
    venous: float
    enhancement: float
    muscle: float
    fat: float
    cancellous: float
    arms: bool


def draw_patient(rng: np.random.Generator) -> Patient:
    """Size, section of the body and phase of the contrast medium of a random patient."""
    section = rng.choice(3, p=(0.3, 0.5, 0.2))
    low, high = ((105.0, 190.0), (-110.0, 70.0), (-265.0, -150.0))[section]
    half_width = rng.uniform(138, 172)
    phase = rng.choice(3, p=(0.25, 0.3, 0.45))  # native, arterial, portal venous
    return Patient(
        half_width=half_width,
        half_depth=half_width * rng.uniform(0.66, 0.78),
        roundness=rng.uniform(2.1, 2.7),
        fat_mm=rng.uniform(4, 20),
        wall_mm=rng.uniform(13, 20),
        level_mm=rng.uniform(low, high),
        offset=(rng.uniform(-1, 1), rng.uniform(-1, 1)),
        blood=(45.0, rng.uniform(220, 380), rng.uniform(130, 180))[phase],
        venous=(42.0, rng.uniform(60, 110), rng.uniform(130, 180))[phase],
        enhancement=(0.0, 0.5, 1.0)[phase],
        muscle=rng.uniform(48, 66),
        fat=rng.uniform(-112, -92),
        cancellous=rng.uniform(120, 260),
        arms=bool(rng.random() < 0.35),
    )


class Section:
    """A window of the patient: warped coordinates, shared fields and the volume being painted."""

    def __init__(self, grid: AffineGrid, patient: Patient, seed: int) -> None:
        self.patient, self.seed, self.shape = patient, seed, grid.shape
        self.voxel_mm = grid.voxel_mm
        self.blur_mm = np.float32(max(self.voxel_mm[1:]))
        rng = self.rng(Part.FIELDS)
        self.axes = self._axes()
        # Waves longer than a hand deform the whole torso; their slope stays far below one, so nothing folds.
        self._warps = [(s, FourierField.random(rng, (160.0, 420.0))) for s in (5.0, 4.0, 5.0)]
        self._fat = FourierField.random(rng, (60.0, 250.0))
        grids = np.meshgrid(*(axis.astype(np.float32) for axis in self.axes), indexing="ij", sparse=True)
        self.z, self.y, self.x = (
            axis + np.float32(s) * self.sample(field) for axis, (s, field) in zip(grids, self._warps, strict=True)
        )
        self.ripple = self.sample(FourierField.random(rng, (25.0, 90.0)))
        self.bend = self.sample(FourierField.random(rng, (70.0, 200.0)))
        self.tissue = self.sample(FourierField.random(rng, (4.0, 25.0), 160))
        self.grain = self.sample(FourierField.random(rng, (2.2, 7.0), 192))
        self.hu: FloatArray = np.full(self.shape, AIR_HU, np.float32)
        self.body = self._body(self.z, self.y, self.x)
        fat = self._fat_mm(self.sample(self._fat), self.y)
        self.wall = self._wall_mm(self.z)
        self.inner = self.body + fat
        self.spine_y = self.spine_depth(self.z).astype(np.float32)
        back = ellipsoid_distance(self.z, self.y - self.spine_y, self.x, (0.0, 46.0, 0.0), (1e5, 34.0, 60.0))
        self.cavity = smooth_intersection(self.inner + self.wall, -back, 14.0)

    def rng(self, part: Part, item: int = 0) -> np.random.Generator:
        """The random stream of a part, and of the items that it has several of."""
        return np.random.default_rng((self.seed, int(part), item))

    def sample(self, field: FourierField) -> FloatArray:
        """A field at the voxels of the window."""
        return field.on_axes(self.axes, self.voxel_mm)

    def _axes(self) -> tuple[Points, Points, Points]:
        """Patient coordinates of the voxel centres: the body is moved inside a larger field, cropped by a smaller."""
        p = self.patient
        centres = [p.level_mm]
        for axis, extent, shift, u in (
            (1, 2 * p.half_depth + 40, 17.0, p.offset[0]),
            (2, 2 * p.half_width + 10, 0.0, p.offset[1]),
        ):
            slack = (self.shape[axis] * self.voxel_mm[axis] - extent) / 2
            centres.append(shift + u * (min(slack, 12.0) if slack > 0 else -0.7 * slack))
        z, y, x = (
            centre + (np.arange(n) - (n - 1) / 2) * step
            for centre, n, step in zip(centres, self.shape, self.voxel_mm, strict=True)
        )
        return z, y, x

    def unwarp(self, points: Points) -> Points:
        """Where an anatomical point lies in the window: the fixed point of q + w(q) = p."""
        placed = points
        for _ in range(4):
            placed = points - np.column_stack([s * field.at(placed) for s, field in self._warps])
        return placed

    def tubes(self, segments: Points, reach_mm: float = 6.0) -> FloatArray:
        """Distance to tubes given in anatomical coordinates."""
        if len(segments):
            segments = np.column_stack([self.unwarp(segments[:, :3]), self.unwarp(segments[:, 3:6]), segments[:, 6:]])
        origin = np.array([axis[0] for axis in self.axes])
        return tube_distance(self.shape, origin, self.voxel_mm, segments, max(reach_mm, 2 * float(self.blur_mm)))

    def near(self, low_mm: float, high_mm: float) -> bool:
        """Whether a part between two levels can reach the window."""
        margin = 25.0
        return bool(self.axes[0][0] - margin <= high_mm and self.axes[0][-1] + margin >= low_mm)

    def ellipsoid(
        self, centre: tuple[float, float, float], radii: tuple[float, float, float], wobble: float = 0.0
    ) -> FloatArray:
        """Distance (mm) to an ellipsoid in anatomical coordinates, its surface moved by about `wobble` mm."""
        distance = ellipsoid_distance(self.z, self.y, self.x, centre, radii)
        return distance + np.float32(wobble) * (self.bend + 0.3 * self.ripple) if wobble else distance

    def paint(self, distance: FloatArray, value: FloatArray | float, where: FloatArray | None = None) -> None:
        """Lay a value over the inside of a surface, with the partial volume of voxels that the surface cuts."""
        if where is not None:
            distance = np.maximum(distance, where)
        cover = np.clip(0.5 - distance / self.blur_mm, 0, 1)
        self.hu += cover * (value - self.hu)

    def _outline(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        p = self.patient
        levels = (-330.0, -235.0, -150.0, -80.0, 0.0, 90.0, 190.0, 280.0)
        width = np.interp(z, levels, (0.95, 1.04, 0.99, 0.94, 0.98, 1.0, 0.99, 0.85)).astype(z.dtype)
        depth = np.interp(z, levels, (0.93, 0.95, 0.92, 0.95, 1.0, 1.0, 0.93, 0.75)).astype(z.dtype)
        return p.half_width * width, p.half_depth * depth

    def _body(self, z: FloatArray, y: FloatArray, x: FloatArray) -> FloatArray:
        """Distance to the skin, a superellipse flattened at the back."""
        n = self.patient.roundness
        a, b = self._outline(z)
        b = np.where(y > 0, b * np.float32(0.93), b)
        u, v = np.abs(x) / a, np.abs(y) / b
        rho = np.maximum((u**n + v**n) ** (1 / n), 1e-3)
        slope = np.hypot(u ** (n - 1) / a, v ** (n - 1) / b) * rho ** (1 - n)
        distance: FloatArray = ((rho - 1) / np.maximum(slope, 1e-4)).astype(np.float32)
        return distance

    def spine_depth(self, z: FloatArray) -> FloatArray:
        """y of the vertebral centres: a fixed distance before the skin of the back, with lordosis and kyphosis."""
        p = self.patient
        curve = np.interp(z, (-260.0, -170.0, -70.0, 30.0, 150.0, 300.0), (12.0, 2.0, -9.0, -1.0, 5.0, 0.0))
        depth: FloatArray = 0.93 * self._outline(z)[1] - 66 - 1.1 * p.fat_mm + curve
        return depth

    def _fat_mm(self, field: FloatArray, y: FloatArray) -> FloatArray:
        p = self.patient
        return (p.fat_mm * np.clip(1 + 0.3 * field + 0.35 * y / p.half_depth, 0.35, 2.2)).astype(np.float32)

    def _wall_mm(self, z: FloatArray) -> FloatArray:
        """Thickness of the muscle wall: the buttocks and hips are thicker."""
        hip = np.clip((-165 - z) / 70, 0, 1)
        return (self.patient.wall_mm + 14 * hip).astype(np.float32)

    def on_wall(self, z: Points, angle_rad: Points, depth: float) -> Points:
        """Points (n, 3) at a fraction of the muscle wall; angle 0 is the back, pi / 2 the left side."""
        a, b = self._outline(z)
        c, s = np.cos(angle_rad), np.sin(angle_rad)
        n = self.patient.roundness
        b = np.where(c > 0, b * 0.93, b)
        radius = (np.abs(s / a) ** n + np.abs(c / b) ** n) ** (-1 / n)
        skin = np.column_stack([z, radius * c, radius * s])
        fat = self._fat_mm(self._fat.at(self.unwarp(skin)), skin[:, 1])
        # Depth is measured along the normal of the superellipse.
        u, v = np.abs(skin[:, 2]) / a, np.abs(skin[:, 1]) / b
        normal = np.column_stack([np.zeros_like(z), np.sign(c) * v ** (n - 1) / b, np.sign(s) * u ** (n - 1) / a])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        points: Points = skin - normal * (fat + depth * self._wall_mm(z))[:, None]
        return points
