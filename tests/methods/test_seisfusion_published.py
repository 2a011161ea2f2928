"""The published form of SeisFusion: sizes of its two networks, and its sampler against the loop of the sheet."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import recon3d
import recon3d.methods.seisfusion_published as module
from operators.seismic import trace_mask
from recon3d.errors import ModelError
from recon3d.methods.samples import step_noise
from recon3d.priors import load_model
from recon3d.priors.cards import InterpolatorCard
from recon3d.priors.files import save_model
from recon3d.priors.interpolator import FusedInterpolator, network_of
from recon3d.priors.networks import build_network
from recon3d.problem import problem_for
from recon3d.run import SilentRun
from recon3d.synthetic.seismic import layered_cube
from recon3d.synthetic.seismic_masks import masked

SHAPE = (4, 8, 8)
CUBE = layered_cube(SHAPE, 4, family="folded")
LIVE = trace_mask("random", SHAPE[:2], 0.4, np.random.default_rng(0))
SMALL = {"kind": "fused_adm", "channels": [32, 32], "blocks": 1, "attention": [1], "head_channels": 32}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FusedInterpolator:
    """A small instance with random weights, from a file."""
    ranges = {"sigma_min": 0.01, "sigma_max": 2e4, "sigma_data": 1.0, "smallest_side": 1}
    card = InterpolatorCard(name="fused", modality="seismic", architecture=SMALL, licence="x", **ranges)
    torch.manual_seed(0)
    path: Path = tmp_path_factory.mktemp("model") / "fused.safetensors"
    save_model(path, card, network_of(card).eval())
    found: Any = load_model(path, half=False)
    assert isinstance(found, FusedInterpolator)
    return found


def test_two_networks_of_456_million() -> None:
    """The sizes of the sheet, section 3; halved are the last two axes alone."""
    with torch.device("meta"):
        network: Any = build_network({"kind": "fused_adm"})
    assert [sum(p.numel() for p in part.parameters()) for part in (network.noisy, network.traces)] == [455_992_322] * 2
    assert network.multiple == (1, 32, 32)


def test_fusion_adds_what_each_sees_alone(model: FusedInterpolator) -> None:
    x, traces, t = torch.randn(1, 1, *SHAPE), torch.randn(1, 1, *SHAPE), torch.tensor([7.0])
    network: Any = model.network
    with torch.no_grad():
        both = network(x, t, traces)
        torch.testing.assert_close(both, 0.5 * network.noisy(x, t) + 0.5 * network.traces(traces, t))
        change = network(x, t, traces + 1) - both
        torch.testing.assert_close(network(2 * x, t, traces + 1) - network(2 * x, t, traces), change, atol=1e-5, rtol=0)


def test_sampler_against_the_loop_of_the_sheet(model: FusedInterpolator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 4, line by line, for 16 levels and one climb: noise, clip, posterior mean, learned variance."""
    monkeypatch.setattr(module, "LEVELS", 16)
    problem = problem_for(masked(CUBE, LIVE))
    settings = {"mode": "published", "jump": 8, "repeats": 2}
    found = recon3d.reconstruct(problem, "seisfusion", models={"interpolator": model}, **settings).volume.data

    s = (np.arange(1001) / 1000 + 0.008) / 1.008
    bar = np.cos(s * np.pi / 2) ** 2
    abar = np.cumprod(1 - np.minimum(1 - bar[1:] / bar[:-1], 0.999))
    times = [round(k * 999 / 15) for k in range(16)]
    m = torch.from_numpy(LIVE)[..., None]
    peak = float(np.abs(CUBE.data[LIVE]).max())
    y = torch.where(m, torch.from_numpy(CUBE.data), 0.0) / peak
    walk = [*range(15, -1, -1), *range(1, 9), *range(7, -2, -1)]
    run = SilentRun()

    def ask(x: Tensor, t: int) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            answer = model.network(x[None, None], torch.tensor([float(t)]), y[None, None])[0]
        return answer[0], answer[1]

    x = step_noise(problem, run, 0, -1)
    for move, (k, following) in enumerate(pairwise(walk)):
        noise = step_noise(problem, run, 0, move)
        now = float(abar[times[k]])
        before = float(abar[times[k - 1]]) if k else 1.0
        beta = 1 - now / before
        if following > k:
            kept = float(abar[times[following]]) / now
            x = math.sqrt(kept) * x + math.sqrt(1 - kept) * noise
            continue
        if move:
            fresh = step_noise(problem, run, 0, move, stage=1)
            x = torch.where(m, math.sqrt(now) * y + math.sqrt(1 - now) * fresh, x)
        e, v = ask(x, times[k])
        x0 = ((x - math.sqrt(1 - now) * e) / math.sqrt(now)).clamp(-1, 1)
        mean = math.sqrt(before) * beta / (1 - now) * x0 + math.sqrt(1 - beta) * (1 - before) / (1 - now) * x
        if k:
            small = beta * (1 - before) / (1 - now)
            log_variance = (v + 1) / 2 * math.log(beta) + (1 - v) / 2 * math.log(small)
            mean = mean + (0.5 * log_variance).exp() * noise
        x = mean
    expected = torch.where(m, y, x).numpy() * peak
    np.testing.assert_allclose(found, expected, atol=2e-3 * peak)


def test_other_steps_are_refused(model: FusedInterpolator) -> None:
    with pytest.raises(ModelError, match=r"use method\.mode=published"):
        recon3d.reconstruct(problem_for(masked(CUBE, LIVE)), "seisfusion", models={"interpolator": model})
    assert model.configured(micro_batch=2).micro_batch == 2
    assert isinstance(model.configured(micro_batch=2), FusedInterpolator)
