"""Beam hardening: line integrals of a polychromatic beam made linear in thickness by a polynomial, and its fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recon3d.errors import InputError


def correct_hardening(data: NDArray[Any], coefficients: Sequence[float]) -> NDArray[np.float32]:
    """c1 y + c2 y^2 + c3 y^3 ...; air stays 0.

    G. T. Herman, Correction for beam hardening in computed tomography, Phys. Med. Biol. 24, 81 (1979).

    Parameters
    ----------
    data : line integrals, any shape
    coefficients : (c1, c2, ...), e.g. from a step wedge; (1,) changes nothing

    Raises
    ------
    InputError
        Where the polynomial falls within the range of the data, so that thicker would become thinner.
    """
    if not len(coefficients) or not np.isfinite(coefficients).all():
        raise InputError(f"A beam hardening polynomial needs finite coefficients (c1, c2, ...), got {coefficients}.")
    polynomial = np.polynomial.Polynomial([0.0, *coefficients])
    highest = float(data.max())
    slope = polynomial.deriv()(np.linspace(0.0, max(highest, 0.0), 101))
    if not (slope > 0).all():
        raise InputError(
            f"The beam hardening polynomial {tuple(coefficients)} falls below line integrals of {highest:.3g}: thicker "
            "would become thinner; fit it over that range."
        )
    # Slightly negative line integrals are noise around air, where the polynomial is its tangent.
    return np.where(data < 0, coefficients[0] * data, polynomial(data)).astype(np.float32)


def fit_hardening(data: ArrayLike, thickness_mm: ArrayLike, degree: int = 3) -> tuple[float, ...]:
    """Coefficients (c1, c2, ...) that make the line integrals of one material proportional to its thickness.

    c1 is 1: thin material keeps its line integrals, so that the image has the attenuation of the unhardened beam.

    Parameters
    ----------
    data : line integrals through a step wedge, or through a body of known shape, any shape
    thickness_mm : of the material along each of the rays
    degree : of the polynomial

    Raises
    ------
    InputError
        For fewer rays through the material than coefficients.
    """
    y, thickness = (np.asarray(a, dtype=np.float64).ravel() for a in (data, thickness_mm))
    if y.size != thickness.size:
        raise InputError(f"Every line integral needs a thickness, got {y.size} and {thickness.size}.")
    crossed = (thickness > 0) & (y > 0)
    powers = y[crossed, None] ** np.arange(1, degree + 1)
    if np.linalg.matrix_rank(powers) < degree:
        raise InputError(f"A polynomial of degree {degree} needs as many thicknesses of the material, and more.")
    coefficients = np.linalg.lstsq(powers, thickness[crossed], rcond=None)[0]
    if not coefficients[0] > 0:
        raise InputError("The fitted polynomial falls for thin material: give rays through less, or a lower degree.")
    return tuple(float(c) for c in coefficients / coefficients[0])
