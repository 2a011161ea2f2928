"""DDS that starts late, from the image of a feed-forward network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from operators.normalization import Normalization
from recon3d.errors import ConfigError, ModelError
from recon3d.grid import AffineGrid
from recon3d.methods import reconstruct
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem, problem_for
from recon3d.sampling.noise import counter_noise
from recon3d.synthetic.mri import simulate_mri
from recon3d.volume import Volume

SIGMA = 0.1


class Third(nn.Module):
    """A third of what was measured: an image that can be told from all others."""

    centred = True
    bytes_per_pixel = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1 / 3))

    def forward(self, kspace: Tensor, mask: Tensor, calibration: Tensor) -> Tensor:
        return self.weight * kspace


class Watching:
    """A denoiser that keeps what it is asked."""

    normalization = Normalization(scale=2.0)
    card = SimpleNamespace(units="1", mean=0.0, sigma_data=0.25, sigma_min=1e-3, sigma_max=5.0)

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, float]] = []

    def denoise(self, x: Tensor, sigma: Any, cond: Tensor | None = None) -> Tensor:
        self.asked.append((x.clone(), float(sigma)))
        return x


@pytest.fixture(scope="module")
def problem() -> Problem:
    data = np.zeros((2, 48, 48), np.float32)
    data[:, 10:38, 14:34] = np.linspace(1, 2, 20, dtype=np.float32)
    volume = Volume(data, AffineGrid.centred(data.shape, 2.0))
    return problem_for(simulate_mri(volume, coils=4, acceleration=3, centre_fraction=0.2))


def network() -> Reconstructor:
    card = ReconstructorCard(
        name="third", modality="MRI", voxel_mm=None, architecture={}, licence="Apache-2.0", patterns=("equispaced",),
        acceleration=(2, 5), centre=(0.05, 0.3), coils=(2, 8),
    )  # fmt: skip
    return Reconstructor(card, Third(), half=False)


def test_the_first_state_is_the_network_s_image_with_noise_of_the_first_level(problem: Problem) -> None:
    prior = Watching()
    settings = {"start": "supervised", "sigma_start": SIGMA, "steps": 3, "data": "cg"}
    reconstruct(problem, "dds", models={"prior": prior, "start": network()}, **settings)
    x, sigma = prior.asked[0]
    assert sigma == pytest.approx(SIGMA)
    assert len(prior.asked) == 3
    image = reconstruct(problem, "supervised", models={"reconstructor": network()}, combine="sense").volume.data
    key = {"seed": 0, "sample": 0, "step": -1, "stage": 0, "first_slice": 0}
    noise = counter_noise(problem.domain.shape, **key, dtype=problem.domain.dtype, device=torch.device("cpu"))
    expected = torch.from_numpy(image) / (2.0 * problem.image_scale) + SIGMA * noise
    assert (x - expected).abs().max() < 1e-5


def test_the_network_is_asked_for_only_where_it_starts(problem: Problem) -> None:
    reconstruct(problem, "dds", models={"prior": Watching()}, steps=1, data="cg")
    with pytest.raises(ConfigError, match=r"models.start: method 'dds' has the roles: prior\."):
        reconstruct(problem, "dds", models={"prior": Watching(), "start": network()}, steps=1)
    said = r"'dds' needs a reconstructor: give models=\{'start': \.\.\.\}, got a Watching"
    with pytest.raises(ModelError, match=said):
        reconstruct(problem, "dds", models={"prior": Watching(), "start": Watching()}, start="supervised", steps=1)
