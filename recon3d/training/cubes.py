"""A bank of drawn seismic cubes on disk, their gaps filled by a first guess, and patches from it.

A patch depends on (seed, step, item) alone.
"""

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

from operators.seismic import trace_mask
from recon3d.solvers.gaps import first_guess
from recon3d.synthetic.seismic import layered_cube
from recon3d.training.interpolation_config import CubeData

STEP = 2.0**-11
"""One count of the int16 bank in units of the root mean square of a cube: range -16 to 16."""


def prepare_cubes(data: CubeData, folder: Path, say: Callable[[str], None] = print) -> list[Path]:
    """Draw the cubes that are missing in the bank and return the files of all; other settings have other folders."""
    recipe = data.model_dump(mode="json", include={"shape", "survey", "first_seed", "missing", "masks"})
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    home = folder / f"cubes-{key}"
    home.mkdir(parents=True, exist_ok=True)
    files = [home / f"{index:06d}.npz" for index in range(data.count)]
    jobs = [(data, k, path) for k, path in enumerate(files) if not path.exists()]
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
    torch.set_num_threads(1)


def _draw(job: tuple[CubeData, int, Path]) -> None:
    """One cube, of unit root mean square on its live traces, its mask and the first guess."""
    data, index, path = job
    cube = layered_cube(data.shape, data.first_seed + index).data
    rng = np.random.default_rng([data.first_seed + index, 0x3A5C])
    live = _mask(data, rng)
    cube = cube / max(float(np.sqrt(np.mean(cube[live] ** 2))), 1e-3)
    mask = torch.from_numpy(live)[..., None].float()
    guess = first_guess(torch.from_numpy(cube) * mask, mask).numpy()
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez(file, cube=_counts(cube), guess=_counts(guess), live=live)
    temporary.replace(path)


def _mask(data: CubeData, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The part of a survey's mask that a cube sees, with some traces live and some missing."""
    families, shares = list(data.masks), np.array(list(data.masks.values()))
    while True:
        family = families[int(rng.choice(len(families), p=shares / shares.sum()))]
        whole = trace_mask(family, data.survey, rng.uniform(*data.missing), rng)
        x, y = (int(rng.integers(n - side + 1)) for n, side in zip(data.survey, data.shape[:2], strict=True))
        live = whole[x : x + data.shape[0], y : y + data.shape[1]]
        if live.any() and not live.all():
            return live


def _counts(cube: NDArray[np.floating]) -> NDArray[np.int16]:
    return np.clip(np.rint(cube / STEP), -32768, 32767).astype(np.int16)


def read_cube(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Cube and first guess (x, y, t) of unit root mean square, and the live traces (x, y)."""
    with np.load(path, allow_pickle=False) as file:
        cube, guess = (file[name].astype(np.float32) * np.float32(STEP) for name in ("cube", "guess"))
        return cube, guess, file["live"]


class CubePatches:
    """Augmented patches of a bank."""

    def __init__(self, files: list[Path], data: CubeData, seed: int) -> None:
        self.files, self.data, self.seed = files, data, seed

    def batch(self, step: int, part: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Cubes, first guesses and live samples (1 or 0) of a training step, each (batch, x, y, t)."""
        patches = self.data.patches
        *sides, count = patches[int(np.random.default_rng([self.seed, step, 1]).integers(len(patches)))]
        items = [self.item(step, part * count + k, (sides[0], sides[1], sides[2])) for k in range(count)]
        cubes, guesses, live = (torch.stack(list(parts)) for parts in zip(*items, strict=True))
        return cubes, guesses, live

    def item(self, step: int, item: int, sides: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """A patch in which some traces are missing, turned, flipped and scaled."""
        rng = np.random.default_rng([self.seed, step, 2, item])
        while True:
            cube, guess, live = read_cube(self.files[int(rng.integers(len(self.files)))])
            starts = [int(rng.integers(n - side + 1)) for n, side in zip(cube.shape, sides, strict=True)]
            window = tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))
            if not live[window[:2]].all():
                break
        samples = np.broadcast_to(live[window[:2]][..., None], sides).astype(np.float32)
        factor = np.float32(np.exp(rng.uniform(*np.log(self.data.scale))) * rng.choice((-1.0, 1.0)))
        parts = [factor * cube[window], factor * guess[window], samples]
        flipped = tuple(axis for axis in range(3) if rng.random() < 0.5)
        parts = [np.flip(part, flipped) for part in parts]
        if sides[0] == sides[1] and rng.random() < 0.5:
            parts = [part.swapaxes(0, 1) for part in parts]
        cube, guess, samples = (np.ascontiguousarray(part) for part in parts)
        return torch.from_numpy(cube), torch.from_numpy(guess), torch.from_numpy(samples)
