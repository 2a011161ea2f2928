"""Networks of other families as denoisers, on priors whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from recon3d.priors.noise import EDM, VE, FlowMatching, Schedule, from_x0, sigma_at, vp_cosine, vp_linear
from recon3d.priors.prediction import PredictionDenoiser


class Answers(nn.Module):
    """A network that answers by a formula and keeps the times it was asked at."""

    def __init__(self, formula: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula
        self.asked: list[float] = []

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.asked += t.tolist()
        return self.formula(x, t)


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "velocity", "score"])
@pytest.mark.parametrize(
    "schedule", [VE(), EDM(), FlowMatching(), vp_linear(), vp_cosine()], ids=lambda schedule: type(schedule).__name__
)
def test_a_network_is_asked_at_sigma_b_over_a(schedule: Schedule, kind: str) -> None:
    """For a standard normal image E[x0 | x_t] = a x_t / (a^2 + b^2), so the denoiser is x / (1 + sigma^2)."""

    def ideal(x: Tensor, times: Tensor) -> Tensor:
        answers = []
        for image, t in zip(x, times.tolist(), strict=True):
            a, b = schedule.a(t), schedule.b(t)
            answers.append(from_x0(kind, a * image / (a * a + b * b), image, a, b))  # type: ignore[arg-type]
        return torch.stack(answers)

    denoiser = PredictionDenoiser(Answers(ideal), schedule, kind)  # type: ignore[arg-type]
    x = torch.linspace(-2, 2, 24, dtype=torch.float64).reshape(2, 1, 3, 4)
    sigma = torch.tensor([0.3, 5.0], dtype=torch.float64)
    torch.testing.assert_close(denoiser(x, sigma), x / (1 + sigma.square())[:, None, None, None])


def test_times_are_those_of_training_where_sigma_is_and_lie_between_elsewhere() -> None:
    network = Answers(lambda x, t: torch.zeros_like(x))
    schedule = vp_linear()
    between = (sigma_at(schedule, 20) * sigma_at(schedule, 21)) ** 0.5
    sigmas = torch.tensor([sigma_at(schedule, t) for t in (0, 20, 980)] + [between], dtype=torch.float64)
    PredictionDenoiser(network, schedule, "eps")(torch.zeros(4, 1, 2, 2, dtype=torch.float64), sigmas)
    assert network.asked == pytest.approx([0, 20, 980, 20.5], abs=1e-9)


def test_the_learned_variance_is_dropped_and_a_condition_is_handed_on() -> None:
    seen: list[Tensor] = []

    def twice(x: Tensor, t: Tensor) -> Tensor:
        seen.append(x)
        return torch.cat([torch.zeros_like(x[:, :2]), torch.full_like(x[:, :2], 9.0)], dim=1)

    x = torch.rand(3, 2, 4, 4)
    denoiser = PredictionDenoiser(Answers(twice), vp_linear(), "eps")
    torch.testing.assert_close(denoiser(x, torch.full((3,), 0.5)), x)  # no noise predicted
    condition = torch.rand(3, 1, 4, 4)
    denoiser(x, torch.full((3,), 0.5), condition)
    assert (seen[0].shape[1], seen[1].shape[1]) == (2, 3)
    torch.testing.assert_close(seen[1][:, 2:], condition)
