"""The 3D U-Net: folding, sides, locality, what it refuses."""

from __future__ import annotations

import pytest
import torch

from recon3d.errors import ModelError
from recon3d.priors.networks import build_network, channels_last
from recon3d.priors.networks.unet3d import UNet3d, folded, unfolded


def small() -> UNet3d:
    torch.manual_seed(0)
    network = UNet3d(channels=(8, 8), fold=(1, 2, 4), embedding=8)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def test_folding_gathers_cells_and_is_undone() -> None:
    x = torch.arange(2 * 8 * 4 * 8.0).reshape(1, 2, 8, 4, 8)
    cells = folded(x, (2, 2, 4))
    assert cells.shape == (1, 32, 4, 2, 2)
    assert cells[0, :16, 0, 0, 0].tolist() == x[0, 0, :2, :2, :4].flatten().tolist()
    assert torch.equal(unfolded(cells, (2, 2, 4)), x)


@torch.no_grad()
def test_answers_are_local() -> None:
    """Without norms over the cube, a change far away does not reach a cell: tiles and wholes agree inside."""
    network, x = small(), torch.randn(1, 3, 64, 4, 8)
    other = x.clone()
    other[:, :, 48:] += 10
    a, b = (network(v, torch.zeros(1)) for v in (x, other))
    assert a.shape == (1, 1, 64, 4, 8)
    torch.testing.assert_close(a[:, :, :24], b[:, :, :24], rtol=0, atol=0)
    assert (a[:, :, 48:] - b[:, :, 48:]).abs().max() > 1e-3


def test_starts_as_zero_and_is_built_from_a_card() -> None:
    network = channels_last(build_network({"kind": "unet3d", "channels": [8, 8], "embedding": 8}))
    assert not network(torch.randn(1, 3, 4, 4, 4), torch.zeros(1)).any()
    with pytest.raises(ModelError, match="do not fit"):
        build_network({"kind": "unet3d", "channels": [8]})
