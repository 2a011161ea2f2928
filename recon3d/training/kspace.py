"""Fully sampled slices of fastMRI files, undersampled anew each time: what depends on (seed, step, part) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operators.fourier import centred_fft, centred_ifft
from operators.mri.sampling import column_mask
from recon3d.errors import InputError
from recon3d.io import fastmri
from recon3d.io.leaderboard import read_expected, read_target, volume_files
from recon3d.training.reconstructor_config import KSpaceData, SamplingChoice


@dataclass(frozen=True, eq=False)
class Example:
    """A slice to learn from.

    Parameters
    ----------
    kspace : complex (coil, ky, kx), undersampled, without the readout's oversampling
    mask : bool (kx), the columns that were kept
    target : magnitude (y, x), the file's root sum of squares: the middle of the image of `kspace`
    """

    kspace: Tensor
    mask: Tensor
    target: Tensor


class KSpaceSlices:
    """The slices of every file in some folders.

    Raises
    ------
    InputError
        For a folder without files, or a file without target.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.files = [path for folder in folders for path in volume_files(folder).values()]
        self.counts = [read_expected(path).slices for path in self.files]
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Full k-space (coil, ky, kx) and target (y, x) of a slice, counted through all files."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        return read_slice(self.files[which], index - int(self._ends[which]) + self.counts[which])


def read_slice(path: Path, index: int) -> tuple[Tensor, Tensor]:
    """Full k-space (coil, ky, kx) and target (y, x) of one slice of a file."""
    scan = fastmri.read(path, slices=(index, index + 1))
    if "mask" in scan.acquisition:
        raise InputError(f"{path} is undersampled: train on fully sampled files.")
    kspace = torch.from_numpy(np.ascontiguousarray(scan.blocks[0][:, 0]))
    target = torch.from_numpy(read_target(path, slices=(index, index + 1)).data[0].astype(np.float32))
    if target.shape[0] > kspace.shape[-2] or target.shape[1] > kspace.shape[-1]:
        raise InputError(f"The target of {path} has {tuple(target.shape)} pixels, k-space {tuple(kspace.shape[-2:])}.")
    return kspace, target


def undersampled(kspace: Tensor, choice: SamplingChoice, seed: int | str) -> tuple[Tensor, Tensor]:
    """K-space with columns set to zero, and the mask (kx); a file name as seed gives fastMRI's mask of that file."""
    columns = column_mask(kspace.shape[-1], choice.acceleration, choice.centre_fraction, choice.pattern, seed)
    mask = torch.from_numpy(columns)
    return torch.where(mask, kspace, 0), mask


class Examples:
    """Training examples by (seed, step, part)."""

    def __init__(self, slices: KSpaceSlices, data: KSpaceData, seed: int) -> None:
        self.slices, self.data, self.seed = slices, data, seed

    def example(self, step: int, part: int) -> Example:
        random = np.random.default_rng([self.seed, step, 2, part])
        kspace, target = self.slices.read(int(random.integers(len(self.slices))))
        rows = self.data.rows[int(random.integers(len(self.data.rows)))]
        if rows is not None and rows < len(target):
            kspace, target = band(kspace, target, rows, int(random.integers(len(target) - rows + 1)))
        for dim in (-2, -1):
            if self.data.flip and kspace.shape[dim] == target.shape[dim] and random.random() < 0.5:
                kspace, target = mirrored(kspace, dim), mirrored(target, dim)
        choice = self.data.sampling[int(random.integers(len(self.data.sampling)))]
        kspace, mask = undersampled(kspace, choice, int(random.integers(2**32)))
        return Example(kspace, mask, target)


def band(kspace: Tensor, target: Tensor, rows: int, start: int) -> tuple[Tensor, Tensor]:
    """Some rows of the target, and k-space of these rows alone: exact, because the readout is fully sampled."""
    images = centred_ifft(kspace, (-2,))
    first = (images.shape[-2] - len(target)) // 2 + start
    return centred_fft(images.narrow(-2, first, rows), (-2,)), target[start : start + rows]


def mirrored(x: Tensor, dim: int) -> Tensor:
    """x mirrored about index n // 2 of an axis: of an image and of its centred k-space alike."""
    n = x.shape[dim]
    return x.flip(dim).roll(1 if n % 2 == 0 else 0, dim)
