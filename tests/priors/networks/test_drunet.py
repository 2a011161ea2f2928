"""DRUNet: its forward pass written out, and its layout in published files."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recon3d.priors.networks import build_network, recognise


def test_drunet_is_its_chain_of_blocks() -> None:
    """Against the forward pass written out from the keys of the published files."""
    torch.manual_seed(2)
    net = build_network({"kind": "drunet", "channels": [4, 6, 8, 10], "blocks": 2})
    weights, x = net.state_dict(), torch.rand(2, 2, 16, 24)

    def blocks(h: Tensor, prefix: str, numbers: range) -> Tensor:
        for k in numbers:
            inner = F.conv2d(h, weights[f"{prefix}.{k}.res.0.weight"], padding=1).clamp_min(0)
            h = h + F.conv2d(inner, weights[f"{prefix}.{k}.res.2.weight"], padding=1)
        return h

    with torch.no_grad():
        x1 = F.conv2d(x, weights["m_head.weight"], padding=1)
        x2 = F.conv2d(blocks(x1, "m_down1", range(2)), weights["m_down1.2.weight"], stride=2)
        x3 = F.conv2d(blocks(x2, "m_down2", range(2)), weights["m_down2.2.weight"], stride=2)
        x4 = F.conv2d(blocks(x3, "m_down3", range(2)), weights["m_down3.2.weight"], stride=2)
        h = blocks(x4, "m_body", range(2)) + x4
        h = blocks(F.conv_transpose2d(h, weights["m_up3.0.weight"], stride=2), "m_up3", range(1, 3)) + x3
        h = blocks(F.conv_transpose2d(h, weights["m_up2.0.weight"], stride=2), "m_up2", range(1, 3)) + x2
        h = blocks(F.conv_transpose2d(h, weights["m_up1.0.weight"], stride=2), "m_up1", range(1, 3)) + x1
        torch.testing.assert_close(net(x), F.conv2d(h, weights["m_tail.weight"], padding=1))


def test_the_layout_is_recognised() -> None:
    architecture = {"kind": "drunet", "channels": [64, 128, 256, 512], "blocks": 4, "image_channels": 1}
    with torch.device("meta"):
        network = build_network(architecture)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert recognise(shapes) == architecture
    assert recognise({name: shape for name, shape in shapes.items() if not name.startswith("m_down2")}) is None
