"""A published diffusion or score network as a denoiser: asked in its own noise coordinates, answered in ours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recon3d.priors.noise import Prediction, Schedule, to_x0


class PredictionDenoiser(nn.Module):
    """``E[x0 | x0 + sigma n]`` from a network that is asked at ``a(t) x`` and t, where ``b(t) / a(t) = sigma``.

    Times between the training times are asked as they are (float). Answers with more channels than the image have the
    learned variance in the rest, which is dropped.

    Parameters
    ----------
    network : (x_t, t (batch,)) -> prediction, on (batch, channel, ...)
    """

    def __init__(self, network: nn.Module, schedule: Schedule, predicts: Prediction) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule
        self.predicts = predicts

    def forward(self, x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        """x (batch, channel, ...), sigma (batch,) -> E[x0 | x] of the shape and dtype of x."""
        times = [self.schedule.time(s) for s in sigma.tolist()]
        per_image = (len(times),) + (1,) * (x.ndim - 1)
        a, b = (x.new_tensor([f(t) for t in times]).reshape(per_image) for f in (self.schedule.a, self.schedule.b))
        x_t = a * x
        asked = x_t if condition is None else torch.cat([x_t, condition], dim=1)
        answer = self.network(asked, x.new_tensor(times))[:, : x.shape[1]]
        return to_x0(self.predicts, answer.to(x.dtype), x_t, a, b)
