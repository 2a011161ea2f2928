"""DnCNN: chains of convolutions are seen whatever their names; nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recon3d.priors.networks import build_network, file_names, recognise

Shapes = dict[str, tuple[int, ...]]
SEVENTEEN = {"kind": "dncnn", "depth": 17, "channels": 64, "image_channels": 1, "bias": True, "noise_map": False}
TOLD = {"kind": "dncnn", "depth": 5, "channels": 8, "image_channels": 2, "bias": False, "noise_map": True}


def shapes_of(architecture: dict[str, Any]) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in build_network(architecture).state_dict().items()}


@pytest.mark.parametrize("architecture", [SEVENTEEN, TOLD], ids=["dncnn_25 of KAIR", "FDnCNN"])
def test_a_chain_is_recognised(architecture: dict[str, Any]) -> None:
    shapes = shapes_of(architecture)
    assert recognise(shapes) == architecture
    assert file_names("dncnn", shapes) == {name: name for name in shapes}


def test_the_layout_of_red_psm_is_a_chain_by_other_names() -> None:
    """First convolution, six hidden ones, last one; 64 channels, 222,785 parameters in all."""
    layers = ["init_layer.0", *(f"main.{k}.0" for k in range(6)), "final_layer"]
    widths = [1, *[64] * 7, 1]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in zip(layers, widths[:-1], widths[1:], strict=True):
        shapes |= {f"{name}.weight": (outputs, inputs, 3, 3), f"{name}.bias": (outputs,)}
    architecture = recognise(shapes)
    assert architecture is not None
    names = file_names("dncnn", shapes)
    network = build_network(architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == 222_785
    assert {ours: tuple(t.shape) for ours, t in network.state_dict().items()} == {
        o: shapes[t] for o, t in names.items()
    }
    assert names["model.14.bias"] == "final_layer.bias"


@pytest.mark.parametrize(
    "changes",
    [
        {"model.2.weight": (64, 65, 3, 3)},
        {"model.2.weight": (64, 64, 5, 5)},
        {"model.0.weight": (64, 3, 3, 3)},
        {"model.1.running_mean": (64,)},
    ],
    ids=str,
)
def test_other_files_are_not(changes: Shapes) -> None:
    assert recognise(shapes_of(SEVENTEEN) | changes) is None
