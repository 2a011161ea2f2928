"""The head: scalp, skull with its three layers, brain with ventricles and sulci, sinuses, orbits, jaw and teeth."""

# ruff: noqa: RUF005 (adding a list to an array is vector addition here)

from __future__ import annotations

import numpy as np

from .shapes import NOT_AIR, Scene, Tissue, only, rotation
from .skeleton import BoneStock, bone_ellipsoid, bone_tube

_ALL = NOT_AIR | 1
_BRAIN = only(Tissue.BRAIN, Tissue.FLUID)


def add_head(scene: Scene, base_mm: np.ndarray, stock: BoneStock, rng: np.random.Generator) -> None:
    """Add a head whose skull base lies near `base_mm` (x, y, z), face towards negative y.

    Bodies of the brain carry little contrast (grey 38, white 28, fluid 5 HU), so the spread drawn here is wide.
    """
    x0, y0, z0 = base_mm
    wide, deep, tall = rng.uniform(64, 76), rng.uniform(82, 98), rng.uniform(66, 78)
    centre = np.array([x0, y0 - 14, z0 + 62])
    skull = np.array([wide, deep, tall])
    power = rng.uniform(2.1, 2.6)
    scalp = rng.uniform(4, 9)
    face = centre + [0, -46, -62]

    def at(x: float, y: float, z: float) -> np.ndarray:
        return np.asarray(face + [x, y, z])

    # Soft face and scalp first, bone and air into them.
    skin, fat, muscle = rng.uniform(0, 35), rng.uniform(-110, -80), rng.uniform(40, 65)
    for grow, hu, tissue in ((0.0, skin, Tissue.SKIN), (-1.8, fat, Tissue.FAT)):
        scene.ellipsoid(centre, skull + scalp + grow, hu, tissue, power=power, over=_ALL)
        scene.ellipsoid(face + [0, 4, -12], np.array([62, 54, 66]) + grow, hu, tissue, power=2.6, over=_ALL)
        scene.tube(np.array([at(0, -46, 14), at(0, -55, -6)]), np.array([6, 10]) + grow, hu, tissue, over=_ALL)
        for side in (-1.0, 1.0):
            scene.ellipsoid(
                centre + [side * (wide + 9), 8, -48],
                np.array([7, 20, 30]) + grow * 0.6,
                hu,
                tissue,
                over=_ALL,
                turn=rotation((0.2, 0, side * 0.4)),
            )
    scene.tube(
        np.array([[x0, y0, z0 - 5], [x0, y0 - 4, z0 + 18]]), np.array([50, 46]), muscle, Tissue.MUSCLE, bump=(1, 3.0)
    )
    for side in (-1.0, 1.0):
        scene.ellipsoid(at(side * 50, 18, -18), (9, 19, 34), muscle, Tissue.MUSCLE, bump=(1, 1.0))
        scene.ellipsoid(at(side * 36, 24, -20), (10, 14, 26), muscle, Tissue.MUSCLE, bump=(1, 1.0))
    scene.ellipsoid(at(0, 0, -42), (26, 34, 20), muscle, Tissue.MUSCLE, bump=(1, 1.5))
    for _ in range(14):  # planes of fat between the muscles of neck and face
        spot = at(rng.normal(0, 28), rng.uniform(-20, 95), rng.uniform(-80, 10))
        leaf = (rng.uniform(8, 22), rng.uniform(0.8, 2.2), rng.uniform(15, 35))
        scene.ellipsoid(
            spot,
            leaf,
            fat,
            Tissue.FAT,
            turn=rotation((*rng.normal(0, 0.2, 2), rng.uniform(0, np.pi))),
            over=only(Tissue.MUSCLE),
            bump=(1, 3.0),
        )
    scene.ellipsoid(centre, skull + 1.5, muscle, Tissue.MUSCLE, power=power)

    # Vault: outer table, diploe, inner table; then fluid, brain.
    thick = rng.uniform(4.5, 9.0)
    scene.ellipsoid(centre, skull, stock.cortex_hu * 1.15, Tissue.CORTEX, power=power, bump=(0, 0.6))
    scene.ellipsoid(
        centre, skull - thick * 0.3, stock.marrow_hu + rng.uniform(150, 450), Tissue.MARROW, power=power, bump=(0, 0.6)
    )
    scene.ellipsoid(centre, skull - thick * 0.68, stock.cortex_hu * 1.15, Tissue.CORTEX, power=power, bump=(0, 0.6))
    inner = skull - thick
    white, grey, fluid = rng.uniform(24, 33), rng.uniform(34, 44), rng.uniform(0, 12)
    scene.ellipsoid(centre, inner, fluid, Tissue.FLUID, power=power, bump=(0, 0.6))
    shrink = rng.uniform(1.5, 6.0)
    for side in (-1.0, 1.0):
        half = centre + [side * inner[0] * 0.46, 0, 3]
        radii = np.array([inner[0] * 0.56, inner[1], inner[2] - 3]) - shrink
        scene.ellipsoid(half, radii, grey, Tissue.BRAIN, power=2.4, over=only(Tissue.FLUID), bump=(1, 1.2))
        scene.ellipsoid(half, radii - 4.0, white, Tissue.BRAIN, power=2.4, over=_BRAIN, bump=(2, 4.5))
    scene.ellipsoid(
        centre + [0, 36, -44],
        (46, 30, 24),
        grey - 2,
        Tissue.BRAIN,
        over=only(Tissue.FLUID, Tissue.BRAIN),
        bump=(1, 1.5),
    )
    scene.tube(
        np.array([centre + [0, 12, -20], centre + [0, 20, -62], [x0, y0 + 14, z0 - 20]]),
        np.array([17, 13, 6]),
        white + 2,
        Tissue.BRAIN,
        over=_BRAIN,
    )
    swell = rng.uniform(0.6, 2.0)
    for side in (-1.0, 1.0):
        for offset, nucleus in (((12, -14, 12), (10, 10, 9)), ((24, 8, -12), (9, 9, 7)), ((12, -5, 18), (9, 17, 9))):
            scene.ellipsoid(
                centre + [side * offset[0], offset[1] - 6, offset[2] - 8],
                nucleus,
                grey,
                Tissue.BRAIN,
                over=_BRAIN,
                bump=(2, 1.0),
            )
        horn = np.array(
            [
                centre + [side * 7, -32, 6],
                centre + [side * 9, -6, 17],
                centre + [side * 17, 24, 8],
                centre + [side * 23, 40, 2],
            ]
        )
        scene.tube(horn, np.array([4.5, 5, 6.5, 3.5]) * swell, fluid, Tissue.FLUID, over=only(Tissue.BRAIN))
        scene.tube(
            np.array([horn[2], centre + [side * 30, 10, -18]]),
            3.0 * swell,
            fluid,
            Tissue.FLUID,
            over=only(Tissue.BRAIN),
        )
        if rng.random() < 0.5:
            scene.ellipsoid(horn[2] + [0, 3, 0], (3, 4, 3), rng.uniform(100, 500), Tissue.SOFT, over=only(Tissue.FLUID))
    scene.ellipsoid(centre + [0, 0, -2], (2.2 * swell, 12, 8), fluid, Tissue.FLUID, over=only(Tissue.BRAIN))
    scene.box(
        centre + [0, 0, 30],
        (0.8, inner[1], inner[2] - 28),
        rng.uniform(45, 80),
        Tissue.BRAIN,
        over=_BRAIN,
        bump=(2, 0.8),
    )
    for _ in range(rng.integers(0, 5) if rng.random() < 0.5 else 0):
        spot = centre + [rng.normal(0, 1), rng.uniform(-70, 50), rng.uniform(20, 60)]
        scene.ellipsoid(spot, rng.uniform(1, 5, 3), rng.uniform(150, 800), Tissue.CORTEX, over=_BRAIN)
    if rng.random() < 0.5:
        spot = centre + rng.uniform(-1, 1, 3) * inner * 0.6
        scene.ellipsoid(
            spot,
            rng.uniform(4, 26, 3),
            rng.choice([rng.uniform(55, 85), rng.uniform(8, 26)]),
            Tissue.BRAIN,
            over=_BRAIN,
            bump=(1, 4.0),
        )
    if rng.random() < 0.15:  # extra-axial bleeding
        shift = np.array([rng.choice([-1, 1]) * inner[0] * 0.18, 0, 0])
        scene.ellipsoid(centre, inner, rng.uniform(20, 80), Tissue.FLUID, power=power, over=only(Tissue.FLUID))
        scene.ellipsoid(
            centre + shift, inner - 6, grey, Tissue.BRAIN, power=power, over=only(Tissue.FLUID), bump=(1, 1.0)
        )

    # Skull base: floor, petrous bones with air cells, clivus, sphenoid.
    for side in (-1.0, 1.0):
        petrous = np.array([centre + [side * (wide - 12), 18, -52], centre + [side * 18, -4, -50]])
        scene.tube(petrous, np.array([13, 9.0]), stock.cortex_hu * 1.3, Tissue.CORTEX, bump=(2, 2.0))
        mastoid = centre + [side * (wide - 10), 28, -62]
        scene.ellipsoid(mastoid, (13, 17, 22), stock.cortex_hu, Tissue.CORTEX, bump=(2, 1.5))
        cells = rng.integers(10, 40)
        spots = mastoid + rng.normal(0, 1, (cells, 3)) * [4.5, 6.5, 8]
        size = rng.uniform(1.2, 3.6, cells)
        scene.segments(
            spots, spots + rng.normal(0, 2, (cells, 3)), size, size, -850.0, Tissue.GAS, over=only(Tissue.CORTEX)
        )
        canal = np.array([centre + [side * (wide + 12), 10, -54], centre + [side * (wide - 18), 8, -52]])
        scene.tube(canal, 3.6, -950.0, Tissue.GAS)
        bone_tube(
            scene,
            np.array(
                [centre + [side * (wide - 6), -30, -20], centre + [side * 34, -50, -34], centre + [side * 10, -30, -36]]
            ),
            4.0,
            stock,
            1.4,
        )
        bone_tube(
            scene,
            np.array([at(side * 46, -12, 4), at(side * 62, 16, 0), centre + [side * (wide - 4), 6, -50]]),
            np.array([6, 3.6, 4.0]),
            stock,
            1.5,
        )
    bone_tube(scene, np.array([centre + [0, -22, -40], centre + [0, 8, -66]]), np.array([13, 8.0]), stock, 1.6)
    scene.ellipsoid(centre + [0, -32, -46], (15, 12, 11), stock.cortex_hu, Tissue.CORTEX)
    scene.ellipsoid(centre + [0, -32, -46], (13.2, 10.2, 9.2), -990.0 if rng.random() < 0.85 else 20.0, Tissue.GAS)

    # Orbits, nose and paranasal sinuses.
    scene.ellipsoid(
        at(0, -20, 8), (38, 24, 34), stock.cortex_hu * 0.8, Tissue.CORTEX, power=3.0, bump=(1, 1.0), opacity=0.6
    )
    ill = rng.random() < 0.25
    for side in (-1.0, 1.0):
        orbit = at(side * 32, -22, 32)
        scene.ellipsoid(orbit, (20.5, 27, 19.5), stock.cortex_hu, Tissue.CORTEX)
        scene.ellipsoid(orbit + [0, -6, 0], (19, 29, 18), -85.0, Tissue.FAT)
        eye = orbit + [0, -11, 0]
        scene.ellipsoid(eye, (12.4, 12.4, 12.4), 55.0, Tissue.SOFT)
        scene.ellipsoid(eye, (11, 11, 11), 8.0, Tissue.FLUID)
        scene.ellipsoid(eye + [0, -7, 0], (4.6, 2.2, 4.6), rng.uniform(60, 120), Tissue.SOFT)
        for dx, dz in ((8, 0), (-8, 0), (0, 8), (0, -8)):
            scene.tube(
                np.array([eye + [dx, 4, dz], at(side * 16, 14, 30)]),
                np.array([2.2, 1.4]),
                50.0,
                Tissue.MUSCLE,
                over=only(Tissue.FAT),
            )
        scene.tube(np.array([eye + [0, 11, 0], at(side * 14, 16, 32)]), 2.2, 35.0, Tissue.SOFT, over=only(Tissue.FAT))
        antrum = np.array([16, 18, 19]) * rng.uniform(0.8, 1.1)
        scene.ellipsoid(at(side * 29, -14, -2), antrum + 1.6, stock.cortex_hu, Tissue.CORTEX, bump=(1, 1.0))
        scene.ellipsoid(at(side * 29, -14, -2), antrum, -1000.0, Tissue.GAS, bump=(1, 1.0))
        if ill:
            scene.ellipsoid(
                at(side * 29, -14, -2),
                antrum,
                rng.uniform(10, 40),
                Tissue.FLUID,
                bump=(1, 1.0),
                over=only(Tissue.GAS),
                below=((0, -1, 0), float(-at(0, -14 + rng.uniform(-8, 10), 0)[1])),
            )
    scene.ellipsoid(at(0, -22, 10), (13, 30, 22), -990.0, Tissue.GAS, power=3.0)
    scene.tube(np.array([at(0, -52, -10), at(0, -20, -6)]), 6.0, -990.0, Tissue.GAS)
    for x in np.linspace(-11, 11, 7):
        scene.box(
            at(float(x), -20, 28),
            (0.7, 20, 9),
            stock.cortex_hu * 0.7,
            Tissue.CORTEX,
            over=only(Tissue.GAS, Tissue.CORTEX),
            turn=rotation(rng.normal(0, 0.05, 3)),
        )
    scene.box(at(rng.normal(0, 1), -24, 6), (1.2, 26, 24), 350.0, Tissue.CORTEX, over=only(Tissue.GAS), bump=(1, 1.5))
    for side in (-1.0, 1.0):
        for up in (-4.0, 6.0):
            scene.tube(
                np.array([at(side * 7, -40, up), at(side * 7, -8, up)]),
                3.2,
                60.0,
                Tissue.SOFT,
                over=only(Tissue.GAS),
                bump=(2, 1.0),
            )
    for side in (-1.0, 1.0):
        lobe = centre + [side * rng.uniform(8, 16), -deep + 7, -16]
        scene.ellipsoid(
            lobe,
            np.array([13, 6, 13]) + 2.0,
            stock.cortex_hu * 1.1,
            Tissue.CORTEX,
            bump=(1, 1.0),
            over=only(Tissue.CORTEX, Tissue.MARROW, Tissue.FAT, Tissue.MUSCLE, Tissue.SKIN),
        )
        scene.ellipsoid(
            lobe,
            np.array([13, 6, 13]) * rng.uniform(0.4, 1),
            -990.0,
            Tissue.GAS,
            bump=(1, 1.0),
            over=only(Tissue.CORTEX, Tissue.MARROW),
        )

    # Pharynx, palate, jaws and teeth.
    scene.tube(
        np.array([at(0, 14, -2), at(0, 18, -40), at(0, 22, -80)]),
        np.array([9, 6, 9]),
        -990.0,
        Tissue.GAS,
        bump=(1, 2.0),
    )
    if rng.random() < 0.4:
        scene.tube(
            np.array([at(-18, -22, -26), at(18, -22, -26)]), rng.uniform(2, 5), -990.0, Tissue.GAS, bump=(1, 2.5)
        )
    scene.box(at(0, -22, -16), (20, 22, 1.8), stock.cortex_hu, Tissue.CORTEX, rounding_mm=1.5, over=NOT_AIR)
    angles = np.linspace(-1.25, 1.25, 17)
    arch = np.stack([24 * np.sin(angles) * 1.15, -10 - 36 * np.cos(angles), np.zeros(17)], axis=1)
    bone_tube(scene, at(0, 0, -18) + arch, 5.5, stock, 1.2)
    jaw = at(0, 0, -50) + arch * [1.12, 1.0, 1]
    bone_tube(scene, jaw, np.full(17, 7.0), stock, 2.2)
    for side in (-1.0, 1.0):
        ramus = np.array([jaw[0 if side < 0 else -1], at(side * 44, 14, -42), at(side * 47, 22, -4)])
        bone_tube(scene, ramus, np.array([7, 5.5, 5.0]), stock, 1.8)
    crown = rng.uniform(1800, 2700)
    for n in range(1, 16):
        if rng.random() < 0.12:
            continue
        filled = rng.random() < 0.06
        for base, away in ((at(0, 0, -28) + arch[n], 1.0), (at(0, 0, -38) + arch[n] * [1.06, 0.98, 1], -1.0)):
            size = np.array([2.9, 3.4, 5.5]) * rng.uniform(0.9, 1.15)
            scene.tube(
                np.array([base, base + [0, 0, away * 13]]), np.array([3.0, 1.4]), rng.uniform(1000, 1500), Tissue.CORTEX
            )
            scene.ellipsoid(
                base - [0, 0, away],
                size,
                3000.0 if filled else crown,
                Tissue.METAL if filled else Tissue.CORTEX,
                power=3.0,
            )
    bone_ellipsoid(scene, at(0, 4, -76), [11, 4, 3], stock, 1.2)
