"""fastMRI's U-Net: published size and names, any size of image, and k-space whose root sum of squares is its answer."""

from __future__ import annotations

import pytest
import torch

from operators.fourier import centred_ifft
from recon3d.priors.networks.fastmri_unet import FastMRIUNet, UNetCompletion


def test_published_size_and_names() -> None:
    with torch.device("meta"):
        network = FastMRIUNet(1, 1, filters=256, pools=4)
    assert sum(parameter.numel() for parameter in network.parameters()) == 496_372_225  # fastMRI's leaderboard model
    names = network.state_dict()
    for name in ("down_sample_layers.3.layers.4.weight", "conv.layers.0.weight", "up_transpose_conv.0.layers.0.weight",
                 "up_conv.2.layers.4.weight", "up_conv.3.0.layers.0.weight", "up_conv.3.1.bias"):  # fmt: skip
        assert name in names


def test_public_weights_give_the_public_answer() -> None:
    models = pytest.importorskip("fastmri.models", reason="needs the package fastmri, see docs/fastmri.md")
    theirs = models.Unet(in_chans=2, out_chans=1, chans=4, num_pool_layers=3).eval()
    ours = FastMRIUNet(2, 1, filters=4, pools=3).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 2, 37, 42)  # odd on the way down: the reflected row and column
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("shape", [(16, 16), (17, 19), (30, 21)])
def test_any_size(shape: tuple[int, int]) -> None:
    network = FastMRIUNet(2, 3, filters=2, pools=2)
    assert network(torch.randn(1, 2, *shape)).shape == (1, 3, *shape)
    assert network.smallest_side == 8


def test_completion_has_the_networks_magnitude_and_the_data_s_shares() -> None:
    torch.manual_seed(0)
    network = UNetCompletion(filters=2, pools=2).double()
    kspace = torch.randn((2, 3, 16, 20), dtype=torch.complex128)
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    images = centred_ifft(kspace)
    rss = images.abs().square().sum(1, keepdim=True).sqrt()
    mean, deviation = rss.mean((2, 3), keepdim=True), rss.std((2, 3), keepdim=True)
    answer = network.unet((rss - mean) / deviation) * deviation + mean
    found = centred_ifft(network(kspace, mask, mask))
    torch.testing.assert_close(found.abs().square().sum(1).sqrt(), answer[:, 0].abs())
    torch.testing.assert_close(found / found[:, :1], images / images[:, :1])  # coil by coil as it was


def test_a_network_without_a_level_is_refused() -> None:
    with pytest.raises(ValueError, match="pools 0"):
        FastMRIUNet(pools=0)
