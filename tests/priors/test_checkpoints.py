"""Published weight files: every wrapper is taken off, what does not match is told, nothing is run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recon3d.errors import ModelError
from recon3d.priors.checkpoints import read_weights
from recon3d.priors.networks import build_network

SCORE = {"kind": "ncsnpp", "channels": [8, 12], "blocks": 1, "image_channels": 1, "scales": 3}
CHAIN = {"kind": "dncnn", "depth": 4, "channels": 6, "image_channels": 1, "bias": True, "noise_map": False}

State = dict[str, Tensor]


def network(architecture: dict[str, Any], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = build_network(architecture)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net


def state(architecture: dict[str, Any], seed: int = 0) -> State:
    return dict(network(architecture, seed).state_dict())


def under(prefix: str, tensors: State) -> State:
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    def save(content: Any) -> Path:
        torch.save(content, tmp_path / "published.pt")
        return tmp_path / "published.pt"

    return save


def same(found: State, expected: State) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


RAW, EMA = state(SCORE, 1), state(SCORE, 2)
MOMENTS = {"state": {0: {"exp_avg": torch.zeros(3), "step": torch.tensor(4)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("content", "entry", "expected"),
    [
        (RAW, "", RAW),
        (under("module.", RAW), "module", RAW),
        ({"state_dict": under("net.", RAW), "epoch": 3, "optimizer_states": [MOMENTS]}, "state_dict.net", RAW),
        ({"params": RAW, "params_ema": EMA}, "params_ema", EMA),
        ({"model": under("module._orig_mod.", RAW), "optimizer": MOMENTS}, "model.module._orig_mod", RAW),
        ({"state_dict": under("model.", RAW) | under("ema_model.", EMA)}, "state_dict.ema_model", EMA),
        ({"model": RAW, "ema": EMA, "args": {"lr": 1e-4}}, "ema", EMA),
        ({"model": RAW, "loss": {"weight": torch.ones(2)}}, "model", RAW),
    ],
    ids=["flat", "DataParallel", "Lightning", "BasicSR", "compiled", "Lightning with EMA", "ema", "with a loss"],
)
def test_wrappers_are_taken_off(saved: Callable[[Any], Path], content: Any, entry: str, expected: State) -> None:
    weights = read_weights(saved(content))
    assert (weights.architecture, weights.entry) == (SCORE, entry)
    assert same(weights.tensors, expected)


def test_what_was_left_out_is_told(saved: Callable[[Any], Path]) -> None:
    path = saved({"model": RAW, "loss": {"weight": torch.ones(2)}, "optimizer": MOMENTS})
    assert read_weights(path).ignored == ("loss.weight",)


def test_names_of_other_codes_are_matched_by_their_order(saved: Callable[[Any], Path]) -> None:
    """The layout of RED-PSM, as a state dict."""
    chain = state(CHAIN)
    layers = ["init_layer.0", "main.0.0", "main.1.0", "final_layer"]
    theirs = {
        f"{layer}.{part}": chain[f"model.{2 * k}.{part}"]
        for k, layer in enumerate(layers)
        for part in ("weight", "bias")
    }
    assert same(read_weights(saved(theirs)).tensors, chain)
    values = [-tensor for tensor in theirs.values()]
    averaged = read_weights(saved({"net": theirs, "ema": values}))
    assert averaged.entry == "ema"
    assert same(averaged.tensors, {name: -tensor for name, tensor in chain.items()})


UNTRAINED = ("sigmas", "all_modules.0.W")


def trained(tensors: State) -> list[Tensor]:
    return [tensor for name, tensor in tensors.items() if name not in UNTRAINED]


def score_sde(order: Callable[[list[Tensor]], list[Tensor]] = lambda values: values) -> tuple[Any, State]:
    """A checkpoint of score_sde: averages as a list without names, without the buffer and the fixed projection."""
    raw, average = network(SCORE, 1), network(SCORE, 2)
    shadow = order([parameter.detach() for parameter in average.parameters() if parameter.requires_grad])
    expected = dict(average.state_dict())
    expected |= {name: raw.state_dict()[name] for name in UNTRAINED}
    ema = {"decay": 0.999, "num_updates": 7, "shadow_params": shadow}
    return {"optimizer": MOMENTS, "model": under("module.", raw.state_dict()), "ema": ema, "step": 9}, expected


def test_a_list_of_averages_gets_its_names_by_order(saved: Callable[[Any], Path]) -> None:
    content, expected = score_sde()
    weights = read_weights(saved(content))
    assert (weights.architecture, weights.entry) == (SCORE, "ema.shadow_params")
    assert same(weights.tensors, expected)
    raw = read_weights(saved(content), entry="model")
    assert raw.entry == "model.module"
    assert same(under("module.", raw.tensors), content["model"])


def test_a_list_that_does_not_fit_is_told(saved: Callable[[Any], Path]) -> None:
    content, _ = score_sde(lambda values: values[:-1])
    with pytest.raises(ModelError, match=r"ema\.shadow_params has (\d+) tensors.*--entry model\.module"):
        read_weights(saved(content))
    content, _ = score_sde(lambda values: values[::-1])
    with pytest.raises(ModelError, match=r"does not follow the order.*all_modules\.1\.weight"):
        read_weights(saved(content))


@pytest.mark.parametrize("rates", [[0.99, 0.9999], "0.99,0.9999"])
def test_of_several_averages_the_slowest_is_taken(saved: Callable[[Any], Path], rates: Any) -> None:
    content = {"model": RAW, "ema_params": [trained(RAW), trained(EMA)], "ema_rate": rates}
    weights = read_weights(saved(content))
    assert weights.entry == "ema_params.1"
    assert same(weights.tensors, EMA | {name: RAW[name] for name in UNTRAINED})
    del content["ema_rate"]
    with pytest.raises(ModelError, match=r"several averages.*ema_params\.0, ema_params\.1"):
        read_weights(saved(content))
    assert same(read_weights(saved(content), entry="ema_params.0").tensors, RAW)


def test_safetensors_files_are_read_too(tmp_path: Path) -> None:
    save_file(RAW, tmp_path / "published.safetensors")
    assert same(read_weights(tmp_path / "published.safetensors").tensors, RAW)


def test_every_misfit_is_told(saved: Callable[[Any], Path]) -> None:
    score = state(SCORE)
    del score["all_modules.8.GroupNorm_0.bias"]
    score |= {"all_modules.6.Conv2d_0.bias": torch.zeros(99), "head.weight": torch.zeros(2)}
    with pytest.raises(ModelError) as told:
        read_weights(saved(score))
    for words in (
        "looks like ncsnpp (channels [8, 12], blocks 1",
        "all_modules.8.GroupNorm_0.bias is missing",
        "all_modules.6.Conv2d_0.bias has the shape (99,), the network (8,)",
        "head.weight is no part of the network",
    ):
        assert words in str(told.value)


def test_an_unknown_layout_is_told_and_may_be_described(saved: Callable[[Any], Path]) -> None:
    architecture = {"kind": "unet2d", "channels": [8, 16], "embedding": 8}
    path = saved({"net": state(architecture)})
    with pytest.raises(ModelError, match=r"net\.embedding\.layers\.0\.weight.* of no layout that is known"):
        read_weights(path)
    weights = read_weights(path, architecture)
    assert (weights.architecture, weights.entry) == (architecture, "net")
    with pytest.raises(ModelError, match=r"looks like unet2d .*has the shape"):
        read_weights(path, {**architecture, "channels": [8, 24]})


def test_settings_that_shapes_do_not_show_may_be_given(saved: Callable[[Any], Path]) -> None:
    adm = {"kind": "adm", "channels": [32], "blocks": 1, "attention": [], "image_channels": 1, "out_channels": 2}
    path = saved(state({**adm, "head_channels": 16}))
    assert read_weights(path, {"head_channels": 16}).architecture == {**adm, "head_channels": 16}


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_files_that_would_run_code_are_refused(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    for content in (nn.Conv2d(1, 1, 3), {"state_dict": RAW, "hyper_parameters": Bomb(tmp_path / "ran")}):
        with pytest.raises(
            ModelError, match=r"published\.pt holds more than tensors.*would run code \((torch|posix)"
        ) as told:
            read_weights(saved(content))
        assert "save the weights alone" in str(told.value)
    torch.save(Bomb(tmp_path / "ran"), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"would run code \(posix\.mkdir\)"):
        read_weights(tmp_path / "old.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [b"", b"no weights", b"PK\x03\x04 cut"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files_are_told(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="not a readable"):
        read_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_whatever_is_damaged_one_sentence_says_it(tmp_path: Path, zipped: bool) -> None:
    """Bytes overwritten at random: the reader stumbles over many things, the person reads one."""
    path, random = tmp_path / "damaged.pt", np.random.default_rng(0)
    torch.save({"state_dict": state(CHAIN), "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    whole, faults = np.frombuffer(path.read_bytes(), np.uint8), 0
    for _ in range(60):
        data = whole.copy()
        data[random.integers(0, min(len(data), 900), 4)] = random.integers(0, 256, 4)
        path.write_bytes(data.tobytes())
        try:
            read_weights(path)
        except ModelError:
            faults += 1
    assert faults > 20


def test_files_without_weights_are_told(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found none"):
        read_weights(tmp_path / "nothing.pt")
    with pytest.raises(ModelError, match="no named tensors"):
        read_weights(saved([torch.zeros(2)]))
    with pytest.raises(ModelError, match="no named tensors in 'mode'"):
        read_weights(saved({"model": RAW}), entry="mode")
