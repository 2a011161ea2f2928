"""Networks that priors are made of; each is built from the architecture entry of a card.

A network takes (batch, channel, y, x), most with a noise level (batch,) in its own coordinates, and has the attributes
`multiple` (sides must be multiples of it; `recon3d.priors.slices` pads), `bytes_per_pixel` (of one image inside it, for
memory plans) and `allows_half` (whether bfloat16 inside does no harm). A package adds a kind by an entry point of the
group ``recon3d.networks`` that makes the network of its settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from recon3d.errors import ModelError

if TYPE_CHECKING:
    from torch import nn


HOMES = {
    "unet2d": ("unet", "UNet2d"),
    "adm": ("adm", "ADM"),
    "ncsnpp": ("ncsnpp", "NCSNpp"),
    "monai_unet": ("monai_unet", "monai_unet"),
    "drunet": ("drunet", "DRUNet"),
    "dncnn": ("dncnn", "DnCNN"),
    "recurrent_varnet": ("recurrent_varnet", "RecurrentVarNet"),
    "varnet": ("varnet", "VarNet"),
    "unet_completion": ("fastmri_unet", "UNetCompletion"),
    "unet3d": ("unet3d", "UNet3d"),
    "fused_adm": ("fused", "FusedADM"),
}
"""Module and maker of each kind of architecture.

A module may know published files: `recognise(shapes)` gives the architecture of a state dict or None, and
`file_names(shapes)` its names by ours where they differ. The first module that recognises a file has it.
"""


def channels_last(network: nn.Module) -> nn.Module:
    """The network with the weights of its convolutions in the memory order that CPUs and GPUs are fast at."""
    import torch

    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
    return network


def build_network(architecture: dict[str, Any]) -> nn.Module:
    """The network of an architecture entry such as ``{"kind": "unet2d", "channels": [64, 96, 128, 192], ...}``.

    Raises
    ------
    ModelError
        When the kind is unknown or its settings do not fit.
    """
    settings = dict(architecture)
    kind = settings.pop("kind", None)
    make: Callable[..., nn.Module]
    if kind in HOMES:
        module, name = HOMES[kind]
        make = getattr(import_module(f"{__name__}.{module}"), name)
    else:
        points = {point.name: point for point in entry_points(group="recon3d.networks")}
        if kind not in points:
            known = ", ".join([*HOMES, *sorted(points)])
            raise ModelError(
                f"Expected an architecture of kind {known}, got {kind!r}; use a newer recon3d, or install its plug-in."
            )
        make = points[kind].load()
    try:
        return make(**settings)
    except (TypeError, ValueError) as error:
        raise ModelError(f"The settings of architecture {kind!r} do not fit this version: {error}.") from error


def recognise(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The architecture of a published state dict from its names and shapes; None when it is none that is known."""
    for module, _ in HOMES.values():
        find = getattr(import_module(f"{__name__}.{module}"), "recognise", None)
        architecture: dict[str, Any] | None = find(shapes) if find is not None else None
        if architecture is not None:
            return architecture
    return None


def file_names(kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The names in a state dict by those of the network of that kind: the same, but for layouts of many names."""
    module = import_module(f"{__name__}.{HOMES[kind][0]}") if kind in HOMES else None
    return (
        module.file_names(shapes)
        if module is not None and hasattr(module, "file_names")
        else {name: name for name in shapes}
    )
