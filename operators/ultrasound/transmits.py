"""Transmits: when the wave of each transmit passes a point, and how much of it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from operators.errors import GeometryError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transmits:
    """Waves by their focus: one rule for plane, diverging, focused, single-element and full-matrix transmits.

    Time is 0 when the wave passes the origin of its transmit (for a plane wave: its plane).

    Parameters
    ----------
    focus_mm : (transmit,), distance of the focus from the origin along the direction: inf for plane waves, negative for
        virtual sources behind the array, 0 for a source at the origin itself, positive for a focus in the body
    directions : (transmit, 3), unit vectors
    origins_mm : (transmit, 3)
    widths_mm : (transmit,), width of the active aperture; of focused waves it sets how wide the beam is, of sources at
        the origin (elements, focus 0) how directive they are; infinite where it is not known
    """

    focus_mm: Floats
    directions: Floats
    origins_mm: Floats
    widths_mm: Floats

    def __post_init__(self) -> None:
        n = np.shape(self.focus_mm)
        shapes = {"directions": (*n, 3), "origins_mm": (*n, 3), "widths_mm": n}
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise GeometryError(
                    f"{len(self)} transmits need {name} of shape {shape}, got {np.shape(getattr(self, name))}."
                )
        if np.isnan(self.focus_mm).any() or not np.isfinite([*self.directions.flat, *self.origins_mm.flat]).all():
            raise GeometryError("Foci, directions and origins of transmits are numbers, got NaN or infinite ones.")
        if np.abs(np.linalg.norm(self.directions, axis=1) - 1).max() > 1e-6:
            raise GeometryError("Directions of transmits are vectors of length 1.")

    def __len__(self) -> int:
        return len(self.focus_mm)

    @classmethod
    def steered(
        cls,
        focus_mm: float | Floats,
        polar_rad: float | Floats,
        azimuth_rad: float | Floats = 0.0,
        origins_mm: Floats | None = None,
        widths_mm: float | Floats = np.inf,
    ) -> Transmits:
        """Transmits by focus and angles: polar from z, azimuth from x towards y; negative polar angles steer to -x."""
        focus, polar, azimuth = np.broadcast_arrays(np.atleast_1d(focus_mm), polar_rad, azimuth_rad)
        directions = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)
        origins = np.zeros((len(focus), 3)) if origins_mm is None else np.asarray(origins_mm, dtype=float)
        widths = np.broadcast_to(np.asarray(widths_mm, dtype=float), focus.shape)
        return cls(focus.astype(float), directions, np.broadcast_to(origins, (len(focus), 3)), widths)

    @classmethod
    def plane(cls, angles_rad: float | Floats) -> Transmits:
        """Plane waves in the plane of x and z."""
        return cls.steered(np.full(np.shape(np.atleast_1d(angles_rad)), np.inf), angles_rad)

    @classmethod
    def elements(cls, positions_mm: Floats, width_mm: float = np.inf) -> Transmits:
        """One transmit of each of these elements (all of them: full matrix capture), directive by their width."""
        return cls.steered(np.zeros(len(positions_mm)), 0.0, origins_mm=positions_mm, widths_mm=width_mm)

    def times_s(self, points_mm: Floats, slowness_s_mm: Floats, wavelength_mm: float) -> Floats:
        """When each wave passes each point, (transmit, point).

        Near a focus the spherical fronts before and behind it are joined as those of a Gaussian beam are (Siegman,
        Lasers, chapter 17): ``z sqrt(1 + rho^2 / (z^2 + z_R^2))`` from the focus, with its Rayleigh range z_R.

        Parameters
        ----------
        points_mm : (point, 3)
        slowness_s_mm : (point,), from `mean_slowness`
        wavelength_mm : of the centre frequency
        """
        return np.stack([self._path_mm(k, points_mm, wavelength_mm) * slowness_s_mm for k in range(len(self))])

    def _path_mm(self, k: int, points_mm: Floats, wavelength_mm: float) -> Floats:
        from_origin = points_mm - self.origins_mm[k]
        focus = self.focus_mm[k]
        if not np.isfinite(focus):
            return from_origin @ self.directions[k]
        from_focus = from_origin - focus * self.directions[k]
        distance = np.linalg.norm(from_focus, axis=1)
        if focus <= 0:
            return distance + focus
        along = from_focus @ self.directions[k]
        across2 = np.maximum(distance**2 - along**2, 0.0)
        rayleigh = self._rayleigh_mm(k, wavelength_mm)
        return cast(Floats, focus + along * np.sqrt(1 + across2 / (along**2 + rayleigh**2 + 1e-12)))

    def _rayleigh_mm(self, k: int, wavelength_mm: float) -> float:
        """4 lambda F#^2 / pi: of a beam whose width at the aperture (1/e of the amplitude) is that of the aperture."""
        f_number = self.focus_mm[k] / self.widths_mm[k]
        return float(4 / np.pi * wavelength_mm * f_number**2)

    def weights(self, points_mm: Floats, wavelength_mm: float) -> Floats:
        """How much of each wave a point gets, (transmit, point): 1 of plane and diverging waves, else its beam.

        The cosine-shaped beam of a focused wave is as wide as the aperture at the probe, narrows to the diffraction
        limit 1.2 lambda F# at the focus and widens again. An element sends in the main lobe of its width along x. A
        wave whose aperture is unknown (infinite) reaches every point.
        """
        weights = np.ones((len(self), len(points_mm)))
        for k in np.flatnonzero(np.isfinite(self.focus_mm) & (self.focus_mm >= 0) & np.isfinite(self.widths_mm)):
            from_focus = points_mm - self.origins_mm[k] - self.focus_mm[k] * self.directions[k]
            if self.focus_mm[k] == 0:
                sine = np.abs(from_focus[:, 0]) / np.maximum(np.linalg.norm(from_focus, axis=1), 1e-6)
                turns = self.widths_mm[k] / wavelength_mm * sine
                weights[k] = np.where(turns < 1, np.sinc(turns), 0.0)
                continue
            along = from_focus @ self.directions[k]
            across = np.linalg.norm(from_focus - along[:, None] * self.directions[k], axis=1)
            f_number = self.focus_mm[k] / self.widths_mm[k]
            half = np.hypot(0.5 * np.abs(along) / f_number, 1.2 * wavelength_mm * f_number)
            weights[k] = np.where(across < half, np.cos(0.5 * np.pi * np.minimum(across / half, 1.0)), 0.0)
        return weights
