"""What a training shows: PSNR by sigma, the loss curve, denoised slices and drawn samples as PNG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.slices import apply_to_slices, from_channels, to_channels


def denoise(denoiser: EDMDenoiser, images: Tensor, sigma: float, dtype: torch.dtype | None) -> Tensor:
    """images (batch, channel, y, x) -> E[x0 | x]."""
    multiple: int = denoiser.network.multiple  # type: ignore[assignment]
    slices = from_channels(images, complex_image=images.shape[1] == 2)
    return to_channels(apply_to_slices(denoiser, slices, sigma, multiple=multiple, compute_dtype=dtype))


def noisy(images: Tensor, sigma: float) -> Tensor:
    """The same noise at every validation, so that numbers can be compared."""
    generator = torch.Generator().manual_seed(20)
    return images + sigma * torch.randn(images.shape, generator=generator).to(images)


def psnr_table(
    denoiser: EDMDenoiser, images: Tensor, sigmas: Sequence[float], dtype: torch.dtype | None
) -> dict[float, float]:
    """PSNR in dB with range 1 (normalised units), over all images together, per real channel."""
    table = {}
    for sigma in sigmas:
        error = denoise(denoiser, noisy(images, sigma), sigma, dtype) - images
        table[sigma] = -10 * float(torch.log10(error.double().square().mean()))
    return table


def sample(
    denoiser: EDMDenoiser, noise: Tensor, sigma_min: float, sigma_max: float, dtype: torch.dtype | None, steps: int = 30
) -> Tensor:
    """Images from noise, shape kept, by deterministic first-order steps on a rho = 7 grid (Karras et al. 2022)."""
    ramp = np.linspace(sigma_max ** (1 / 7), sigma_min ** (1 / 7), steps) ** 7
    x = denoiser.mean + sigma_max * noise
    for sigma, following in zip(ramp, [*ramp[1:], 0.0], strict=True):
        x0 = denoise(denoiser, x, float(sigma), dtype)
        x = x0 + (following / sigma) * (x - x0)
    return x


def draw_samples(
    denoiser: EDMDenoiser,
    sigma_min: float,
    sigma_max: float,
    path: Path,
    dtype: torch.dtype | None,
    *,
    window: tuple[float, float],
    channels: int,
    seed: int,
    side: int,
    device: torch.device,
) -> None:
    """Sixteen images of `side` pixels that the denoiser makes of noise alone, as a picture file."""
    noise = torch.randn((16, channels, side, side), generator=torch.Generator().manual_seed(seed)).to(device)
    panels = _panels(sample(denoiser, noise, sigma_min, sigma_max, dtype))
    draw_sheet(path, [panels[:8], panels[8:]], ["", ""], window)


def draw_denoising(
    denoiser: EDMDenoiser, images: Tensor, path: Path, dtype: torch.dtype | None, window: tuple[float, float]
) -> None:
    """Columns in pairs: noisy and denoised; the last row is the truth, twice."""
    rows, labels = [], []
    images = images[:4]
    for sigma in (0.05, 0.2, 1.0):
        given = noisy(images, sigma)
        found = denoise(denoiser, given, sigma, dtype)
        rows.append([panel for pair in zip(_panels(given), _panels(found), strict=True) for panel in pair])
        labels.append(f"sigma {sigma:g}: noisy, denoised")
    rows.append([panel for image in _panels(images) for panel in (image, image)])
    draw_sheet(path, rows, [*labels, "truth"], window)


def draw_loss(log: Path, path: Path, title: str = "weighted squared error") -> None:
    """The loss curve of a log.jsonl."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    points = [(record["step"], record["loss"]) for record in records if "loss" in record]
    figure, axes = _figure(6, 4)
    axes.plot(*zip(*points, strict=True) if points else ([], []))
    axes.set(xlabel="step", ylabel="loss", yscale="log", title=title)
    figure.savefig(path, dpi=100)


def _panels(images: Tensor) -> list[Tensor]:
    """What of each image (channel, y, x) is shown: its values, or its magnitude."""
    return list(images[:, 0] if images.shape[1] == 1 else torch.linalg.vector_norm(images, dim=1))


def draw_sheet(path: Path, rows: list[list[Tensor]], labels: list[str], window: tuple[float, float]) -> None:
    """Rows of panels (y, x) of one size, one label a row, black to white over `window`."""
    grid = torch.cat([torch.cat(list(row), dim=1) for row in rows]).cpu().numpy()
    figure, axes = _figure(grid.shape[1] / 100, grid.shape[0] / 100)
    axes.imshow(grid, cmap="gray", vmin=window[0], vmax=window[1])
    axes.set_axis_off()
    side = rows[0][0].shape[0]
    for row, label in enumerate(labels):
        axes.text(4, row * side + 10, label, color="yellow", fontsize=6)
    axes.set_position((0, 0, 1, 1))
    figure.savefig(path, dpi=100)


def _figure(width: float, height: float):  # type: ignore[no-untyped-def]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()
