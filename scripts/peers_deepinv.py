"""deepinv's side: its parallel-beam physics (a rotation and a sum), its FBP, and DiffPIR and DPS with our network.

The samplers get our operator and our data as a `LinearPhysics`, and our shipped prior as a denoiser of images from 0 to
1, so that the method alone differs; recon3d and what it needs must then be importable there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers_child import serve

# PyPI's torchvision is built for CUDA; beside a torch without it, it asks for these two operators when it is imported.
_missing = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _missing.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import deepinv  # noqa: E402

Data = Mapping[str, Any]
LAMBDA, ZETA, SIGMA = 7.0, 1.0, 0.3
"""Of DiffPIR, best of those tried on two slices of another body; sigma in units of the noise of the data."""
WEIGHT = 100.0
"""Of DPS, as well."""


def _physics(data: Data) -> tuple[Any, torch.Tensor]:
    image = torch.from_numpy(data["image"])[:, None]
    degrees = torch.from_numpy(np.rad2deg(data["angles"])).float()
    return deepinv.physics.Tomography(degrees, image.shape[-1], circle=False, normalize=False), image


def forward(data: Data) -> Callable[[], Any]:
    physics, image = _physics(data)
    return lambda: physics.A(image).numpy()


def back(data: Data) -> Callable[[], Any]:
    physics, image = _physics(data)
    y = physics.A(image)
    return lambda: physics.A_adjoint(y).numpy()


def fbp(data: Data) -> Callable[[], Any]:
    physics, image = _physics(data)
    y = physics.A(image)
    return lambda: physics.fbp(y)[:, 0].numpy()


class Counted(torch.nn.Module):
    """Our prior as deepinv calls denoisers: images (slice, 1, y, x) and one sigma."""

    calls = 0
    """Of all instances: DPS takes copies."""

    def __init__(self, prior: Any) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: torch.Tensor, sigma: Any, *arguments: Any, **options: Any) -> torch.Tensor:
        Counted.calls += 1
        sigma = min(float(torch.as_tensor(sigma).flatten()[0]), self.prior.card.sigma_max)
        return self.prior.denoise(x[:, 0], sigma)[:, None]


def few_views(data: Data) -> tuple[Any, torch.Tensor, Counted, Any]:
    """The physics and data of `peers_ours.few_views` as (slice, 1, view, column), and the prior."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    import peers_ours

    problem, prior = peers_ours.few_views(data)
    task = problem.normalised(problem.normalization_from(prior.normalization, prior.card.units))
    physics = deepinv.physics.LinearPhysics(
        A=lambda x, **_: task.A(x[:, 0].float()).movedim(1, 0)[:, None],
        A_adjoint=lambda y, **_: task.A.H(y[:, 0].float().movedim(0, 1).contiguous())[:, None],
    )
    return physics, task.y.movedim(1, 0)[:, None], Counted(prior), task


def sampled(data: Data, make: Callable[[Counted, float], Any]) -> Callable[[], Any]:
    physics, y, denoiser, task = few_views(data)
    card = denoiser.prior.card

    def run() -> Any:
        Counted.calls = 0
        torch.manual_seed(0)
        image = make(denoiser, task.noise_std)(y, physics)
        return card.normalization.invert(image[:, 0].float()).numpy(), Counted.calls

    return run


def diffpir(data: Data) -> Callable[[], Any]:
    fit = deepinv.optim.data_fidelity.L2()
    return sampled(data, lambda net, noise: deepinv.sampling.DiffPIR(net, fit, SIGMA * noise, 100, ZETA, LAMBDA))


def dps(data: Data) -> Callable[[], Any]:
    return sampled(data, lambda net, _: deepinv.sampling.DPS(net, num_steps=100, weight=WEIGHT))


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = {"CT forward": forward, "CT back": back, "FBP": fbp, "DDS and DiffPIR": diffpir, "DDS and DPS": dps}
    serve(rows, f"deepinv {version('deepinv')}")
