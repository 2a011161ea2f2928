"""Random CT of a second patient style, for scoring only: implicit surfaces, random fields and Worley tissue.

It shares no code, parameter or construction with the training generator: one torso is written as signed distances in
patient coordinates (mm), deformed by a smooth random warp, and a random axial window of it is sampled. Never train or
tune on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.synthetic.implicit import (
    FloatArray,
    FourierField,
    Points,
    branching_tubes,
    ellipsoid_distance,
    smooth_intersection,
    smooth_union,
    spline_tube,
    tube_distance,
    worley_cells,
)
from recon3d.volume import Volume

AIR_HU = -1000.0
VERTEBRA_MM = 31.0
FAR_MM = np.float32(1e3)


class _Part(IntEnum):
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
class _Patient:
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


def _draw_patient(rng: np.random.Generator) -> _Patient:
    section = rng.choice(3, p=(0.3, 0.5, 0.2))
    low, high = ((105.0, 190.0), (-110.0, 70.0), (-265.0, -150.0))[section]
    half_width = rng.uniform(138, 172)
    phase = rng.choice(3, p=(0.25, 0.3, 0.45))  # native, arterial, portal venous
    return _Patient(
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


class _Section:
    """A window of the patient: warped coordinates, shared fields and the volume being painted."""

    def __init__(self, grid: AffineGrid, patient: _Patient, seed: int) -> None:
        self.patient, self.seed, self.shape = patient, seed, grid.shape
        self.voxel_mm = grid.voxel_mm
        self.blur_mm = np.float32(max(self.voxel_mm[1:]))
        rng = self.rng(_Part.FIELDS)
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

    def rng(self, part: _Part, item: int = 0) -> np.random.Generator:
        return np.random.default_rng((self.seed, int(part), item))

    def sample(self, field: FourierField) -> FloatArray:
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


def _table(s: _Section) -> None:
    """Two thin curved shells with foam between them, and the forearms of patients scanned with arms down."""
    rng, p = s.rng(_Part.TABLE), s.patient
    y, x = (axis.astype(np.float32) for axis in s.axes[1:])
    sag, gap, thick = rng.uniform(0.0004, 0.0011), rng.uniform(18, 34), rng.uniform(1.6, 2.8)
    top = p.half_depth * 0.93 + 10 + rng.uniform(0, 5)
    surface = y[:, None] + np.float32(sag) * x * x - np.float32(top)
    edge = np.abs(x) - np.float32(rng.uniform(175, 215))
    shape = s.shape
    foam = np.broadcast_to(np.maximum(np.maximum(-surface, surface - gap), edge), shape)
    s.paint(foam, rng.uniform(-970, -920))
    for level in (0.0, gap):
        shell = np.maximum(np.abs(surface - np.float32(level)) - np.float32(thick / 2), edge)
        s.paint(np.broadcast_to(shell, shape), rng.uniform(-150, 250))
    if p.arms and s.near(-250, 130):
        for side in (-1.0, 1.0):
            centre = (0.0, rng.uniform(10, 35), side * (p.half_width + rng.uniform(38, 52)))
            skin = s.ellipsoid(centre, (1e5, rng.uniform(30, 38), rng.uniform(27, 33)), 2.0)
            s.paint(skin, p.fat + 4 * s.tissue)
            s.paint(skin + 5 + 1.5 * s.ripple, p.muscle + 7 * s.tissue)
            bone = s.ellipsoid(centre, (1e5, 10.0, 10.5), 1.0)
            s.paint(bone, 1100 + 60 * s.tissue)
            s.paint(bone + 4.5, -40.0)


def _body(s: _Section) -> None:
    """Skin, subcutaneous fat, a layered muscle wall and the fat of the cavity."""
    p = s.patient
    s.paint(s.body, 10 + 8 * s.tissue)
    s.paint(s.body + 1.8, p.fat + 7 * s.tissue + 5 * s.ripple)
    # Thin sheets of connective tissue in the fat are the zero set of a field.
    septa = np.abs(s.ripple + 0.5 * s.tissue) * 8 - 0.35
    s.paint(np.maximum(septa, s.body + 4), p.fat + 25)
    s.paint(s.inner, p.muscle + 7 * s.tissue)
    # Fat planes divide the wall into two or three sheets, here and there.
    layer = np.cos((s.inner / s.wall * 2.2 + 0.3 * s.bend + 0.15 * s.ripple) * np.float32(2 * np.pi))
    planes = np.maximum((0.8 - layer) * s.wall * np.float32(0.13), (0.1 - np.abs(s.bend + 0.6 * s.ripple)) * 12)
    s.paint(planes, p.fat + 45, np.maximum(s.inner + 3, -s.cavity + 1))
    marbling = np.abs(s.tissue + 0.8 * s.ripple) * 7 - 0.9
    s.paint(marbling, p.fat + 90, s.inner + 2)
    s.paint(s.cavity, p.fat + 6 * s.tissue + 4 * s.ripple)


def _diaphragm(s: _Section) -> FloatArray:
    """Signed height below the two domes, negative in the chest: z_dome(x, y) - z."""
    rng = s.rng(_Part.CHEST, 1)
    right, left = rng.uniform(55, 85), rng.uniform(45, 75)
    p = s.patient
    across = 1.6 * p.half_width / 2
    top = np.full(s.shape, -40.0, np.float32)
    for side, height in ((-1, right), (1, left)):
        bump = ((s.x - side * 0.42 * p.half_width) / across) ** 2 + ((s.y + 10) / p.half_depth) ** 2
        top = -smooth_union(-top, -(height - np.float32(95) * bump), 14.0)
    return top + 4 * s.bend - s.z


def _chest(s: _Section, dome: FloatArray) -> None:
    """Mediastinum, heart with chambers, lungs with vessel and bronchial trees."""
    p, rng = s.patient, s.rng(_Part.CHEST)
    heart_at = (rng.uniform(82, 100), rng.uniform(-38, -24), rng.uniform(18, 34))
    heart = s.ellipsoid(heart_at, (52.0, rng.uniform(42, 50), rng.uniform(52, 62)), 2.5)
    spread = rng.uniform(20, 30)
    middle = s.ellipsoid((150.0, -5.0, 0.0), (1e5, 1e4, spread), 4.0)
    column = ellipsoid_distance(s.z, s.y - s.spine_y, s.x, (0.0, 0.0, 0.0), (1e5, 32.0, 36.0))
    middle = smooth_union(smooth_union(middle, heart - 6, 16.0), column, 14.0)
    lungs = smooth_intersection(smooth_intersection(s.cavity + 1, -middle, 7.0), dome + 4, 5.0)
    if not s.near(-45, 400):
        return
    # Muscle of the diaphragm lines the domes.
    s.paint(np.abs(dome) - 1.8, p.muscle, s.cavity)
    parenchyma = rng.uniform(-880, -800) + 0.25 * s.y + 14 * s.tissue + 18 * s.grain + 15 * s.ripple
    s.paint(lungs, parenchyma)
    for side in (-1, 1):
        hilum = (135.0, 5.0, side * (spread + 4))
        for n in range(16):
            stream = s.rng(_Part.CHEST, 100 * (side + 2) + n)
            heading = stream.standard_normal(3) * np.array([0.9, 0.9, 0.3]) + np.array([-0.25, 0.15, 1.0 * side])
            tree = branching_tubes(stream, hilum, tuple(heading), stream.uniform(3.5, 6.0), 40.0, 6)
            s.paint(s.tubes(tree, 3.0), 0.6 * p.blood + 20, lungs)
        airway = branching_tubes(s.rng(_Part.CHEST, 90 + side), hilum, (-0.3, 0.2, side), 5.0, 36.0, 4)
        walls = s.tubes(airway, 3.0)
        s.paint(walls - 1.0, -150.0, lungs - 4)
        s.paint(walls + 0.6, -985.0)
    if rng.random() < 0.5:  # a nodule or a patch of consolidation
        at = (p.level_mm + rng.uniform(-30, 30), rng.uniform(-40, 50), rng.choice((-1, 1)) * rng.uniform(70, 105))
        size = rng.uniform(5, 16)
        s.paint(s.ellipsoid(at, (size, size * 0.9, size), 1.5), 35 + 10 * s.tissue, lungs)
    if rng.random() < 0.3:  # fluid settles behind the lung
        s.paint(-(s.y - np.float32(0.5 * p.half_depth)), rng.uniform(0, 18), np.maximum(lungs, -s.x))
    # Heart: fat, muscle, chambers.
    inside = np.maximum(heart, dome)
    s.paint(inside, p.muscle + 40 * p.enhancement + 5 * s.tissue)
    for offset, radii, value in (
        ((-4.0, 10.0, 26.0), (34.0, 19.0, 20.0), p.blood),
        ((-2.0, -22.0, -2.0), (36.0, 15.0, 27.0), 0.5 * (p.blood + p.venous)),
        ((8.0, -4.0, -34.0), (26.0, 24.0, 17.0), 0.5 * (p.blood + p.venous)),
        ((24.0, 28.0, -4.0), (20.0, 14.0, 28.0), p.blood),
    ):
        centre = tuple(h + o for h, o in zip(heart_at, offset, strict=True))
        s.paint(s.ellipsoid((centre[0], centre[1], centre[2]), radii, 1.5), value + 4 * s.tissue, inside + 4)
    # Trachea and main bronchi, oesophagus, great vessels.
    carina = 150.0
    s.paint(s.ellipsoid((carina + 180, 0.0, 2.0), (182.0, 9.0, 10.0)) - 1.5, 60.0)
    s.paint(s.ellipsoid((carina + 180, 0.0, 2.0), (182.0, 9.0, 10.0)), -990.0)
    bronchi = [
        spline_tube(
            np.array([[carina, 0, 2], [carina - 12, 4, side * 14], [carina - 22, 6, side * 34]]),
            np.array([7.0, 6.5, 5.5]),
            14,
        )
        for side in (-1.0, 1.0)
    ]
    airway = s.tubes(np.concatenate(bronchi))
    s.paint(airway - 1.5, 50.0)
    s.paint(airway, -990.0)
    gullet = ellipsoid_distance(s.z, s.y - s.spine_y, s.x, (150.0, -26.0, -2.0), (1e5, 7.0, 9.0)) + s.bend
    s.paint(gullet, 42.0, -dome)
    s.paint(gullet + 5.5, -850.0, dome)
    trunk = np.array([[135, -20, 0], [150, -14, -2], [148, 0, -30], [138, 4, -48]], float)
    s.paint(s.tubes(spline_tube(trunk, np.array([14.0, 13, 10, 7]), 24)), 0.5 * (p.blood + p.venous))
    trunk = trunk * np.array([1, 1, -1]) + np.array([6, 0, 4])
    s.paint(s.tubes(spline_tube(trunk, np.array([14.0, 13, 10, 7]), 24)), 0.5 * (p.blood + p.venous))
    ascending = np.array(
        [[110, -22, 4], [140, -34, -16], [180, -30, -14], [200, -5, 0], [185, 25, 18], [150, 34, 20]], float
    )
    s.paint(s.tubes(spline_tube(ascending, np.array([15.0, 16, 15, 13, 12.5, 12]), 50)), p.blood + 4 * s.tissue)
    cava = np.array([[100, -10, -34], [150, -16, -30], [200, -18, -28], [260, -10, -24]], float)
    s.paint(s.tubes(spline_tube(cava, np.array([11.0, 10, 9, 8]), 40)), p.venous)


def _fill(s: _Section, organ: FloatArray, rng: np.random.Generator, height_mm: FloatArray) -> None:
    """Contents of a hollow organ: liquid, food or contrast medium below a level, gas above it."""
    content = (rng.uniform(0, 25), rng.uniform(20, 45), rng.uniform(180, 350))[rng.choice(3, p=(0.45, 0.35, 0.2))]
    s.paint(organ, content + 10 * s.grain + 6 * s.tissue)
    if rng.random() < 0.75:
        s.paint(height_mm + rng.uniform(-2, 18), -985.0, organ)


def _bowel(s: _Section, abdomen: FloatArray) -> None:
    """Loops are Worley cells: wall along the border, a random content in each, some cells left as mesentery."""
    if not s.near(-250, 40):
        return
    p, rng = s.patient, s.rng(_Part.BOWEL)
    z, y, x = (
        axis + 9 * w
        for axis, w in zip((s.z, s.y, s.x), (s.tissue * 0.25, s.ripple, np.roll(s.ripple, 7, 2)), strict=True)
    )
    border, label, height = worley_cells(z, y, x, rng.uniform(34, 42), int(rng.integers(2**31)))
    region = smooth_intersection(abdomen + 5, s.z - rng.uniform(-15, 30), 10.0)
    region = smooth_intersection(region, s.y - np.float32(0.22 * p.half_depth), 8.0)
    loop = np.where(label < rng.uniform(0.6, 0.75), rng.uniform(1.5, 3.5) - border, FAR_MM)
    loop = np.maximum(loop, region)
    wall = rng.uniform(2.0, 3.2)
    s.paint(loop, 45 + 45 * p.enhancement + 6 * s.tissue)
    content = np.float32(10.0) + 40 * np.mod(label * 23, 1) + np.where(np.mod(label * 7, 1) < 0.2, np.float32(220.0), 0)
    s.paint(loop + wall, content + 8 * s.tissue)
    mottled = np.where(np.mod(label * 11, 1) < 0.25, loop + wall + 0.5, FAR_MM)
    s.paint(mottled, -150 + 160 * s.tissue)
    gas = np.where(np.mod(label * 17, 1) < 0.4, height + 14 * np.mod(label * 31, 1) - 4, FAR_MM)
    s.paint(gas, -985.0, loop + wall)
    mesentery = [
        branching_tubes(s.rng(_Part.BOWEL, 5 + n), (-40.0 - 40 * n, 5.0, 5.0), (-0.5, -1.0, n - 1.0), 4.0, 32.0, 5)
        for n in range(3)
    ]
    s.paint(s.tubes(np.concatenate(mesentery), 3.0), p.venous, np.maximum(region, wall - loop - 2 * wall))


def _solid_organs(s: _Section, abdomen: FloatArray) -> None:
    """Liver, spleen, stomach, pancreas, gallbladder, kidneys."""
    p = s.patient
    w, d = p.half_width, p.half_depth
    if s.near(-150, 130):
        rng = s.rng(_Part.STOMACH)
        at = (rng.uniform(0, 25), rng.uniform(-0.42, -0.25) * d, rng.uniform(0.28, 0.4) * w)
        fundus = s.ellipsoid((at[0] + 22, at[1] + 24, at[2] + 14), (32.0, 28.0, 30.0), 3.0)
        antrum = s.ellipsoid((at[0] - 24, at[1] - 2, at[2] - 34), (22.0, 18.0, 36.0), 3.0)
        stomach = smooth_union(smooth_union(fundus, s.ellipsoid(at, (38.0, 24.0, 26.0), 3.0), 15.0), antrum, 15.0)
        stomach = np.maximum(stomach, abdomen + 4)
        s.paint(stomach - 5, p.fat + 5 * s.tissue, abdomen)
        s.paint(stomach, 48 + 40 * p.enhancement + 5 * s.tissue)
        _fill(s, stomach + rng.uniform(3, 6) + 1.2 * s.ripple, rng, s.y - np.float32(at[1]))

        rng = s.rng(_Part.LIVER)
        value = rng.uniform(48, 64) + p.enhancement * rng.uniform(35, 55)
        bulk = s.ellipsoid((rng.uniform(0, 20), -5.0, -0.5 * w), (rng.uniform(95, 115), 0.85 * d, 0.68 * w), 4.0)
        left = s.ellipsoid((25.0, -0.45 * d, 0.0), (55.0, 0.33 * d, rng.uniform(0.35, 0.6) * w), 4.0)
        liver = smooth_union(bulk, left, 20.0)
        # A tilted plane makes the inferior visceral face; the organs behind it press into it.
        tilt = rng.uniform(0.3, 0.6)
        face = (-s.z - tilt * (s.x + 0.2 * w) * -1 - 70 + 0.4 * s.y) / np.float32(np.sqrt(1.16 + tilt**2))
        press = s.ellipsoid((-45.0, 0.4 * d, -64.0), (60.0, 32.0, 32.0))
        hilum = s.ellipsoid((0.0, 0.35 * d, 8.0), (90.0, 0.42 * d, 42.0), 5.0)
        for cut in (face, -press, -hilum):
            liver = smooth_intersection(liver, cut, 9.0)
        liver = smooth_intersection(liver, abdomen, 2.0)
        s.paint(liver, value + 4 * s.tissue + 4 * s.ripple)
        portal = [
            branching_tubes(
                s.rng(_Part.LIVER, 1 + n),
                (5.0 + 12 * n, 5.0, -28.0),
                (0.6 * n - 0.6, 0.5 - 0.5 * n, -1.0),
                6.5,
                36.0,
                6,
            )
            for n in range(4)
        ]
        s.paint(s.tubes(np.concatenate(portal), 3.0), value + 8 + 34 * p.enhancement, liver + 2)
        for _ in range(int(rng.integers(0, 6))):
            size = rng.uniform(3, 15)
            spot = (p.level_mm + rng.uniform(-25, 25), rng.uniform(-0.5, 0.5) * d, -rng.uniform(0.25, 0.85) * w)
            lesion = s.ellipsoid(spot, (size, size * rng.uniform(0.8, 1.2), size), 1.0)
            s.paint(lesion, (8.0, value - 35, value + 45)[int(rng.integers(3))] + 4 * s.tissue, liver + 2)
        gall = s.ellipsoid((-35.0, -0.25 * d, -0.36 * w), (26.0, 19.0, 14.0), 2.0)
        s.paint(gall, 50.0, abdomen + 2)
        s.paint(gall + 2, rng.uniform(2, 18) + 2 * s.tissue, abdomen + 2)

        spleen = s.ellipsoid((rng.uniform(10, 30), 0.28 * d, 0.66 * w), (rng.uniform(40, 58), 0.46 * d, 0.24 * w), 4.0)
        spleen = smooth_intersection(spleen, -s.ellipsoid((10.0, 0.05 * d, 0.36 * w), (60.0, 38.0, 32.0)), 8.0)
        spleen = smooth_intersection(spleen, abdomen + 2, 5.0)
        mottle = 25 * s.ripple if p.blood > 200 else 2 * s.ripple
        s.paint(spleen, rng.uniform(44, 54) + p.enhancement * rng.uniform(55, 80) + 4 * s.tissue + mottle)

        duct = np.array([[-45, 2, -48], [-28, -8, -20], [-18, -10, 14], [-5, 12, 50], [8, 30, 78]], float)
        duct[:, 1] += 0.02 * d
        duct += rng.normal(0, 5, duct.shape)
        pancreas = s.tubes(spline_tube(duct, np.array([15.0, 11, 9, 10, 7]), 40)) + 1.5 * s.ripple + 1.5 * s.tissue
        s.paint(pancreas, 40 + 50 * p.enhancement + 7 * s.tissue, abdomen + 2)
        splenic = duct + np.array([4, 9, 0])
        s.paint(s.tubes(spline_tube(splenic, np.full(5, 4.2), 60)), p.venous, abdomen + 2)
    for side in (-1, 1):
        rng = s.rng(_Part.KIDNEYS, side + 1)
        at = (
            rng.uniform(-62, -38) + 8 * side,
            float(s.spine_depth(np.array([-50.0]))[0]) + rng.uniform(4, 16),
            side * rng.uniform(60, 70),
        )
        if not s.near(at[0] - 65, at[0] + 65):
            continue
        kidney = s.ellipsoid(at, (rng.uniform(48, 58), rng.uniform(24, 28), rng.uniform(22, 27)), 1.5)
        sinus = s.ellipsoid((at[0], at[1] - 8, at[2] - side * 16), (26.0, 12.0, 16.0), 2.5)
        kidney = np.maximum(kidney, abdomen + 3)
        s.paint(kidney - 6, p.fat + 5 * s.tissue, abdomen)
        cortex, medulla = 32 + 135 * p.enhancement, 30 + 85 * p.enhancement
        s.paint(kidney, cortex + 4 * s.tissue)
        pyramids = np.maximum(kidney + 6, 3 * (0.1 - np.cos(s.z * 0.33 + 2 * s.ripple)))
        s.paint(pyramids, medulla + 4 * s.tissue)
        s.paint(sinus, p.fat + 15, kidney - 4)
        s.paint(sinus + 8, 8.0, kidney - 4)
        if rng.random() < 0.35:
            size = rng.uniform(5, 18)
            s.paint(
                s.ellipsoid((at[0] + rng.uniform(-30, 30), at[1] + 6, at[2] + side * 20), (size,) * 3), 6.0, abdomen
            )
        vein = np.array(
            [
                [at[0], at[1] - 8, at[2] - side * 12],
                [at[0] + 2, at[1] - 34, side * 30],
                [at[0] + 4, at[1] - 36, side * 8 - 4],
            ]
        )
        s.paint(s.tubes(spline_tube(vein, np.array([5.0, 5, 5]), 24)), p.venous)


def _great_vessels(s: _Section) -> None:
    """Descending aorta with plaque, inferior vena cava, and the iliac branches below the fork."""
    p, rng = s.patient, s.rng(_Part.VESSELS)
    bend = rng.normal(0, 3, (6, 2))
    levels = np.array([-140.0, -80.0, -20.0, 40.0, 100.0, 150.0])
    front = s.spine_depth(levels) - 27
    fork = float(front[0])
    aorta = np.column_stack(
        [
            levels,
            front - 4 + bend[:, 0] + np.array([0, 0, 0, 2, 10, 16]),
            10 + bend[:, 1] + np.array([-8, -4, 0, 2, 10, 16]),
        ]
    )
    cava = np.column_stack([levels, front - 6 - bend[:, 0] + np.array([2, 0, -4, -16, -20, -20]), -20 + bend[:, 1]])
    radius = rng.uniform(9.5, 13) * np.linspace(0.82, 1.08, 6)
    legs_a, legs_v = [], []
    for side in (-1.0, 1.0):
        path = np.array(
            [
                [-136, fork - 3, 2],
                [-165, fork + 4, side * 22],
                [-200, fork + 4, side * 46],
                [-240, -0.25 * p.half_depth, side * 68],
                [-320, -0.55 * p.half_depth, side * 80],
            ]
        )
        legs_a.append(spline_tube(path, np.array([8.0, 6.5, 5.5, 5, 5]), 50))
        legs_v.append(spline_tube(path + np.array([0, 10, -side * 6]), np.array([10.0, 8, 7, 6, 6]), 50))
    vein = s.tubes(np.concatenate([spline_tube(cava[:5], np.array([11.0, 11, 12, 13, 13]), 60), *legs_v]), 8.0)
    s.paint(vein, p.venous + 8 * s.ripple)
    artery = s.tubes(np.concatenate([spline_tube(aorta, radius, 70), *legs_a]), 8.0)
    s.paint(artery - 1.2, 45.0)
    s.paint(artery, p.blood + 4 * s.tissue)
    plaque = np.maximum(np.abs(artery) - 1.3, (rng.uniform(1.2, 2.6) - s.ripple - 0.3 * s.tissue) * 10)
    s.paint(plaque, 650.0)


def _spine(s: _Section) -> None:
    """Muscles beside the spine, then vertebrae (cortex, cancellous bone), discs, canal, arch and processes."""
    p, rng = s.patient, s.rng(_Part.SPINE)
    y = s.y - s.spine_y
    x = s.x
    low, high = (-190.0, 400.0)
    size = np.interp(s.z, (-180, 0, 200), (1.12, 1.0, 0.82)).astype(np.float32)
    for side in (-1, 1):
        band = ellipsoid_distance(s.z, y, x, (0.0, 40.0, side * 32.0), (1e5, 20.0, 29.0)) + 2.5 * s.ripple
        band = np.maximum(np.maximum(band, s.inner + 1), -195 - s.z)
        s.paint(band, p.muscle + 8 * s.tissue)
        s.paint(
            np.maximum(
                np.abs(ellipsoid_distance(s.z, y, x, (0.0, 40.0, side * 34.0), (1e5, 9.0, 27.0))) - 0.8, band + 2
            ),
            p.fat + 50,
        )
        if s.near(-300, 10):
            drop = np.clip((-s.z - 20) * 0.24, -8, 48)
            psoas = ellipsoid_distance(
                s.z, y + 0.5 * drop, x - side * (26 + 0.5 * drop), (-130.0, 4.0, side * 14.0), (150.0, 21.0, 16.0)
            )
            s.paint(psoas + 1.5 * s.ripple, p.muscle + 5 + 5 * s.tissue, s.cavity - 6)
    if not s.near(low, high):
        return
    local = np.mod(s.z + rng.uniform(0, VERTEBRA_MM), np.float32(VERTEBRA_MM)) - VERTEBRA_MM / 2
    waist = 1 - 0.10 * np.cos(local / 13 * np.float32(np.pi / 2))
    end = np.maximum(low - s.z, s.z - high)
    section = ellipsoid_distance(s.z, y / (waist * size), x / (waist * size), (0.0, 0.0, 0.0), (1e6, 17.5, 24.0))
    section = smooth_intersection(section, -ellipsoid_distance(s.z, y, x, (0.0, 24.0, 0.0), (1e6, 10.5, 13.0)), 3.0)
    disc = np.maximum(section + 1, end)
    s.paint(disc, 85 + 10 * s.tissue)
    vertebra = np.maximum(smooth_intersection(section, np.abs(local) - 12.5, 3.0), end)
    _bone(s, vertebra, rng.uniform(1.2, 2.0))
    # Arch: a ring round the canal, open to the discs' level only behind; processes are ellipsoids in local height.
    ring = np.abs(ellipsoid_distance(s.z, y, x, (0.0, 25.0, 0.0), (1e6, 12.0, 14.5))) - 3.0
    arch = np.maximum(np.maximum(ring, np.abs(local + 2) - 10.5), 14.0 - y)
    spinous = ellipsoid_distance(local, y, x, (-4.0, 46.0, 0.0), (9.5, 15.0, 3.8))
    arch = smooth_union(arch, spinous, 4.0)
    for side in (-1, 1):
        wing = ellipsoid_distance(local, y - 0.25 * np.abs(x), x, (1.0, 17.0, side * 28.0), (6.5, 5.0, 14.0))
        facet = ellipsoid_distance(local, y, x, (12.0, 29.0, side * 16.0), (11.0, 6.0, 6.5))
        arch = smooth_union(arch, smooth_union(wing, facet, 4.0), 4.0)
    canal = ellipsoid_distance(s.z, y, x, (0.0, 24.5, 0.0), (1e6, 9.5, 11.5))
    s.paint(np.maximum(canal, end), p.fat + 20)
    s.paint(np.maximum(canal + 2.5, end), 22.0)
    s.paint(np.maximum(canal + 5, end), 38.0)
    _bone(s, np.maximum(np.maximum(arch + 0.6 * s.ripple, -canal), end), 1.8)


def _bone(s: _Section, bone: FloatArray, cortex_mm: float) -> None:
    """Cortex over cancellous bone whose trabeculae are band-passed noise."""
    density = s.patient.cancellous
    s.paint(bone, 2.2 * density + 420 + 90 * s.tissue)
    s.paint(bone + cortex_mm + 0.35 * s.ripple, density + 0.35 * density * s.grain + 25 * s.tissue)


def _ribs(s: _Section) -> None:
    """Twelve pairs swept along the wall from the spine, falling forward, ending in cartilage at the sternum."""
    if not s.near(-110, 330):
        return
    p, rng = s.patient, s.rng(_Part.RIBS)
    drop, depth = rng.uniform(100, 140), rng.uniform(0.55, 0.72)
    bone, cartilage = [], []
    for k in range(12):
        start = 8 + (k + 0.35) * 27.0
        reach = (1.5, 1.95)[k] if k < 2 else 2.75
        for side in (-1.0, 1.0):
            angle = np.linspace(0.18, reach, 60)
            z = start - drop * (1 - np.cos(angle)) / 2 - 8 * np.sin(angle)
            path = s.on_wall(z, side * angle, depth)
            pull = np.clip((0.5 - angle) / 0.32, 0, 1)[:, None]
            root = np.array([start, float(s.spine_depth(np.array([start]))[0]) + 14, side * 30.0])
            path = path * (1 - pull) + root * pull
            split = int(np.searchsorted(angle, 2.25))
            for shift in (-3.2, 0.0, 3.2):  # three strands side by side make the flat section of a rib
                strand = path + np.array([shift, 0, 0])
                tube = np.column_stack([strand[:-1], strand[1:], np.full((59, 2), 4.0)])
                bone.append(tube[:split])
                cartilage.append(tube[split:])
    s.paint(s.tubes(np.concatenate(cartilage), 4.0) + 0.5, 95 + 20 * s.tissue)
    ribs = s.tubes(np.concatenate(bone), 4.0)
    s.paint(ribs, 640 + 2 * p.cancellous + 100 * s.tissue)
    s.paint(ribs + 1.7, 0.8 * p.cancellous + 40 * s.grain)
    if s.near(60, 240):
        z = np.linspace(70, 225, 30)
        plate = [s.on_wall(z, np.full(30, np.pi + a), depth) for a in (-0.11, -0.055, 0.0, 0.055, 0.11)]
        segments = [np.column_stack([q[:-1], q[1:], np.full((29, 2), 6.0)]) for q in plate]
        _bone(s, s.tubes(np.concatenate(segments)), 1.5)
    if s.near(130, 300):  # shoulder blades lie outside the ribs
        blades = []
        for side in (-1.0, 1.0):
            z = np.linspace(140, 290, 30)
            for a in np.linspace(0.75, 1.2, 20):
                q = s.on_wall(z, np.full(30, side * a), 0.05)
                blades.append(np.column_stack([q[:-1], q[1:], np.full((29, 2), 3.4)]))
        _bone(s, s.tubes(np.concatenate(blades)), 1.4)


def _pelvis(s: _Section) -> None:
    """Bladder, rectum, sacrum, iliac wings, hip joints with femoral heads."""
    if not s.near(-360, -120):
        return
    p, rng = s.patient, s.rng(_Part.PELVIS)
    d = p.half_depth
    for side in (-1, 1):
        inner = s.ellipsoid((-215.0, 0.08 * d, side * 92.0), (55.0, 34.0, 20.0), 3.0)
        s.paint(inner, p.muscle + 6 * s.tissue)
    bladder = s.ellipsoid(
        (rng.uniform(-262, -240), -0.32 * d, 0.0), (rng.uniform(22, 38), rng.uniform(22, 32), rng.uniform(30, 46)), 3.0
    )
    s.paint(bladder - 10, p.fat + 5 * s.tissue)
    s.paint(bladder, 40.0 + 3 * s.tissue)
    s.paint(bladder + 3.5, rng.uniform(0, 14))
    organ = s.ellipsoid((-262.0, 0.08 * d, 0.0), (30.0, 19.0, 28.0), 3.0)
    s.paint(organ, 50 + 40 * p.enhancement + 8 * s.ripple + 4 * s.tissue)
    rectum = s.ellipsoid((-250.0, 0.38 * d, 3.0), (60.0, 19.0, 21.0), 3.0)
    s.paint(rectum - 5, p.fat + 5 * s.tissue)
    s.paint(rectum, 48.0 + 4 * s.tissue)
    s.paint(rectum + 4, -120 + 150 * s.tissue)
    s.paint(s.y - np.float32(0.36 * d), -980.0, rectum + 4.5)
    bend = s.y - s.spine_y - 22 + (s.z + 225) ** 2 * np.float32(0.007) + s.x**2 * np.float32(0.008)
    sacrum = smooth_intersection(
        np.abs(bend) - (15 + (s.z + 200) * np.float32(0.1)), np.abs(s.x) - (40 + (s.z + 200) * np.float32(0.35)), 10.0
    )
    sacrum = np.maximum(np.maximum(sacrum, -270 - s.z), s.z + 176)
    holes = np.hypot(np.abs(s.x) - 21, np.mod(s.z, 26) - 13) - 4.5
    _bone(s, smooth_intersection(sacrum + 1.5 * s.ripple, -holes, 3.0), 1.8)
    for side in (-1, 1):
        x = s.x * side
        # The wing is a thin sheet that runs from the sacrum outwards and forwards.
        sheet = (
            s.y
            - 0.42 * d
            + np.float32(0.9) * (x - 50)
            - np.float32(0.007) * (x - 78) ** 2
            + np.float32(0.22) * (s.z + 200)
        )
        sheet = sheet * np.float32(0.7)
        thick = 6.5 + 2 * s.ripple + np.clip((60 - x) * 0.15, 0, 5)
        wing = smooth_intersection(
            np.abs(sheet) - thick, s.ellipsoid((-200.0, 0.08 * d, side * 88.0), (66.0, 62.0, 50.0)), 7.0
        )
        socket = np.abs(s.ellipsoid((-272.0, -2.0, side * 92.0), (31.0, 30.0, 30.0))) - 4.5
        socket = np.maximum(socket, x - 104)
        _bone(s, smooth_union(wing, socket, 8.0), 2.0)
        pubis = spline_tube(
            np.array([[-272, -10, side * 66], [-282, -0.40 * d, side * 40], [-292, -0.48 * d, side * 8.0]]),
            np.array([10.0, 8, 9]),
            20,
        )
        _bone(s, s.tubes(pubis), 1.8)
        head = s.ellipsoid((-272.0, -2.0, side * 93.0), (24.0, 24.0, 24.0))
        neck = spline_tube(
            np.array([[-275, -2, side * 95], [-288, 4, side * 118], [-310, 8, side * 130]]),
            np.array([17.0, 15, 17]),
            16,
        )
        _bone(s, smooth_union(head, s.tubes(neck, 10.0), 6.0), 2.0)


def scoring_ct(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    """Generate one CT of a random patient, for scoring.

    The patient is a function of position in mm (life size, 28 to 36 cm wide), so the same seed on a finer grid of the
    same extent shows the same patient. A field larger than the body shows it whole, on its table; a smaller field
    shows a random crop of it. Rows run from front to back and columns from the patient's right to left, as in an
    axial DICOM image.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels.
    voxel_mm : (z, y, x)
        Voxel size in mm.
    seed : int
        Non-negative; the volume depends on nothing else.

    Returns
    -------
    Volume
        float32 HU from -1024 to 3071 on ``AffineGrid.patient(shape, voxel_mm)``, free of noise and artefacts.

    Raises
    ------
    InputError
        If the seed is negative.
    """
    if seed < 0:
        raise InputError(f"A seed is zero or a positive integer, got {seed}.")
    grid = AffineGrid.centred(shape, voxel_mm)
    section = _Section(grid, _draw_patient(np.random.default_rng((seed, int(_Part.PATIENT)))), seed)
    _table(section)
    _body(section)
    dome = _diaphragm(section)
    abdomen = np.maximum(section.cavity, -dome)
    _bowel(section, abdomen)
    _solid_organs(section, abdomen)
    _chest(section, dome)
    _pelvis(section)
    _great_vessels(section)
    _spine(section)
    _ribs(section)
    np.clip(section.hu, -1024, 3071, out=section.hu)
    return Volume(
        section.hu, AffineGrid.patient(shape, voxel_mm), units="HU", tags={"generator": "scoring_ct", "seed": str(seed)}
    )
