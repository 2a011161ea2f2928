"""Random CT of a second patient style, for scoring only: implicit surfaces, random fields and Worley tissue.

It shares no code, parameter or construction with the training generator: one torso is written as signed distances in
patient coordinates (mm), deformed by a smooth random warp, and a random axial window of it is sampled. Never train or
tune on it.
"""

from __future__ import annotations

import numpy as np

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.synthetic.scoring_torso.abdomen import bowel, great_vessels, solid_organs
from recon3d.synthetic.scoring_torso.chest import chest, diaphragm
from recon3d.synthetic.scoring_torso.section import Part, Section, draw_patient
from recon3d.synthetic.scoring_torso.skeleton import pelvis, ribs, spine
from recon3d.volume import Volume


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
    section = Section(grid, draw_patient(np.random.default_rng((seed, int(Part.PATIENT)))), seed)
    _table(section)
    _body(section)
    dome = diaphragm(section)
    abdomen = np.maximum(section.cavity, -dome)
    bowel(section, abdomen)
    solid_organs(section, abdomen)
    chest(section, dome)
    pelvis(section)
    great_vessels(section)
    spine(section)
    ribs(section)
    np.clip(section.hu, -1024, 3071, out=section.hu)
    return Volume(
        section.hu, AffineGrid.patient(shape, voxel_mm), units="HU", tags={"generator": "scoring_ct", "seed": str(seed)}
    )


def _table(s: Section) -> None:
    """Two thin curved shells with foam between them, and the forearms of patients scanned with arms down."""
    rng, p = s.rng(Part.TABLE), s.patient
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


def _body(s: Section) -> None:
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
