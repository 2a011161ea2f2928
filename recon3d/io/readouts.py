"""Raw readouts, one line of k-space each with its counters, sorted into the k-space of a Scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

COUNTERS = ("slice", "contrast", "phase", "repetition", "set", "average")
_SERIES = ("contrast", "phase", "repetition", "set")


@dataclass(frozen=True, eq=False)
class Readouts:
    """What a raw file holds, before it is sorted.

    Parameters
    ----------
    samples : complex (readout, coil, sample), the echo at `sample` // 2, oversampling still in
    line, partition : positions in k-space along ky and kz, with the centre at shape // 2
    counters : one number per readout for each name of `COUNTERS`
    shape : (kz, ky, kx) of k-space; kx counts the samples
    fov_mm : (z, y, x) of the encoded field of view, oversampling included
    recon_columns : columns that are kept of the oversampled readout, in image space
    noise : readouts without signal, (coil, sample), or None
    calibration : readouts that are for calibration only, with their lines and partitions, or None
    affine : world position of the voxels after oversampling is removed, or None where the file does not say
    """

    samples: NDArray[np.complex64]
    line: NDArray[np.int64]
    partition: NDArray[np.int64]
    counters: Mapping[str, NDArray[np.int64]]
    shape: tuple[int, int, int]
    fov_mm: tuple[float, float, float]
    recon_columns: int
    noise: NDArray[np.complex64] | None = None
    calibration: Readouts | None = None
    affine: Any = None
    name: str = "scan"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def scan(
        self, *, prewhiten: bool = False, select: Mapping[str, int] | None = None, three: bool | None = None
    ) -> Scan:
        """The readouts as k-space (coil, kz, ky, kx), or (t, coil, kz, ky, kx) for a series.

        Repeated lines are averaged. Slices lie on the second axis of a 2D scan.

        Parameters
        ----------
        prewhiten : make the coils' noise white with the noise scan of the file
        select : one number for each counter that counts more than one thing and is not to become the series axis
        """
        chosen = dict(select or {})
        unknown = sorted(set(chosen) - set(COUNTERS))
        if unknown:
            raise InputError(f"There is no counter '{unknown[0]}': select some of {', '.join(COUNTERS)}.")
        keep = np.ones(len(self.samples), bool)
        for name, value in chosen.items():
            keep &= self.counters[name] == value
        if not keep.any():
            raise InputError(f"'{self.name}' has no readout with {chosen}: look at the file with `recon3d inspect`.")
        several = [n for n in _SERIES if len(np.unique(self.counters[n][keep])) > 1]
        if len(several) > 1:
            counts = ", ".join(f"{n} ({len(np.unique(self.counters[n][keep]))})" for n in several)
            raise InputError(
                f"'{self.name}' counts {counts}: choose one number of all but one, e.g. select={{'{several[0]}': 0}}."
            )
        is_3d = self.shape[0] > 1
        slices, z = np.unique(self.counters["slice"][keep], return_inverse=True)
        if is_3d and len(slices) > 1:
            raise InputError(
                f"'{self.name}' holds {len(slices)} slabs of a 3D scan: select one, e.g. select={{'slice': 0}}."
            )
        frames, t = (
            np.unique(self.counters[several[0]][keep], return_inverse=True)
            if several
            else (np.zeros(1), np.zeros(keep.sum(), int))
        )
        planes = self.shape[0] if is_3d else len(slices)
        data = self._sorted(keep, t, self.partition[keep] if is_3d else z, len(frames), planes)
        acquisition: dict[str, Any] = {"encoding": "3d" if is_3d else "2d"}
        if self.calibration is not None and not is_3d:
            extra = self.calibration
            where = np.searchsorted(slices, extra.counters["slice"]).clip(max=len(slices) - 1)
            every = np.ones(len(extra.samples), bool)
            reference = extra._sorted(every, np.zeros(len(every), int), where, 1, planes)[0]
            acquisition["calibration"] = _filled_centre(reference, self.name)
        noise: dict[str, Any] = {}
        if prewhiten:
            data, acquisition = self._whitened(data, acquisition)
            noise = {"std": 1.0}
        data = self._cropped(data)
        if "calibration" in acquisition:
            acquisition["calibration"] = self._cropped(acquisition["calibration"])
        if len(frames) == 1:
            data = data[0]
        grid = self._grid(planes)
        axes = ("coil", "kz", "ky", "kx")
        return Scan("mri", data, axes if len(frames) == 1 else ("t", *axes), acquisition, grid, noise, name=self.name)

    def _sorted(
        self, keep: NDArray[np.bool_], t: NDArray[Any], z: NDArray[Any], frames: int, planes: int
    ) -> NDArray[np.complex64]:
        """K-space (t, coil, kz, ky, kx), repeated lines averaged by count."""
        samples, line = self.samples[keep], self.line[keep]
        for name, positions, length in (("ky", line, self.shape[1]), ("kz", z, planes)):
            if positions.size and (positions.min() < 0 or positions.max() >= length):
                raise InputError(
                    f"'{self.name}' has lines {positions.min()} to {positions.max()} along {name}, its header says "
                    f"{length} lines: the header and the data disagree."
                )
        data = np.zeros((frames, planes, self.shape[1], samples.shape[1], samples.shape[2]), np.complex64)
        count = np.zeros((frames, planes, self.shape[1]), np.float32)
        np.add.at(count, (t, z, line), 1)
        for i in range(len(samples)):
            data[t[i], z[i], line[i]] += samples[i]
        data /= np.maximum(count, 1)[..., None, None]
        return np.ascontiguousarray(data.transpose(0, 3, 1, 2, 4))

    def _whitened(self, data: NDArray[Any], acquisition: dict[str, Any]) -> tuple[NDArray[Any], dict[str, Any]]:
        import torch

        from operators.mri.coils import noise_covariance, whitening_matrix

        if self.noise is None:
            raise InputError(f"'{self.name}' has no noise scan, so coils cannot be prewhitened: leave prewhiten out.")
        matrix = whitening_matrix(noise_covariance(torch.from_numpy(self.noise).to(torch.complex128))).numpy()
        matrix = matrix.astype(np.complex64)
        changed = dict(acquisition)
        if "calibration" in changed:
            changed["calibration"] = np.ascontiguousarray(np.tensordot(matrix, changed["calibration"], axes=1))
        return np.ascontiguousarray(np.moveaxis(np.tensordot(matrix, data, axes=(1, 1)), 0, 1)), changed

    def _cropped(self, data: NDArray[Any]) -> NDArray[Any]:
        import torch

        from operators.mri.kspace import remove_oversampling

        if self.recon_columns >= data.shape[-1]:
            return data
        measured = (data != 0).any(-1, keepdims=True)  # a row that was not measured stays exactly zero
        cropped = remove_oversampling(torch.from_numpy(data), -1, self.recon_columns).numpy()
        return np.where(measured, cropped, np.complex64(0))

    def _grid(self, planes: int) -> AffineGrid:
        columns = min(self.recon_columns, self.samples.shape[2])
        shape = (planes, self.shape[1], columns)
        if self.affine is not None:
            return AffineGrid(shape, self.affine)
        z, y, x = self.fov_mm
        voxel = (z / max(1, self.shape[0]), y / self.shape[1], x / self.samples.shape[2])
        return AffineGrid.centred(shape, voxel)


def _filled_centre(reference: NDArray[Any], name: str) -> NDArray[Any]:
    """The gapless lines around the centre of calibration data (coil, z, ky, kx)."""
    measured = (reference != 0).any(axis=(0, 1, 3))
    centre = len(measured) // 2
    half = 0
    while half < centre and measured[centre - half - 1] and centre + half < len(measured) and measured[centre + half]:
        half += 1
    if half == 0:
        raise InputError(f"The calibration lines of '{name}' do not cover the centre of k-space: check the header.")
    return np.ascontiguousarray(reference[:, :, centre - half : centre + half])
