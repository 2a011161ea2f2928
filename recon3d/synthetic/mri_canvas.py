"""A canvas for drawn MRI: positions in mm, random fields, and separate water and fat signals under one phase."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recon3d.synthetic.implicit import FloatArray, FourierField, Points, ellipsoid_distance, tube_distance

Point = tuple[float, float, float]


class Canvas:
    """An image that is painted surface by surface: water and fat apart, since a scanner sees them at another phase.

    Everything is a function of position in mm and of the seed, so a finer grid shows the same object more finely.

    Parameters
    ----------
    shape, voxel_mm : (z, y, x), in the order of the image's axes
    centre_mm : position of the middle of the image in the coordinates of the object
    seed : of everything random
    signals : tissue -> (water, fat), signal relative to the brightest tissue
    """

    def __init__(
        self, shape: tuple[int, int, int], voxel_mm: Point, centre_mm: Point, seed: int, signals: Mapping[str, Points]
    ) -> None:
        self.shape, self.voxel_mm, self.seed, self.signals = shape, voxel_mm, seed, signals
        z, y, x = (c + (np.arange(n) - (n - 1) / 2) * v for c, n, v in zip(centre_mm, shape, voxel_mm, strict=True))
        self.axes = (z, y, x)
        grids = np.meshgrid(*(axis.astype(np.float32) for axis in self.axes), indexing="ij", sparse=True)
        self.z, self.y, self.x = grids
        self.blur_mm = np.float32(max(voxel_mm[1:]))
        self.water: FloatArray = np.zeros(shape, np.float32)
        self.fat: FloatArray = np.zeros(shape, np.float32)

    def rng(self, part: int) -> np.random.Generator:
        """The random stream of one part, so that no part depends on what was drawn for another."""
        return np.random.default_rng((self.seed, part))

    def field(self, part: int, wavelengths_mm: tuple[float, float], waves: int = 48) -> FloatArray:
        """Smooth noise of unit variance in a band of wavelengths."""
        return FourierField.random(self.rng(part), wavelengths_mm, waves).on_axes(self.axes, self.voxel_mm)

    def warp(self, part: int, size_mm: float, wavelengths_mm: tuple[float, float]) -> None:
        """Deform everything drawn from here on; sizes far below the wavelengths fold nothing."""
        shifts = [np.float32(size_mm) * self.field(part + i, wavelengths_mm) for i in range(3)]
        self.z, self.y, self.x = (a + s for a, s in zip((self.z, self.y, self.x), shifts, strict=True))

    def ellipsoid(self, centre: Point, radii: Point) -> FloatArray:
        return ellipsoid_distance(self.z, self.y, self.x, centre, radii)

    def tubes(self, segments: Points, reach_mm: float = 8.0) -> FloatArray:
        """Distance to swept tubes; they keep their place when the canvas is warped."""
        origin = np.array([axis[0] for axis in self.axes])
        return tube_distance(self.shape, origin, self.voxel_mm, segments, max(reach_mm, 2 * float(self.blur_mm)))

    def distance_of(self, level: FloatArray) -> FloatArray:
        """About the distance in mm to where a field crosses zero: the field over its own slope."""
        square = np.zeros(self.shape, np.float32)
        for axis, step in enumerate(self.voxel_mm):
            if self.shape[axis] > 1:
                square += np.gradient(level, np.float32(step), axis=axis) ** 2
        return level / np.sqrt(square + np.float32(1e-4))

    def paint(
        self, distance: FloatArray, tissue: str, mottle: FloatArray | float = 0.0, where: FloatArray | None = None
    ) -> None:
        """Lay a tissue over the inside of a surface (distance < 0), with partial volume on voxels that it cuts.

        `mottle` is the relative departure from the tissue's mean signal, voxel by voxel.
        """
        if where is not None:
            distance = np.maximum(distance, where)
        cover = np.clip(0.5 - distance / self.blur_mm, 0, 1)
        water, fat = self.signals[tissue]
        self.water += cover * (np.float32(water) * (1 + mottle) - self.water)
        self.fat += cover * (np.float32(fat) * (1 + mottle) - self.fat)

    def finished(self, phase_rad: FloatArray, fat_phase_rad: float) -> NDArray[np.complex64]:
        """Water and fat together, each with its phase."""
        both = np.maximum(self.water, 0) + np.maximum(self.fat, 0) * np.complex64(np.exp(1j * fat_phase_rad))
        image: NDArray[np.complex64] = (both * np.exp(1j * phase_rad)).astype(np.complex64)
        return image
