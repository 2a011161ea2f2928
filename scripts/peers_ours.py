"""Our side of the rows of `scripts/peers.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from peers_child import serve

import recon3d

Data = Mapping[str, Any]
WAVELET_WEIGHT = 1.6e-2
"""Best of those tried with the truth in hand (1, 2, 4, ... times 1e-3), as for SigPy."""


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
    return lambda: recon3d.reconstruct(problem, "l1_wavelet", weight=WAVELET_WEIGHT).volume.data[0]


def few_views(data: Data) -> tuple[Any, Any]:
    """Eight views of a body as a problem, and the shipped prior."""
    from recon3d.grid import AffineGrid
    from recon3d.priors import load_model
    from recon3d.volume import Volume

    body = Volume(data["body"], AffineGrid.centred(data["body"].shape, 3.0), units="HU")
    scan = recon3d.simulate(body, {"views": 8}, noise={"photons": 1e6}, seed=5)
    return recon3d.problem_for(scan), load_model("ct-axial")


def dds(data: Data) -> Callable[[], Any]:
    problem, prior = few_views(data)

    def run() -> Any:
        result = recon3d.reconstruct(problem, "dds", models={"prior": prior}, steps=100)
        return result.volume.data, 100

    return run


def das(data: Data) -> Callable[[], Any]:
    from operators.ultrasound import BornModel, Transmits, linear_array
    from recon3d.beams import image_grid, points_mm

    grid = image_grid((-19.0, 19.0), (5.0, 45.0), (0.2, 0.3))
    A = BornModel(
        grid.shape, points_mm(grid), linear_array(128, 0.3), Transmits.plane(data["transmit_angles"]),
        samples=data["channels"].shape[-1], sampling_hz=20e6, first_sample_s=0.0, centre_hz=5e6, demodulation_hz=5e6,
        slowness_s_mm=1e-3 / 1540, f_number=1.5, window="boxcar", interpolation="linear",
    )  # fmt: skip
    y = torch.from_numpy(data["channels"])
    return lambda: np.abs(A.H(y).numpy()).reshape(data["points"].shape[:2])


def metrics(data: Data) -> Callable[[], Any]:
    """Four numbers as they are published; ours also measures inside the anatomy, at the same time."""
    from recon3d.evaluation.fastmri import score

    def run() -> Any:
        official = score(data["guess"], data["target"]).official
        return np.array([official.mse, official.nmse, official.psnr_db, official.ssim])

    return run


def convert(data: Data) -> Callable[[], Any]:
    from pathlib import Path
    from tempfile import mkdtemp

    import nibabel

    from recon3d.io.convert import convert as converted

    target = Path(mkdtemp()) / "volume.nii"

    def run() -> Any:
        converted(str(data["series"]), target, overwrite=True)
        return nibabel.as_closest_canonical(nibabel.load(target)).get_fdata()

    return run


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = {
        "CT forward": forward, "CT back": back, "FBP": fbp, "TV denoising": tv, "ESPIRiT": espirit, "SENSE-CG": sense,
        "L1-wavelet": wavelet, "DDS and DiffPIR": dds, "DDS and DPS": dds, "DAS": das, "fastMRI metrics": metrics,
        "DICOM to NIfTI": convert,
    }  # fmt: skip
    serve(rows, f"recon3d {recon3d.__version__}, NumPy {np.__version__}, torch {torch.__version__}")
