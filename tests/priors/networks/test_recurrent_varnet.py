"""RecurrentVarNet: published sizes and names, the recursion by hand, and what must not change its answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from operators.fourier import centred_fft, centred_ifft
from recon3d.priors.networks.kspace import expand_coils, reduce_coils, unit_maps
from recon3d.priors.networks.recurrent_varnet import ConvGRU, RecurrentVarNet, StateInitialiser

SHAPE = (24, 20)


def count(module: nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(*settings: object, **named: object) -> RecurrentVarNet:
    with torch.device("meta"):
        return RecurrentVarNet(*settings, **named)  # type: ignore[arg-type]


def small(**settings: object) -> RecurrentVarNet:
    torch.manual_seed(0)
    return RecurrentVarNet(**{"steps": 3, "hidden": 8, "layers": 2, "refinement": (4, 2), **settings}).double()  # type: ignore[arg-type]


def noisy(module: nn.Module) -> None:
    """Weights that all matter: the last convolutions would start at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def sampled(coils: int = 3, shape: tuple[int, int] = SHAPE, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """K-space of smooth coil images, every other column beside a full centre."""
    random = torch.Generator().manual_seed(1)
    small_images = torch.randn((batch, coils, 6, 6), generator=random, dtype=torch.complex128)
    low = torch.zeros((batch, coils, *shape), dtype=torch.complex128)
    y, x = (n // 2 - 3 for n in shape)
    low[..., y : y + 6, x : x + 6] = small_images
    kspace = low + 0.05 * torch.randn(low.shape, generator=random, dtype=torch.complex128)
    mask = (torch.arange(shape[1]) % 2 == 0)[None, None, None]
    calibration = ((torch.arange(shape[1]) - shape[1] // 2).abs() < 4)[None, None, None]
    mask = mask | calibration
    return kspace * mask, mask, calibration


@pytest.mark.parametrize(
    ("settings", "parameters", "tensors"),
    [
        ({"steps": 8}, 6_918_424, 296),
        ({"steps": 12}, 10_303_780, 436),
        ({"steps": 8, "hidden": 96, "layers": 3}, 2_827_320, 230),
        ({"steps": 6, "layers": 2}, 2_229_266, 126),
        ({"steps": 11, "layers": 3}, 6_727_841, 311),
        ({"steps": 8, "multiscale": 0}, 6_770_712, 280),
        ({"steps": 8, "shared": True}, 994_051, 51),
    ],
)
def test_published_sizes(settings: dict[str, int], parameters: int, tensors: int) -> None:
    network = on_meta(**settings)
    assert count(network.model) == parameters
    assert len(network.model.state_dict()) == tensors
    assert count(network.sensitivity_model) == 484_898
    assert len(network.sensitivity_model.state_dict()) == 24  # type: ignore[union-attr]


def published_names(steps: int, hidden: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the public checkpoints, written down from their description."""
    named: dict[str, tuple[int, ...]] = {}

    def add(name: str, *shape: int) -> None:
        named[f"{name}.weight"], named[f"{name}.bias"] = shape, (shape[0],)

    for i, (inputs, outputs) in enumerate(((2, 32), (32, 32), (32, 64), (64, 64))):
        add(f"model.initializer.conv_blocks.{i}.1", outputs, inputs, 3, 3)
    for i in range(layers):
        add(f"model.initializer.out_blocks.{i}.0", hidden, 160, 1, 1)
    for t in range(steps):
        block = f"model.block_list.{t}"
        named[f"{block}.learning_rate"] = (1,)
        for i in range(layers + 1):
            inputs, outputs = (2 if i == 0 else hidden), (2 if i == layers else hidden)
            add(f"{block}.regularizer.conv_blocks.{i}.1", outputs, inputs, *((5, 5) if i == 0 else (3, 3)))
        for gates in ("reset_gates", "update_gates", "out_gates"):
            for i in range(layers):
                add(f"{block}.regularizer.{gates}.{i}.0", hidden, 2 * hidden, 1, 1)
    unet = "sensitivity_model"
    for i, (inputs, outputs) in enumerate(((2, 8), (8, 16), (16, 32), (32, 64))):
        named[f"{unet}.down_sample_layers.{i}.layers.0.weight"] = (outputs, inputs, 3, 3)
        named[f"{unet}.down_sample_layers.{i}.layers.4.weight"] = (outputs, outputs, 3, 3)
    named |= {f"{unet}.conv.layers.0.weight": (128, 64, 3, 3), f"{unet}.conv.layers.4.weight": (128, 128, 3, 3)}
    for i, width in enumerate((64, 32, 16, 8)):
        named[f"{unet}.up_transpose_conv.{i}.layers.0.weight"] = (2 * width, width, 2, 2)
        block = f"{unet}.up_conv.{i}" if i < 3 else f"{unet}.up_conv.3.0"
        named[f"{block}.layers.0.weight"] = (width, 2 * width, 3, 3)
        named[f"{block}.layers.4.weight"] = (width, width, 3, 3)
    named |= {f"{unet}.up_conv.3.1.weight": (2, 8, 1, 1), f"{unet}.up_conv.3.1.bias": (2,)}
    return named


def test_names_and_shapes_are_those_of_the_public_toolkit() -> None:
    network = on_meta(steps=8, hidden=128, layers=4)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == published_names(8, 128, 4)


def test_multiscale_joins_the_last_feature_maps() -> None:
    for multiscale, channels in ((1, 64), (2, 128), (3, 160), (4, 192)):
        assert StateInitialiser(8, 2, multiscale).out_blocks[0][0].weight.shape[1] == channels  # type: ignore[index]


@pytest.mark.parametrize("steps", [1, 3])
def test_silent_corrections_give_the_zero_filled_image(steps: int) -> None:
    """With alpha = 1 and corrections of zero, y_1 = y~ and stays; so training starts at zero filling."""
    kspace, mask, calibration = sampled()
    found = small(steps=steps)(kspace, mask, calibration)
    assert (found - kspace).abs().max() < 1e-12


def test_without_data_steps_the_first_guess_stays_and_full_data_are_returned() -> None:
    kspace, _, calibration = sampled()
    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    network = small()
    full = centred_fft(torch.randn((1, 3, *SHAPE), dtype=torch.complex128))
    assert (network(full, everything, calibration) - full).abs().max() < 1e-12
    for block in network.model.block_list:
        nn.init.zeros_(block.learning_rate)  # type: ignore[arg-type]
    maps = unit_maps(centred_ifft(kspace))
    first = torch.randn(kspace.shape, dtype=torch.complex128)
    last, _ = network.model.block_list[0](first, kspace, everything, maps, None)
    assert torch.equal(last, first)


def test_a_step_is_the_equation() -> None:
    """y - alpha M (y - y~) + E w by hand, with a regulariser that returns twice its image."""
    kspace, mask, calibration = sampled()
    maps = unit_maps(centred_ifft(kspace * calibration))
    step = small().model.block_list[0]
    step.learning_rate.data.fill_(0.3)  # type: ignore[union-attr,operator]

    class Twice(nn.Module):
        def forward(self, x: Tensor, memory: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
            return 2 * x, []

    step.regularizer = Twice()
    y = torch.randn(kspace.shape, dtype=torch.complex128)
    image = (maps.conj() * torch.fft.ifft2(y, norm="ortho")).sum(1)
    expected = y - 0.3 * (mask * (y - kspace)) + torch.fft.fft2(maps * (2 * image)[:, None], norm="ortho")
    assert (step(y, kspace, mask, maps, None)[0] - expected).abs().max() < 1e-12


def test_reduce_and_expand_are_adjoint() -> None:
    kspace, _, _ = sampled()
    maps = unit_maps(torch.randn(kspace.shape, dtype=torch.complex128))
    x = torch.randn((1, *SHAPE), dtype=torch.complex128)
    left, right = (expand_coils(x, maps).conj() * kspace).sum(), (x.conj() * reduce_coils(kspace, maps)).sum()
    assert abs(left - right) < 1e-12 * abs(left)


def test_the_unit_gates_as_written() -> None:
    """One pixel, one channel, all weights 1: the sigmoids and the order input, state by hand."""
    unit = ConvGRU(1, 1).double()
    for parameter in unit.parameters():
        nn.init.ones_(parameter)
    unit.reset_gates[0][0].weight.data = torch.tensor([[0.5, 2.0]], dtype=torch.float64)[..., None, None]  # type: ignore[index]
    x, h = torch.full((1, 2, 1, 1), 0.1).double(), torch.full((1, 1, 1, 1), -0.4).double()
    with torch.no_grad():
        out, (new,) = unit(x, [h])
    c = 25 * 2 * 0.1 + 1  # replicated edges: every tap sees the pixel
    u = torch.sigmoid(torch.tensor(c - 0.4 + 1.0))
    r = torch.sigmoid(torch.tensor(0.5 * c - 2.0 * 0.4 + 1.0))
    d = torch.tanh(torch.tensor(c - 0.4 * float(r) + 1.0))
    expected = (1 - float(u)) * -0.4 + float(u) * float(d)
    assert float(new) == pytest.approx(expected, rel=1e-6)
    assert out.flatten().tolist() == pytest.approx([9 * max(expected, 0) + 1] * 2, rel=1e-6)


def test_the_order_of_the_memory_matters() -> None:
    network = small().model
    noisy(network)
    x = torch.randn((1, 2, *SHAPE), dtype=torch.float64)
    memory = network.initializer(x)  # type: ignore[misc]
    unit = network.block_list[0].regularizer
    assert (unit(x, memory)[0] - unit(x, memory[::-1])[0]).abs().max() > 1e-3  # type: ignore[operator]


def test_slices_of_a_batch_do_not_meet() -> None:
    kspace, mask, calibration = sampled(batch=3)
    network = small()
    noisy(network)
    alone = torch.cat([network(kspace[i : i + 1], mask, calibration) for i in range(3)])
    assert (network(kspace, mask, calibration) - alone).abs().max() < 1e-12 * alone.abs().max()


def test_centring_is_only_where_the_origin_lies() -> None:
    """The same network on the plain transform of the shifted image: k-space of both differs by known phases.

    Without refinement and initialiser, the network sees the same images, so their corrections are the same.
    """
    kspace, mask, calibration = sampled()
    centred = small(refinement=None, multiscale=0)
    noisy(centred)
    plain = small(refinement=None, multiscale=0, centred=False)
    plain.load_state_dict(centred.state_dict())
    images = centred_ifft(kspace)
    signs = (-1.0) ** (torch.arange(SHAPE[0])[:, None] + torch.arange(SHAPE[1]))
    moved = torch.fft.fft2(images * signs, norm="ortho")  # even sizes: zero frequency goes to the middle
    one = centred_ifft(centred(kspace, mask, calibration)).abs()
    other = torch.fft.ifft2(plain(moved, mask, calibration), norm="ortho").abs()
    assert (one - other).abs().max() < 1e-10 * one.max()


def test_odd_sizes_and_one_coil() -> None:
    network = small()
    noisy(network)
    kspace, mask, calibration = sampled(shape=(23, 21))
    assert network(kspace, mask, calibration).shape == kspace.shape
    kspace, mask, calibration = sampled(coils=1)
    maps = network.sensitivities(kspace, calibration)  # not refined, of unit modulus
    assert maps.abs().sub(1).abs().max() < 1e-12


def test_sensitivities_have_unit_sum_of_squares_and_weighted_calibration_lines() -> None:
    kspace, _, calibration = sampled()
    network = small()
    maps = network.sensitivities(kspace, calibration)
    assert maps.abs().square().sum(1).sub(1).abs().max() < 1e-10
    raw = small(refinement=None).sensitivities(kspace, calibration)
    u = torch.linspace(-1, 1, SHAPE[1], dtype=torch.float64)
    by_hand = centred_ifft(kspace * calibration * torch.exp(-((u / 0.7) ** 2)))
    assert (raw - by_hand / by_hand.abs().square().sum(1, keepdim=True).sqrt()).abs().max() < 1e-12
    assert not unit_maps(torch.zeros((1, 2, 3, 3), dtype=torch.complex64)).any()


def test_float32_is_near_float64() -> None:
    kspace, mask, calibration = sampled()
    network = small(steps=8)
    noisy(network)
    precise = network(kspace, mask, calibration)
    single = network.float()(kspace.to(torch.complex64), mask, calibration)
    assert (single - precise).abs().max() < 1e-3 * precise.abs().max()


def test_settings_that_make_no_network() -> None:
    with pytest.raises(ValueError, match="steps 0"):
        RecurrentVarNet(steps=0)
