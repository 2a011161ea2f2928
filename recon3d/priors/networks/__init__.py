"""Networks that priors are made of; each is built from the architecture entry of a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recon3d.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


def build_network(architecture: dict[str, Any]) -> nn.Module:
    """The network of an architecture entry such as ``{"kind": "unet2d", "channels": [64, 96, 128, 192], ...}``.

    Raises
    ------
    ModelError
        When the kind is unknown or its settings do not fit.
    """
    from recon3d.priors.networks.unet import UNet2d

    kinds = {"unet2d": UNet2d}
    settings = dict(architecture)
    kind = settings.pop("kind", None)
    if kind not in kinds:
        raise ModelError(f"Expected an architecture of kind {', '.join(kinds)}, got {kind!r}; use a newer recon3d.")
    try:
        return kinds[kind](**settings)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The settings of architecture {kind!r} do not fit this version: {error}.") from error
