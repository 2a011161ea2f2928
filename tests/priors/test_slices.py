"""Slice-wise application: every slice the same bits whatever the slab, any axis, any size, complex, with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from operators.errors import ShapeError
from recon3d.priors.networks.unet import UNet2d
from recon3d.priors.slices import apply_to_slices, fast_dtype, pad_to_multiple


def _network(image_channels: int = 1) -> UNet2d:
    torch.manual_seed(0)
    network = UNet2d((16, 32, 32, 32), image_channels=image_channels, embedding=32).eval()
    for parameter in network.parameters():  # the zero start would make a network that answers zero
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def _plain(x: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
    """Sees its neighbours along y and x, not its batch."""
    return torch.roll(x, 1, -1) * 0.5 + x.square() / sigma[:, None, None, None] + (0 if cond is None else cond)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["float32", "bfloat16"])
def test_slab_splits_give_the_same_bits(dtype: torch.dtype | None) -> None:
    network = _network()
    x = torch.randn((11, 37, 29), generator=torch.Generator().manual_seed(1))

    def run(part: Tensor) -> Tensor:
        call = lambda images, sigma, cond: network(images, sigma.log())  # noqa: E731
        with torch.no_grad():
            return apply_to_slices(call, part, 0.3, micro_batch=4, multiple=network.multiple, compute_dtype=dtype)

    whole = run(x)
    assert whole.abs().max() > 0.01
    for split in (1, 4, 6):
        assert torch.equal(torch.cat([run(x[:split]), run(x[split:])]), whole)


def test_micro_batches_of_other_sizes_agree() -> None:
    network = _network()
    x = torch.randn((9, 32, 48), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        results = [
            apply_to_slices(lambda i, s, c: network(i, s.log()), x, 0.3, micro_batch=size, multiple=16)
            for size in (1, 8, 64)
        ]
    for result in results[1:]:
        assert (result - results[0]).norm() / results[0].norm() < 1e-5


@pytest.mark.parametrize("axis", [-3, -2, -1])
def test_any_axis_and_leading_axes(axis: int) -> None:
    x = torch.randn((2, 3, 4, 5), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    got = apply_to_slices(_plain, x, 0.7, axis=axis, micro_batch=2)
    for t in range(2):
        for index in range(x.shape[axis]):
            image = x[t].select(axis, index)[None, None]
            expected = _plain(image, torch.tensor([0.7], dtype=torch.float64), None)[0, 0]
            torch.testing.assert_close(got[t].select(axis, index), expected)


def test_one_sigma_per_slice_and_a_condition() -> None:
    x, cond = torch.randn((2, 3, 4, 5), generator=torch.Generator().manual_seed(3)).unbind()
    sigma = torch.tensor([0.1, 1.0, 10.0])
    got = apply_to_slices(_plain, x, sigma, cond, micro_batch=2)
    torch.testing.assert_close(got, _plain(x[:, None], sigma, cond[:, None])[:, 0])


def test_complex_images_are_two_channels() -> None:
    x = torch.randn((3, 4, 5), generator=torch.Generator().manual_seed(4), dtype=torch.complex64)

    def turn(images: Tensor, sigma: Tensor, cond: Tensor | None) -> Tensor:
        assert images.shape[1:] == (2, 4, 5)
        return torch.stack([-images[:, 1], images[:, 0]], dim=1)

    torch.testing.assert_close(apply_to_slices(turn, x, 1.0, micro_batch=2), 1j * x)


def test_gradients_match_finite_differences() -> None:
    x = torch.randn((3, 5, 3), generator=torch.Generator().manual_seed(5), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: apply_to_slices(_plain, v, 0.5, micro_batch=2, multiple=4), (x,))
    assert not apply_to_slices(_plain, x.detach(), 0.5).requires_grad


def test_padding_repeats_the_edge_and_is_cropped() -> None:
    images = torch.arange(6.0).reshape(1, 1, 2, 3)
    padded = pad_to_multiple(images, 4)
    assert padded.shape == (1, 1, 4, 4)
    assert padded[0, 0, 3].tolist() == [3, 4, 5, 5]
    x = torch.rand(2, 7, 1)
    assert torch.equal(apply_to_slices(lambda i, s, c: i, x, 1.0, multiple=16), x)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ShapeError, match="axis 0"):
        apply_to_slices(_plain, torch.zeros(2, 3, 4), 1.0, axis=0)
    with pytest.raises(ShapeError, match="condition"):
        apply_to_slices(_plain, torch.zeros(2, 3, 4), 1.0, torch.zeros(2, 3, 5))


def test_fast_dtype_is_a_half_or_nothing() -> None:
    assert fast_dtype("cpu") in (torch.bfloat16, None)
    assert fast_dtype("meta") is None
