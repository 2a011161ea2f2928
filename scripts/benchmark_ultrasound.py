"""Ultrasound: delay-and-sum against vectorised NumPy."""

from __future__ import annotations

import numpy as np
from benchmark_timing import median_seconds


def ultrasound() -> None:
    """Delay-and-sum against vectorised NumPy (whole image at once, one element and transmit after the other)."""
    import torch

    from operators.ultrasound import BornModel, Transmits, linear_array
    from recon3d.beams import image_grid, points_mm

    elements, rate, carrier = linear_array(128, 0.3), 20e6, 5e6
    transmits = Transmits.plane(np.deg2rad([-8.0, 0.0, 8.0]))
    grid = image_grid((-19.0, 19.0), (5.0, 45.0), (0.2, 0.3))
    A = BornModel(
        grid.shape, points_mm(grid), elements, transmits, samples=1400, sampling_hz=rate, first_sample_s=0.0,
        centre_hz=carrier, demodulation_hz=carrier, slowness_s_mm=1e-3 / 1540, f_number=1.5, window="boxcar",
        interpolation="linear",
    )  # fmt: skip
    y = A.range.random(torch.Generator().manual_seed(0))
    data, points = y.numpy(), A.points_mm
    there = transmits.times_s(points, A.slowness_s_mm, 0.3)

    def plain() -> np.ndarray:
        image = np.zeros(len(points), np.complex64)
        for e, element in enumerate(elements):
            back = np.sqrt(((points - element) ** 2).sum(axis=1)) * (1e-3 / 1540)
            seen = np.abs(points[:, 0] - element[0]) * 3.0 <= points[:, 2]
            for t in range(len(transmits)):
                place = ((there[t] + back) * rate).astype(np.float32)
                below = place.astype(np.int64)
                inside = seen & (below >= 1) & (below + 2 < data.shape[-1])
                below = np.where(inside, below, 0)
                part = place - below
                value = (1 - part) * data[t, e, below] + part * data[t, e, below + 1]
                image += inside * value * np.exp(2j * np.pi * (carrier / rate) * place)
        return image

    ours = A.H(y).numpy().ravel()
    difference = np.abs(ours - plain()).max() / np.abs(ours).max()
    mine, theirs = median_seconds(lambda: A.H(y), plain, repeats=3)
    print(f"{len(points)} points, 128 elements, 3 transmits: {mine * 1e3:.0f} ms, NumPy {theirs * 1e3:.0f} ms")
    print(f"ratio {theirs / mine:.1f}, largest difference {difference:.1e} of the brightest point")
