"""DDS that starts late, from the image of a feed-forward network."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from operators.normalization import Normalization
from recon3d.errors import ConfigError, ModelError
from recon3d.methods import reconstruct
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem
from recon3d.sampling.noise import counter_noise

SIGMA = 0.1


class Watching:
    """A denoiser that keeps what it is asked."""

    normalization = Normalization(scale=2.0)
    card = SimpleNamespace(units="1", mean=0.0, sigma_data=0.25, sigma_min=1e-3, sigma_max=5.0)

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, float]] = []

    def denoise(self, x: Tensor, sigma: Any, cond: Tensor | None = None) -> Tensor:
        self.asked.append((x.clone(), float(sigma)))
        return x


@pytest.fixture
def network(share_network: Callable[..., Reconstructor]) -> Reconstructor:
    return share_network(1 / 3)


def test_the_first_state_is_the_network_s_image_with_noise_of_the_first_level(
    mri_problem: Problem, network: Reconstructor
) -> None:
    prior = Watching()
    settings = {"start": "supervised", "sigma_start": SIGMA, "steps": 3, "data": "cg"}
    reconstruct(mri_problem, "dds", models={"prior": prior, "start": network}, **settings)
    x, sigma = prior.asked[0]
    assert sigma == pytest.approx(SIGMA)
    assert len(prior.asked) == 3
    image = reconstruct(mri_problem, "supervised", models={"reconstructor": network}, combine="sense").volume.data
    key = {"seed": 0, "sample": 0, "step": -1, "stage": 0, "first_slice": 0}
    noise = counter_noise(mri_problem.domain.shape, **key, dtype=mri_problem.domain.dtype, device=torch.device("cpu"))
    expected = torch.from_numpy(image) / (2.0 * mri_problem.image_scale) + SIGMA * noise
    assert (x - expected).abs().max() < 1e-5


def test_the_network_is_asked_for_only_where_it_starts(mri_problem: Problem, network: Reconstructor) -> None:
    reconstruct(mri_problem, "dds", models={"prior": Watching()}, steps=1, data="cg")
    with pytest.raises(ConfigError, match=r"models.start: method 'dds' has the roles: prior\."):
        reconstruct(mri_problem, "dds", models={"prior": Watching(), "start": network}, steps=1)
    said = r"'dds' needs a reconstructor: give models=\{'start': \.\.\.\}, got a Watching"
    with pytest.raises(ModelError, match=said):
        reconstruct(mri_problem, "dds", models={"prior": Watching(), "start": Watching()}, start="supervised", steps=1)
