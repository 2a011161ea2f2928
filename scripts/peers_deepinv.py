"""deepinv's side: its parallel-beam physics (a rotation and a sum) and its FBP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from deepinv.physics import Tomography
from peers_child import serve

Data = Mapping[str, Any]


def _physics(data: Data) -> tuple[Any, torch.Tensor]:
    image = torch.from_numpy(data["image"])[:, None]
    degrees = torch.from_numpy(np.rad2deg(data["angles"])).float()
    return Tomography(degrees, image.shape[-1], circle=False, normalize=False), image


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
    return lambda: physics.A_dagger(y)[:, 0].numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve({"CT forward": forward, "CT back": back, "FBP": fbp}, f"deepinv {version('deepinv')}")
