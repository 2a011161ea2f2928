"""Clutter in beamformed RF: how much of it there is, and the classical filters against it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_WIDTH, MOST_WIDTH = 6.0, 64.0
"""Lateral correlation of haze, in beams (standard deviation of the kernel); that of tissue is at most a quarter."""
BRIGHT = 4.0
"""Amplitudes above so many medians count as that: a few bright reflectors must not decide about the whole."""


def levels(analytic: Tensor) -> tuple[float, float]:
    """Root mean squares of tissue and of haze in RF, told apart by how far they correlate across beams.

    ``R(l) = T exp(-l^2 / 4 s^2) + H exp(-l^2 / 4 w^2)`` is fitted to the lateral autocorrelation, for kernels of
    standard deviations s and w >= 4 s; both terms are kept non-negative.

    Parameters
    ----------
    analytic : (..., beam, depth), complex
    """
    magnitude = analytic.abs()
    limit = BRIGHT * magnitude.median()
    held = analytic * (limit / magnitude.clamp_min(1e-30)).clamp(max=1.0)
    beams = held.shape[-2]
    lags = list(range(0, max(2, min(beams // 2, 48)), 1))
    measured = torch.stack([(held[..., lag:, :] * held[..., : beams - lag, :].conj()).mean().real for lag in lags])
    measured = 0.5 * measured.double()  # of RF, whose power is half that of the analytic signal
    lag = torch.tensor(lags, dtype=torch.float64)
    best = (float("inf"), 0.0, 0.0)
    for narrow in torch.logspace(-0.5, 1.0, 16, dtype=torch.float64):
        for wide in torch.logspace(0, 1, 12, dtype=torch.float64) * LEAST_WIDTH:
            if wide < 4 * narrow:
                continue
            basis = torch.stack([torch.exp(-(lag**2) / (4 * width**2)) for width in (narrow, wide)], dim=1)
            powers = torch.linalg.lstsq(basis, measured[:, None]).solution[:, 0].clamp_min(0)
            misfit = float((basis @ powers - measured).square().sum())
            if misfit < best[0]:
                best = (misfit, float(powers[0]), float(powers[1]))
    return best[1] ** 0.5, best[2] ** 0.5


def svd_filter(cine: Tensor, removed: int) -> Tensor:
    """A cine (frame, ...) without its first singular vectors: what stays the same from frame to frame goes.

    Demene et al., IEEE TMI 34 (2015) 2271; the other way round: here clutter is what does not move.
    """
    U, S, V = torch.linalg.svd(cine.flatten(1), full_matrices=False)
    S = S.clone()
    S[:removed] = 0
    return ((U * S) @ V).reshape(cine.shape)


def wiener(rf: Tensor, tissue: Tensor, haze: Tensor, noise: float) -> Tensor:
    """``S_x / (S_x + S_h + s^2)`` in the Fourier domain of (beam, depth); spectra in the order of ``rfft2``."""
    return torch.fft.irfft2(tissue / (tissue + haze + noise) * torch.fft.rfft2(rf), s=rf.shape[-2:])


def nonlocal_means(image: Tensor, strength: float, patch: int = 5, search: int = 7) -> Tensor:
    """Each pixel (..., y, x) as the mean of those whose patches look alike; Buades, Coll, Morel, CVPR 2005.

    Parameters
    ----------
    strength : difference of patches (root mean square) at which a pixel's weight has fallen to 1/e
    patch, search : odd sides
    """
    planes = image.reshape(-1, 1, *image.shape[-2:])
    reach = search // 2
    padded = F.pad(planes, (reach, reach, reach, reach), mode="reflect")
    rows, columns = image.shape[-2:]
    total, weights = torch.zeros_like(planes), torch.zeros_like(planes)
    for dy in range(search):
        for dx in range(search):
            moved = padded[..., dy : dy + rows, dx : dx + columns]
            distance = F.avg_pool2d((moved - planes).square(), patch, 1, patch // 2, count_include_pad=False)
            weight = torch.exp(-distance / strength**2)
            total += weight * moved
            weights += weight
    return (total / weights).reshape(image.shape)
