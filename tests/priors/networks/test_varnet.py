"""End-to-end VarNet: its size with published settings, and the recursion with silent U-Nets."""

from __future__ import annotations

import torch
from torch import nn

from recon3d.priors.networks.varnet import VarNet


def data(shape: tuple[int, int] = (24, 20)) -> tuple[torch.Tensor, ...]:
    kspace = torch.randn((1, 3, *shape), dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    columns = torch.arange(shape[1])
    calibration = ((columns - shape[1] // 2).abs() < 4)[None, None, None]
    mask = calibration | (columns % 3 == 0)
    return kspace * mask, mask, calibration


def test_silent_u_nets_keep_the_data() -> None:
    """Corrections of zero: y_1 = y~ whatever eta; a U-Net of MONAI standardises, so its last layer gives the mean."""

    class Silent(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    network = VarNet(cascades=2, features=(4,) * 6, map_features=(4,) * 6)
    for k in range(2):
        network.refinements[k] = Silent()
    kspace, mask, calibration = data()
    assert (network(kspace, mask, calibration) - kspace).abs().max() < 1e-6


def test_any_size_and_every_weight_learns() -> None:
    network = VarNet(cascades=2, features=(4,) * 6, map_features=(4,) * 6)
    kspace, mask, calibration = data((23, 21))
    found = network(kspace, mask, calibration)
    assert found.shape == kspace.shape
    found.abs().square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.data_weights.grad[1] != 0
