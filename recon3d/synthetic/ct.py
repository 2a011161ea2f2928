"""Random anatomical CT volumes in HU, drawn from analytic anatomy: training data and test objects without a patient."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from recon3d.errors import ConfigError, GeometryError
from recon3d.grid import AffineGrid
from recon3d.synthetic.anatomy.abdomen import add_abdomen, add_pelvic_organs
from recon3d.synthetic.anatomy.chest import add_breasts, add_chest
from recon3d.synthetic.anatomy.contrast import draw_contrast
from recon3d.synthetic.anatomy.fields import grain, smooth_field
from recon3d.synthetic.anatomy.head import add_head
from recon3d.synthetic.anatomy.limbs import add_joint, add_limb
from recon3d.synthetic.anatomy.objects import add_cables, add_implant, add_table, add_test_object
from recon3d.synthetic.anatomy.shapes import Canvas, Scene, Tissue, only, rotation
from recon3d.synthetic.anatomy.skeleton import add_pelvis, add_ribs, add_spine, draw_bone_stock
from recon3d.synthetic.anatomy.torso import draw_torso, paint_torso
from recon3d.volume import Volume

AIR_HU = -1000.0
MIN_HU, MAX_HU = -1024.0, 3071.0

_SHARES = {"abdomen": 0.27, "thorax": 0.2, "pelvis": 0.13, "head": 0.1, "limb": 0.06, "phantom": 0.1, "zoom": 0.14}
FAMILIES: tuple[str, ...] = tuple(_SHARES)
"""Kinds of content, which a training may hold out: body regions, test objects, and frames well inside a body region."""

# Where the frame looks in the body: lowest and highest z of its centre in mm.
_LEVELS_MM = {"pelvis": (10.0, 190.0), "abdomen": (200.0, 420.0), "thorax": (430.0, 640.0), "head": (725.0, 868.0)}


@dataclass(frozen=True)
class Frame:
    """Where the grid lies in the body: body = to_body @ grid_mm + origin; and what is drawn there."""

    region: str
    to_body: np.ndarray
    origin_mm: np.ndarray
    extent_mm: np.ndarray  # (x, y, z) of the frame in body mm


def anatomical_ct(
    shape: tuple[int, int, int], voxel_mm: float | tuple[float, float, float], seed: int, *, family: str | None = None
) -> Volume:
    """Draw one random CT volume.

    Anatomy is drawn in mm, so `shape` times `voxel_mm` is the field of view; a field smaller than the body cuts it.

    Parameters
    ----------
    shape : voxels (z, y, x)
    voxel_mm : edge of a voxel, one length or (z, y, x); meant for 0.4 to 6 mm
    seed : the same seed gives the same volume; with half the voxels of twice the size it gives the same anatomy
    family : one of `FAMILIES`, or None for a random one. "zoom" magnifies anatomy (up to four times) and looks at a
        part of it, so its features are not to scale.

    Returns
    -------
    Volume in HU, float32, from -1024 to 3071, axes (z, y, x), on `AffineGrid.patient(shape, voxel_mm)`.

    Raises
    ------
    ConfigError
        If `family` is not known.
    GeometryError
        If the shape or voxel size is not positive.
    """
    check_request("CT", shape, family, FAMILIES)
    grid = AffineGrid.centred(shape, voxel_mm)
    anatomy, surfaces, scanner = (np.random.default_rng([seed, part]) for part in range(3))
    if family is None:
        family = str(anatomy.choice(FAMILIES, p=list(_SHARES.values())))
    frame = _draw_frame(grid, family, anatomy)
    canvas, still = blank_canvas(grid, frame, surfaces)
    if frame.region == "phantom":
        _draw_phantom(canvas, frame, anatomy)
    elif frame.region == "limb":
        draw_limbs(canvas, frame, anatomy)
    else:
        draw_body(canvas, frame, anatomy)
    _draw_surroundings(still, canvas, frame, anatomy)
    _add_texture(canvas, frame.region == "phantom", surfaces)
    data = _scan(canvas, family, scanner)
    return Volume(
        data,
        AffineGrid.patient(shape, voxel_mm),
        "HU",
        tags={"modality": "CT", "source": "drawn", "family": family, "seed": seed},
    )


def check_request(what: str, shape: tuple[int, ...], family: str | None, families: tuple[str, ...]) -> None:
    """Raise unless a volume of this shape and one of the families, or any, can be drawn; `what` is in the messages."""
    if family is not None and family not in families:
        raise ConfigError(f"The family of a drawn {what} must be one of {', '.join(families)}, got {family!r}.")
    if len(shape) != 3 or min(shape) < 1:
        raise GeometryError(f"A drawn {what} needs three positive sizes (z, y, x), got {shape}.")


def _draw_frame(grid: AffineGrid, family: str, rng: np.random.Generator) -> Frame:
    """Choose region, size of the body, orientation and place of the frame."""
    field_mm = np.array(grid.shape[::-1]) * np.array(grid.voxel_mm[::-1])
    region = family
    if family == "zoom":
        region = str(rng.choice(["abdomen", "thorax", "pelvis", "head", "limb"], p=[0.34, 0.24, 0.2, 0.14, 0.08]))
    size = rng.uniform(0.85, 1.2) if rng.random() < 0.88 else rng.uniform(0.5, 0.85)
    in_plane = float(min(field_mm[0], field_mm[1]))
    if family == "zoom":
        size = float(np.clip(in_plane / rng.uniform(70, 230), 0.7, 4.0))
    turn = rotation((*rng.normal(0, 0.12, 2), rng.normal(0, 0.12)))
    kind = rng.random()
    if kind < 0.12:
        turn = rotation((0, 0, rng.uniform(0, 2 * np.pi))) @ turn
    elif kind < 0.2:
        turn = rotation(rng.uniform(0, 2 * np.pi, 3))
    mirror = np.diag([rng.choice([-1.0, 1.0]), rng.choice([-1.0, 1.0]), rng.choice([-1.0, 1.0])])
    to_body = turn @ mirror / size
    extent = np.abs(to_body) @ field_mm
    if region == "phantom":
        origin = rng.normal(0, 0.06, 3) * extent * [1, 1, 3]
        if rng.random() < 0.25:
            origin += rng.uniform(-0.5, 0.5, 3) * extent
        return Frame(region, turn @ mirror, origin, field_mm)
    if region == "limb":
        origin = rng.normal(0, 12, 3)
    else:
        origin = np.array([0.0, 0.0, rng.uniform(*_LEVELS_MM[region])])
        origin[:2] += rng.normal(0, 12, 2)
    half_body = np.array([60.0, 80.0] if region == "head" else [60.0, 60.0] if region == "limb" else [120.0, 70.0])
    free = np.maximum(half_body - 0.3 * extent[:2], 0.0)
    if region == "head":
        origin[1] -= 25.0
    if family == "zoom" or extent[:2].min() < 250:
        origin[:2] += rng.uniform(-1, 1, 2) * np.minimum(free + 15, half_body)
    elif rng.random() < 0.35:
        origin[:2] += rng.uniform(-1, 1, 2) * half_body
    return Frame(region, to_body, origin, extent)


def blank_canvas(grid: AffineGrid, frame: Frame, rng: np.random.Generator) -> tuple[Canvas, Canvas]:
    """Return an empty canvas whose body is bent by a smooth warp, and one without the warp, for what does not bend."""
    shape, voxel = (int(n) for n in grid.shape), grid.voxel_mm
    nz, ny, nx = shape
    axes = [
        (np.arange(n) - (n - 1) / 2).astype(np.float32) * np.float32(step)
        for n, step in zip((nz, ny, nx), voxel, strict=True)
    ]
    place = np.empty((3, nz, ny, nx), dtype=np.float32)
    for row in range(3):
        x, y, z = (float(v) for v in frame.to_body[row])
        place[row] = (z * axes[0])[:, None, None]
        place[row] += (y * axes[1])[:, None] + (x * axes[2] + np.float32(frame.origin_mm[row]))
    size = 1.0 / float(np.linalg.norm(frame.to_body[:, 0]))
    strength = rng.uniform(0.4, 1.3)
    warp = np.zeros_like(place)
    for length_mm, height_mm in ((110.0, 9.0), (38.0, 2.4)):
        for row in range(3):
            warp[row] += np.float32(strength * height_mm) * smooth_field((nz, ny, nx), voxel, length_mm * size, rng)
    bumps = np.stack([smooth_field((nz, ny, nx), voxel, length * size, rng) for length in (36.0, 14.0, 6.0)])
    hu = np.full((nz, ny, nx), AIR_HU, dtype=np.float32)
    tissue = np.zeros((nz, ny, nx), dtype=np.uint8)
    still = Canvas(hu, tissue, place, bumps, frame.to_body, frame.origin_mm, np.zeros_like(warp), voxel)
    return Canvas(hu, tissue, place + warp, bumps, frame.to_body, frame.origin_mm, warp, voxel), still


def draw_body(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """A torso with its organs, contrast medium and what doctors left in it."""
    torso, stock, contrast = draw_torso(rng), draw_bone_stock(rng), draw_contrast(rng)
    reach = frame.extent_mm[2] / 2 + 30
    low, high = frame.origin_mm[2] - reach, frame.origin_mm[2] + reach
    outside = Scene()
    if rng.random() < 0.4 and high > 420:
        add_breasts(outside, torso, rng)
    if rng.random() < 0.4 and low < 560:  # arms beside the body
        for side in (-1.0, 1.0):
            away = float(torso.row("half_width", 350.0) + torso.row("fat", 350.0)) + rng.uniform(38, 60)
            elbow = np.array([side * away, rng.uniform(-10, 60), 300 + rng.normal(0, 20)])
            thick = rng.uniform(34, 48)
            shoulder = np.array([side * float(torso.row("half_width", 610.0)), 5.0, 600.0])
            add_limb(outside, shoulder, elbow, thick, stock, contrast.vein_hu, rng)
            add_limb(
                outside,
                elbow,
                elbow + [-side * rng.uniform(0, 30), -rng.uniform(0, 80), -230],
                thick * 0.85,
                stock,
                contrast.vein_hu,
                rng,
            )
    outside.paint(canvas)
    lung = float(rng.uniform(-900, -720))
    gap_mm = rng.uniform(4, 25) if rng.random() < 0.4 else -1.0
    levels = {
        "skin": rng.uniform(-20, 50),
        "fat": rng.uniform(-116, -92),
        "muscle": rng.uniform(35, 68),
        "visceral": rng.uniform(-112, -80),
    }
    paint_torso(
        canvas,
        torso,
        {
            **levels,
            "lung": lung,
            "effusion": rng.uniform(2, 25),
            "blanket": rng.uniform(-985, -800),
            "blanket_gap_mm": gap_mm,
        },
    )
    scene = Scene()
    if low < 480 and high > -10:
        add_abdomen(scene, torso, contrast, rng)
    if low < 200:
        add_pelvic_organs(scene, torso, contrast, rng)
    if high > 380:
        add_chest(scene, torso, contrast, rng)
    head = high > 680
    if head:
        base = torso.spine(752.0) + [0, -10, 0]
        add_head(scene, base, stock, rng)
    levels_z = add_spine(scene, torso, stock, rng)
    if high > 330 and low < 680:
        add_ribs(scene, torso, stock, levels_z, rng)
    if low < 260:
        add_pelvis(scene, torso, stock, rng)
    if rng.random() < 0.12:
        for _ in range(rng.integers(1, 4)):
            at = frame.origin_mm + rng.uniform(-0.3, 0.3, 3) * frame.extent_mm
            if rng.random() < 0.6:
                at = torso.spine(at[2]) + [rng.choice([-1, 1]) * 14, 10, 0]
            add_implant(scene, at, rng)
    scene.paint(canvas)
    if rng.random() < 0.05:  # a test body: real or printed bone in air, water or resin
        cast = only(
            Tissue.SKIN,
            Tissue.FAT,
            Tissue.MUSCLE,
            Tissue.CAVITY,
            Tissue.SOFT,
            Tissue.BRAIN,
            Tissue.FLUID,
            Tissue.BLOOD,
            Tissue.CONTENT,
        )
        filled = (cast >> canvas.tissue.astype(np.int64)) & 1 == 1
        canvas.hu[filled] = rng.choice([AIR_HU, 0.0, rng.uniform(-80, 120)])
        canvas.tissue[filled] = Tissue.DEVICE


def draw_limbs(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """One, two or four arms or legs, straight or with a joint."""
    scene = Scene()
    stock = draw_bone_stock(rng)
    vessel = draw_contrast(rng).artery_hu
    count = int(rng.choice([1, 2, 4], p=[0.5, 0.42, 0.08]))
    thick = rng.uniform(30, 95) if count < 3 else rng.uniform(25, 45)
    tilt = rng.normal(0, 0.12, 2)
    axis = np.array([tilt[0], tilt[1], 1.0])
    for n in range(count):
        shift = np.array([(n - (count - 1) / 2) * thick * rng.uniform(2.2, 2.7), rng.normal(0, 8), rng.normal(0, 10)])
        joint = shift + axis * rng.uniform(-150, 150)
        long = rng.uniform(280, 420)
        for away in (-1.0, 1.0):
            bend = axis + [0, rng.uniform(0, 0.3), 0]
            add_limb(
                scene,
                joint,
                joint + away * bend * long,
                thick * (1.0 if away > 0 else rng.uniform(0.75, 0.95)),
                stock,
                vessel,
                rng,
            )
        add_joint(scene, joint, thick * 0.95, axis, stock, rng)
        if rng.random() < 0.15:
            add_implant(scene, shift + rng.normal(0, 10, 3), rng)
    scene.paint(canvas)


def _draw_phantom(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    scene = Scene()
    extent = frame.extent_mm * rng.uniform(0.55, 1.25)
    add_test_object(scene, (float(extent[0]), float(extent[1]), float(extent[2])), rng)
    if rng.random() < 0.15:
        add_implant(scene, rng.uniform(-0.25, 0.25, 3) * extent, rng)
    rigid = Canvas(
        canvas.hu,
        canvas.tissue,
        canvas.body_mm - np.float32(rng.choice([1.0, 0.5])) * canvas.warp_mm,
        canvas.bumps,
        canvas.to_body,
        canvas.origin_mm,
        np.zeros_like(canvas.warp_mm),
        canvas.voxel_mm,
    )
    scene.paint(rigid)


def _draw_surroundings(still: Canvas, canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Lay the object on a table, and leads on the object."""
    body = np.argwhere(canvas.tissue[:: max(canvas.tissue.shape[0] // 8, 1), ::4, ::4] > 0)
    scene = Scene()
    if len(body) and rng.random() < 0.75:
        step = max(canvas.tissue.shape[0] // 8, 1)
        depth = still.body_mm[1][::step, ::4, ::4][tuple(body.T)]
        side = still.body_mm[0][::step, ::4, ::4][tuple(body.T)]
        table = Scene()
        back = float(np.percentile(depth, 99.5))
        add_table(table, back + rng.uniform(-4, 14), rng)
        shifted = still.body_mm.copy()
        shifted[0] -= np.float32(np.median(side) + rng.normal(0, 12))
        at_table = Canvas(
            still.hu, still.tissue, shifted, still.bumps, still.to_body, still.origin_mm, still.warp_mm, still.voxel_mm
        )
        table.paint(at_table)
        if rng.random() < 0.35:
            middle = np.array([np.median(side), np.median(depth), frame.origin_mm[2]])
            spread = float(np.percentile(side, 97) - np.percentile(side, 3)) / 2 + 12
            add_cables(scene, middle, spread, rng)
    scene.paint(still)


# Deviation in HU of texture with a length of about 2.5, 7 and 30 mm, for each tissue.
_TEXTURE_HU = {
    Tissue.FAT: (5, 7, 4),
    Tissue.MUSCLE: (7, 6, 4),
    Tissue.CAVITY: (9, 14, 6),
    Tissue.LUNG: (28, 20, 25),
    Tissue.SOFT: (3, 4, 4),
    Tissue.CORTEX: (50, 80, 60),
    Tissue.MARROW: (55, 45, 25),
    Tissue.BLOOD: (2, 3, 5),
    Tissue.CONTENT: (8, 12, 8),
    Tissue.GAS: (2, 3, 2),
    Tissue.BRAIN: (1.5, 1.5, 1.5),
    Tissue.FLUID: (1, 2, 2),
    Tissue.SKIN: (5, 10, 10),
    Tissue.METAL: (20, 50, 50),
    Tissue.DEVICE: (3, 3, 4),
}


def _add_texture(canvas: Canvas, plain: bool, rng: np.random.Generator) -> None:
    """Add correlated texture whose strength depends on the tissue."""
    shape = (canvas.hu.shape[0], canvas.hu.shape[1], canvas.hu.shape[2])
    size = 1.0 / float(np.linalg.norm(canvas.to_body[:, 0]))
    scale = rng.lognormal(0.0, 0.35, len(Tissue)) * rng.lognormal(-0.1, 0.4)
    if plain:
        scale = scale * rng.choice([0.0, 0.3, 1.0])
    coarsest = max(canvas.voxel_mm) / size
    for index, length_mm in enumerate((2.5, 7.0, 30.0)):
        height = np.zeros(len(Tissue), dtype=np.float32)
        for tissue, heights in _TEXTURE_HU.items():
            # A voxel longer than the texture averages over it.
            height[tissue] = heights[index] * scale[tissue] * min(1.0, (length_mm / coarsest) ** 0.75)
        canvas.hu[...] += height[canvas.tissue] * smooth_field(shape, canvas.voxel_mm, length_mm * size, rng)


def _scan(canvas: Canvas, family: str, rng: np.random.Generator) -> np.ndarray:
    """See the drawing as a scanner does: blur and overshoot of the kernel, noise, the round field of view, padding."""
    step = np.array(canvas.voxel_mm)
    nz, ny, nx = canvas.hu.shape
    in_plane_mm = rng.uniform(0.35, 1.0)
    sharp = rng.uniform(0.1, 0.62)
    blur = np.sqrt((in_plane_mm / step) ** 2 + sharp**2)
    blur[0] = np.sqrt((rng.uniform(0.3, 1.3) / step[0]) ** 2 + rng.uniform(0, 0.5) ** 2)
    data = gaussian_filter(canvas.hu, np.minimum(blur, 3.0), mode="nearest", truncate=3.0)
    if rng.random() < 0.3:
        wide = gaussian_filter(data, (0, 1.1 + blur[1], 1.1 + blur[2]), mode="nearest", truncate=2.5)
        data += np.float32(rng.uniform(0.1, 0.7)) * (data - wide)
    deviation = float(np.clip(rng.lognormal(1.7, 0.6), 0.5, 35.0))
    if rng.random() < 0.08:
        deviation = 0.0
    width = rng.uniform(0.25, 0.9)
    # Photons starved along the wide side of a body leave streaks.
    streak = rng.uniform(1.5, 4.0) if rng.random() < 0.2 else 1.0
    # Finer voxels catch fewer photons.
    deviation *= float(np.clip((2.5 / step[1:].mean()) ** 0.4, 0.8, 1.7))
    noise = grain((nz, ny, nx), (rng.uniform(0, 0.6), width, width * streak), rng)
    data += np.float32(deviation) * noise
    outside = float(rng.choice([-1000.0, -1024.0], p=[0.6, 0.4]))
    y = (np.arange(ny) - (ny - 1) / 2)[:, None] * step[1]
    x = (np.arange(nx) - (nx - 1) / 2)[None, :] * step[2]
    if family != "zoom" and rng.random() < 0.3:
        radius = 0.5 * min(ny * step[1], nx * step[2]) * rng.uniform(0.9, 1.12)
        data[:, x * x + y * y > radius * radius] = outside
    if rng.random() < 0.15:  # a cropped scan in a larger frame
        keep = np.zeros((ny, nx), dtype=bool)
        top, bottom = (int(v * ny) for v in rng.uniform(0, 0.22, 2))
        left, right = (int(v * nx) for v in rng.uniform(0, 0.22, 2))
        keep[top : ny - bottom, left : nx - right] = True
        data[:, ~keep] = outside
    return np.clip(data, MIN_HU, MAX_HU).astype(np.float32, copy=False)
