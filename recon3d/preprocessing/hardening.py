"""Beam hardening: line integrals of a polychromatic beam made linear in thickness by a polynomial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
