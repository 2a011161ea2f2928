"""Coordinates of a card: what a network is asked and what it answers, as a denoiser in sigma."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from recon3d.errors import ModelError
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.noise import EDM, Schedule, vp_cosine, vp_linear
from recon3d.priors.prediction import PredictionDenoiser
from recon3d.priors.regression import BlindDenoiser, NoiseMapDenoiser


def build_denoiser(card: Card, network: nn.Module) -> nn.Module:
    """D(x, sigma) on (batch, channel, y, x) from the bare network of a card; the network is its attribute `network`.

    ========== ============================================= =================================================
    kind       the network                                   settings
    ========== ============================================= =================================================
    edm        preconditioned (`recon3d.priors.edm`)         none
    vp         predicts at ``sqrt(abar_t) x``, t             schedule (linear, cosine), steps, first, last, predicts
    ve         the score at x, sigma                         none
    blind      noise, or the clean image; sigma unseen       residual
    noise_map  the clean image, or noise; sigma as a channel residual
    ========== ============================================= =================================================

    Raises
    ------
    ModelError
        When the kind is unknown or its settings do not fit.
    """
    settings = dict(card.coordinates)
    kind = settings.pop("kind", None)
    makers = {"edm": _edm, "vp": _vp, "ve": _ve, "blind": _blind, "noise_map": _noise_map}
    if kind not in makers:
        raise ModelError(f"Expected coordinates of kind {', '.join(makers)}, got {kind!r}; use a newer recon3d.")
    if (kind == "noise_map") != getattr(network, "noise_map", False):
        raise ModelError(
            f"Coordinates '{kind}' do not go with this network: a channel for sigma needs 'noise_map', and no other."
        )
    try:
        return makers[kind](card, network, **settings)
    except TypeError as error:
        raise ModelError(f"The settings of coordinates {kind!r} do not fit this version: {error}.") from error


def _edm(card: Card, network: nn.Module) -> nn.Module:
    return EDMDenoiser(network, card.sigma_data, card.mean)


def _vp(card: Card, network: nn.Module, schedule: str = "linear", predicts: Any = "eps", **betas: Any) -> nn.Module:
    schedules: dict[str, Callable[..., Schedule]] = {"linear": vp_linear, "cosine": vp_cosine}
    if schedule not in schedules:
        raise ModelError(f"Expected a VP schedule of {', '.join(schedules)}, got {schedule!r}.")
    return PredictionDenoiser(network, schedules[schedule](**betas), predicts)


def _ve(card: Card, network: nn.Module) -> nn.Module:
    return PredictionDenoiser(network, EDM(), "score")  # x0 = x + sigma^2 s(x, sigma)


def _blind(card: Card, network: nn.Module, residual: bool = True) -> nn.Module:
    return BlindDenoiser(network, residual, card.sigma_min, card.sigma_max)


def _noise_map(card: Card, network: nn.Module, residual: bool = False) -> nn.Module:
    return NoiseMapDenoiser(network, residual)
