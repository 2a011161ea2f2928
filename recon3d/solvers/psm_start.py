"""Where partially separable reconstructions start: time functions, and basis images, from the data alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from operators.mri import CartesianSeries
from operators.series import Series, ViewSeries
from operators.space import Space
from operators.tomography import Projector, RayTransform, TomographyGeometry, filtered_backprojection
from recon3d.solvers.cg import cgls
from recon3d.solvers.partially_separable import Factors

__all__ = [
    "cosine_start",
    "factors_from",
    "factors_from_windows",
    "navigator_functions",
    "prosep_series",
    "window_image",
    "window_series",
]

CG_STEPS = 12
"""Of an image from a window of frames; few, because they regularise."""
OVERLAP = 8
"""Windows that see a frame: with more, neighbours only repeat each other."""


def window_image(A: Series, y: Any, centre: int, width: int, steps: int = CG_STEPS) -> Tensor:
    """The image that explains the `width` frames about frame `centre` (fewer at the ends of the series).

    Parallel and fan views are backprojected after filtering; anything else is fitted by `steps` steps of CGLS.
    """
    start = min(max(0, centre - (width - 1) // 2), max(0, A.frames - width))
    operator, data = A.window(start, min(A.frames, start + width), y)
    if isinstance(operator, RayTransform) and operator.geometry.kind != "cone":
        return filtered_backprojection(operator, data, filter="hann")
    return cgls(operator, data, max_steps=steps).x


def window_series(A: Series, y: Any, width: int, every: int = 1) -> Tensor:
    """`window_image` about each `every`-th frame, (t, ...)."""
    return torch.stack([window_image(A, y, centre, width) for centre in range(0, A.frames, every)])


def factors_from_windows(A: Series, y: Any, width: int, interpolator: Tensor, rank: int) -> Factors:
    """Factors of `window_series`, of as many windows as matter: the work and the memory do not grow with P^2 and P."""
    every = max(1, min(width // OVERLAP, A.frames // (2 * interpolator.shape[1])))
    found = factors_from(window_series(A, y, width, every), interpolator[::every], rank)
    return replace(found, interpolator=interpolator).orthonormal()


def factors_from(series: Tensor, interpolator: Tensor, rank: int, psi: Tensor | None = None) -> Factors:
    """Factors of the best fit of that rank to a series, its time functions as near as the interpolator allows.

    Parameters
    ----------
    series : (t, ...)
    interpolator : U, (t, knot)
    rank : number of basis images
    psi : time functions (t, k) in order of importance, where they are known better than from `series`
    """
    flat = series.flatten(1)
    if psi is None:
        psi = _right_vectors(flat)
    fitted = cast(Tensor, torch.linalg.lstsq(interpolator.to(psi.dtype), psi[:, :rank]).solution)
    factors = Factors(series.new_zeros((rank, *series.shape[1:])), fitted, interpolator)
    fit = torch.linalg.pinv(interpolator.to(psi.dtype) @ fitted).to(series.dtype)
    basis = (fit @ flat).reshape(factors.basis.shape)
    return Factors(basis, fitted, interpolator).orthonormal()


def _right_vectors(flat: Tensor) -> Tensor:
    """Time functions of a series (t, values) by falling singular value; real, in double precision."""
    gram = torch.zeros(len(flat), len(flat), dtype=torch.float64, device=flat.device)
    for part in flat.split(1 << 14, dim=1):
        wide = part.to(torch.complex128 if part.is_complex() else torch.float64)
        gram += (wide @ wide.mH).real
    return torch.linalg.eigh(gram)[1].flip(1)


def cosine_start(frame: Space, interpolator: Tensor, rank: int, image: Tensor) -> Factors:
    """Slow cosines in time and the image of all frames as the first basis image: knows nothing of the motion."""
    P = len(interpolator)
    t = (torch.arange(P, dtype=torch.float64, device=image.device) + 0.5) / P
    psi = torch.cos(math.pi * t[:, None] * torch.arange(rank, device=image.device))
    return factors_from(image.to(frame.dtype).expand(P, *image.shape), interpolator, rank, psi)


def navigator_functions(A: CartesianSeries, y: Tensor, rank: int) -> Tensor:
    """Time functions (t, rank) of the samples that every frame measured, the middle of k-space (Liang 2007)."""
    always = (A.mask > 0).all(0)
    if not bool(always.any()):
        raise ValueError("No sample of k-space was measured in every frame, so there is no navigator.")
    seen = (y * always).flatten(1)
    return _right_vectors(seen[:, seen.abs().sum(0) > 0])[:, :rank]


def prosep_series(
    A: ViewSeries, y: Tensor, interpolator: Tensor, rank: int, *, views: int = 64, epochs: int = 10, rate: float = 1e-2
) -> Tensor:
    """A series whose projections at all angles follow from those measured ("ProSep", Iskender et al., IVMSP 2022).

    Each detector bin is a harmonic series in the angle with the same few time functions, fitted together with their
    opposite rays by variable projection: the best coefficients for given functions are a least-squares solution, and
    Adam moves the functions. The sinogram of every instant is then backprojected.

    Parameters
    ----------
    A, y : parallel views over half a turn, one or more per frame, and their data (view, row, column), on the CPU
    rank : number of time functions
    views : angles at which projections are completed
    epochs, rate : of Adam
    """
    geometry = cast(RayTransform, A.still).geometry
    angles = torch.from_numpy(np.arctan2(geometry.ray_source[:, 1], geometry.ray_source[:, 0]))
    frame_of_view = A._frame_of_view.cpu()
    data = y.to(torch.float64).flatten(1)
    opposite = y.to(torch.float64).flip(-1).flatten(1)  # the rays of angle + pi, for an axis in the middle
    measured = torch.cat([data, opposite])
    P = len(interpolator)
    harmonics = max(1, min((2 * len(angles) - 1) // (2 * rank), geometry.n_columns) // 2 - 1)
    q = torch.arange(-harmonics, harmonics + 1, dtype=torch.float64)
    turned = torch.cat([angles, angles + math.pi])
    waves = torch.polar(torch.ones(1, dtype=torch.float64), turned[:, None] * q)
    frame = torch.cat([frame_of_view, frame_of_view])
    Z = torch.linalg.lstsq(
        interpolator, torch.cos(math.pi * torch.linspace(0, 1, P)[:, None] * torch.arange(rank)).double()
    )
    Z = Z.solution.requires_grad_()
    adam = torch.optim.Adam([Z], lr=rate)

    def design(psi: Tensor) -> Tensor:
        return (waves[:, :, None] * psi[frame][:, None, :]).flatten(1)

    def coefficients(M: Tensor) -> Tensor:
        normal = M.mH @ M
        ridge = 1e-6 * float(normal.detach().diagonal().real.mean())
        return torch.linalg.solve(normal + ridge * torch.eye(len(normal)), M.mH @ measured.to(M.dtype))

    with torch.enable_grad():
        for _ in range(epochs):
            adam.zero_grad()
            M = design(torch.linalg.qr(interpolator @ Z)[0])
            (M @ coefficients(M) - measured).abs().square().sum().backward()
            adam.step()
    psi = torch.linalg.qr(interpolator @ Z.detach())[0]
    eta = coefficients(design(psi)).reshape(len(q), rank, -1)
    even = TomographyGeometry.parallel(
        np.arange(views) * math.pi / views, geometry.n_columns, float(np.linalg.norm(geometry.column_step_mm[0])),
        geometry.n_rows, geometry.row_mm, row_centre_mm=geometry.row_centre_mm,
    )  # fmt: skip
    rays = torch.from_numpy(np.arctan2(even.ray_source[:, 1], even.ray_source[:, 0]))
    basis_of_angle = torch.polar(torch.ones(1, dtype=torch.float64), rays[:, None] * q)
    sinograms = torch.einsum("vq,qks->kvs", basis_of_angle, eta).real.reshape(rank, views, *y.shape[1:]).to(y.dtype)
    backproject = Projector(even, cast(RayTransform, A.still).grid, y.dtype)
    images = filtered_backprojection(backproject, sinograms, filter="hann")
    return Factors(images, torch.linalg.lstsq(interpolator, psi).solution, interpolator).frames()
