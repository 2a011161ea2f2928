"""A bank of drawn seismic cubes on disk, and patches with masks that depend on (seed, step, item) alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.seismic import MASK_FAMILIES, trace_mask
from recon3d.synthetic.seismic import layered_cube
from recon3d.training.interpolation_config import CubeData

STEP = 2.0**-11
"""One count of the int16 bank in units of the root mean square of a cube: range -16 to 16."""

Shape = tuple[int, int, int]


def prepare_cubes(data: CubeData, folder: Path, say: Callable[[str], None] = print) -> list[Path]:
    """Draw the cubes that are missing in the bank and return the files of all; those of other settings lie elsewhere."""
    key = hashlib.sha256(json.dumps([data.shape, data.first_seed]).encode()).hexdigest()[:12]
    home = folder / f"cubes-{key}"
    home.mkdir(parents=True, exist_ok=True)
    files = [home / f"{index:06d}.npy" for index in range(data.count)]
    jobs = [(data.shape, data.first_seed + k, path) for k, path in enumerate(files) if not path.exists()]
    if jobs:
        say(f"bank: {len(jobs)} cubes to draw with {data.workers} worker(s)")
        if data.workers == 1:
            for job in jobs:
                _draw(job)
        else:
            with ProcessPoolExecutor(data.workers, mp_context=get_context("spawn"), initializer=_calm) as pool:
                list(pool.map(_draw, jobs))
    return files


def _calm() -> None:
    os.nice(10)


def _draw(job: tuple[Shape, int, Path]) -> None:
    shape, seed, path = job
    counts = np.clip(np.rint(layered_cube(shape, seed).data / STEP), -32768, 32767).astype(np.int16)
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, counts)
    temporary.replace(path)


class CubePatches:
    """Augmented patches of a bank with the mask of their live traces."""

    def __init__(self, files: list[Path], data: CubeData, seed: int) -> None:
        self.data, self.seed = data, seed
        self.cubes = [np.load(path, mmap_mode="r", allow_pickle=False) for path in files]

    def batch(self, step: int, part: int = 0) -> tuple[Tensor, Tensor]:
        """Cubes (batch, x, y, t) and live samples of the same shape, 1 or 0, of a training step."""
        patches = self.data.patches
        *sides, count = patches[int(np.random.default_rng([self.seed, step, 1]).integers(len(patches)))]
        items = [self.item(step, part * count + k, (sides[0], sides[1], sides[2])) for k in range(count)]
        return torch.stack([cube for cube, _ in items]), torch.stack([live for _, live in items])

    def item(self, step: int, item: int, sides: Shape) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, step, 2, item])
        cube = self.cubes[int(rng.integers(len(self.cubes)))]
        starts = [int(rng.integers(n - side + 1)) for n, side in zip(cube.shape, sides, strict=True)]
        window = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        patch = cube[window].astype(np.float32) * np.float32(STEP)
        live = self._mask(rng, cube.shape[:2])[window[:2]]
        while live.all() or not live.any():
            live = trace_mask("random", sides[:2], rng.uniform(*self.data.missing), rng)
        for axis in (0, 1, 2):
            if rng.random() < 0.5:
                patch = np.flip(patch, axis)
        if sides[0] == sides[1] and rng.random() < 0.5:
            patch = patch.swapaxes(0, 1)
        factor = float(np.exp(rng.uniform(*np.log(self.data.scale)))) * rng.choice((-1.0, 1.0))
        samples = np.broadcast_to(live[..., None], sides).astype(np.float32)
        if rng.random() < self.data.padded_share:
            samples[..., sides[2] - int(rng.integers(1, sides[2] // 4)) :] = 0.0
        return torch.from_numpy(np.ascontiguousarray(patch)) * factor, torch.from_numpy(samples)

    def _mask(self, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
        family = MASK_FAMILIES[int(rng.integers(len(MASK_FAMILIES)))]
        return trace_mask(family, shape, rng.uniform(*self.data.missing), rng)
