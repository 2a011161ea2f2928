"""Our side of the rows of `scripts/peers.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from peers_child import serve

import recon3d

Data = Mapping[str, Any]


def _projector(data: Data) -> Any:
    from operators.tomography import ImageGrid, Projector, TomographyGeometry

    slices, side, _ = data["image"].shape
    geometry = TomographyGeometry.parallel(data["angles"], int(data["columns"]), n_rows=slices)
    return Projector(geometry, ImageGrid((slices, side, side), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))


def forward(data: Data) -> Callable[[], Any]:
    A, x = _projector(data), torch.from_numpy(data["image"])
    return lambda: A(x).numpy()


def back(data: Data) -> Callable[[], Any]:
    A, y = _projector(data), torch.from_numpy(data["sinogram"])
    return lambda: A.H(y).numpy()


def fbp(data: Data) -> Callable[[], Any]:
    from operators.tomography import filtered_backprojection

    A, y = _projector(data), torch.from_numpy(data["sinogram"])
    return lambda: filtered_backprojection(A, y).numpy()


def tv(data: Data) -> Callable[[], Any]:
    from recon3d.solvers.total_variation import IN_PLANE, tv_prox

    x = torch.from_numpy(data["noisy"])
    return lambda: tv_prox(x, float(data["weight"]), IN_PLANE, 100).numpy()


def espirit(data: Data) -> Callable[[], Any]:
    from operators.mri.espirit import espirit as calibrate

    kspace, side = torch.from_numpy(data["kspace"]), data["kspace"].shape[-1]
    centre = slice(side // 2 - 12, side // 2 + 12)
    return lambda: calibrate(kspace[:, centre, centre].contiguous(), (side, side), kernel=6)[0].numpy()


def _encoding(data: Data) -> Any:
    from operators.mri import CartesianEncoding

    mask = torch.from_numpy(data["mask"])
    A = CartesianEncoding(torch.from_numpy(data["maps"])[:, None], mask)
    return A, torch.from_numpy(data["kspace"] * data["mask"])[:, None]


def sense(data: Data) -> Callable[[], Any]:
    from recon3d.solvers.cg import conjugate_gradient

    A, y = _encoding(data)
    gram = A.gram

    def solve() -> Any:
        return conjugate_gradient(lambda p: gram(p).add_(p, alpha=1e-3), A.H(y), max_steps=30, rtol=0).x[0].numpy()

    return solve


def wavelet(data: Data) -> Callable[[], Any]:
    from recon3d.grid import AffineGrid
    from recon3d.noise import NoiseModel
    from recon3d.problem import Problem

    A, y = _encoding(data)
    problem = Problem(y, A, NoiseModel(), AffineGrid.centred(A.domain.shape, 1.0), kind="mri")
    return lambda: recon3d.reconstruct(problem, "l1_wavelet").volume.data[0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = {
        "CT forward": forward, "CT back": back, "FBP": fbp, "TV denoising": tv, "ESPIRiT": espirit, "SENSE-CG": sense,
        "L1-wavelet": wavelet,
    }  # fmt: skip
    serve(rows, f"recon3d {recon3d.__version__}, NumPy {np.__version__}, torch {torch.__version__}")
