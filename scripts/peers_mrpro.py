"""MRpro's side: iterative SENSE with its operators and its conjugate gradients, as its examples build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import torch
from peers_child import serve

# PyPI's torchvision is built for CUDA; beside a torch without it, it asks for these two operators when it is imported.
_missing = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _missing.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from mrpro.algorithms.optimizers import cg  # noqa: E402
from mrpro.data import KTrajectory, SpatialDimension  # noqa: E402
from mrpro.operators import FourierOp, SensitivityOp  # noqa: E402

Data = Mapping[str, Any]


def sense(data: Data) -> Callable[[], Any]:
    """Only the measured lines are held, with the trajectory that says which they are."""
    side = data["kspace"].shape[-1]
    lines = torch.from_numpy(data["mask"]).flatten().nonzero().flatten()
    assert data["mask"].shape[-1] == side  # columns are measured or not: y is along the readout here
    places = torch.arange(side) - side // 2
    traj = KTrajectory(
        kz=torch.zeros(1, 1, 1, 1, 1),
        ky=places[None, None, None, None, :].float(),
        kx=places[lines][None, None, None, :, None].float(),
    )
    size = SpatialDimension(1, side, side)
    maps = torch.from_numpy(data["maps"])[None, :, None]
    A = FourierOp(size, size, traj) @ SensitivityOp(maps)
    y = torch.from_numpy(data["kspace"])[:, :, lines].swapaxes(-1, -2)[None, :, None].contiguous()
    (b,) = A.H(y)
    normal = A.gram

    def solve() -> Any:
        (x,) = cg(lambda p: (normal(p)[0] + 1e-3 * p,), b, max_iterations=30, tolerance=0.0)
        return x[0, 0, 0].numpy()

    return solve


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve({"SENSE-CG": sense}, f"MRpro {version('mrpro')}")
