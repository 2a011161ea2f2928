"""Priors: denoisers with cards, noise coordinates, networks and shipped weights; imported on use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operators.normalization import Normalization
    from recon3d.priors.cards import BaseCard, Card, fit, read_card, verify
    from recon3d.priors.denoiser import Denoiser
    from recon3d.priors.files import Entry, find_model, list_models, load_model, save_model
    from recon3d.priors.model import Model

_HOMES = {
    "Normalization": "operators.normalization",
    "BaseCard": "recon3d.priors.cards",
    "Card": "recon3d.priors.cards",
    "fit": "recon3d.priors.cards",
    "read_card": "recon3d.priors.cards",
    "verify": "recon3d.priors.cards",
    "Denoiser": "recon3d.priors.denoiser",
    "Entry": "recon3d.priors.files",
    "Model": "recon3d.priors.model",
    "find_model": "recon3d.priors.files",
    "list_models": "recon3d.priors.files",
    "load_model": "recon3d.priors.files",
    "save_model": "recon3d.priors.files",
}

__all__ = [
    "BaseCard",
    "Card",
    "Denoiser",
    "Entry",
    "Model",
    "Normalization",
    "find_model",
    "fit",
    "list_models",
    "load_model",
    "read_card",
    "save_model",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
