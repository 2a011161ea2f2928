"""Small files in the layout of fastMRI: ellipses seen by several coils, with header, target and attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS, RECON = 96, 52, 48
"""Readout with its oversampling, lines, and the side of the target."""

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{rows}</x><y>{columns}</y><z>3</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{recon}</x><y>{recon}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{recon}</x><y>{recon}</y><z>3</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{centre}</center>
</kspace_encoding_step_1></encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"""


def transform(x: NDArray[Any], inverse: bool) -> NDArray[Any]:
    """Centred and orthonormal over the last two axes."""
    turn = np.fft.ifft2 if inverse else np.fft.fft2
    return np.fft.fftshift(turn(np.fft.ifftshift(x, (-2, -1)), norm="ortho"), (-2, -1))


def write_fastmri(path: Path, seed: int, slices: int = 2, coils: int = 6, acquisition: str = "CORPD_FBK") -> None:
    """A fully sampled file with its target, in the tiny intensities of real ones."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.arange(ROWS) - ROWS // 2, np.arange(COLUMNS) - COLUMNS // 2, indexing="ij")
    image = np.zeros((slices, ROWS, COLUMNS), complex)
    for k in range(slices):
        image[k] += 0.6 * ((y / 20) ** 2 + (x / 17) ** 2 < 1)
        for _ in range(9):
            size, cy, cx = rng.uniform(2, 7), *rng.uniform(-11, 11, 2)
            image[k] += rng.uniform(0.1, 0.4) * (((y - cy) / size) ** 2 + ((x - cx) / size / 0.85) ** 2 < 1)
    image *= np.exp(0.4j * np.sin(x / 19 + y / 23))
    angles = 2 * np.pi * np.arange(coils) / coils
    maps = np.stack([np.exp(-((y - 24 * np.sin(a)) ** 2 + (x - 24 * np.cos(a)) ** 2) / 1100 + 1j * a) for a in angles])
    kspace = transform(maps[None] * image[:, None], inverse=False)
    kspace += 0.01 * (rng.normal(size=kspace.shape) + 1j * rng.normal(size=kspace.shape))
    kspace = (kspace * 1e-5).astype(np.complex64)
    target = np.sqrt((np.abs(transform(kspace, inverse=True)) ** 2).sum(1))
    top, left = (ROWS - RECON) // 2, (COLUMNS - RECON) // 2
    target = target[:, top : top + RECON, left : left + RECON].astype(np.float32)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        file["reconstruction_rss"] = target
        file["ismrmrd_header"] = HEADER.format(
            rows=ROWS, columns=COLUMNS, recon=RECON, last=COLUMNS - 1, centre=COLUMNS // 2
        ).encode()
        file.attrs.update(acquisition=acquisition, patient_id=f"p{seed}", max=target.max(), norm=np.linalg.norm(target))
