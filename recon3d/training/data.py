"""Banks of normalised training volumes on disk, and patches from them that depend on (seed, step, item) alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from operators.normalization import Normalization
from recon3d.errors import ConfigError, InputError
from recon3d.training.config import Data, FolderSource, SyntheticSource
from recon3d.volume import Volume

STEP = 2.0**-14  # one count of the int16 bank in normalised units: range -2..2, finer than any sigma asked for

GENERATORS = {
    "anatomical-ct": "recon3d.synthetic.ct:anatomical_ct",
    "drawn-mr": "recon3d.synthetic.mri_anatomy:drawn_mr",
    "companded-tissue": "recon3d.synthetic.ultrasound:companded_tissue",
    "companded-haze": "recon3d.synthetic.ultrasound:companded_haze",
}
"""Built-in generators of training volumes by name, as "module:function"."""


@dataclass(frozen=True)
class Job:
    """One volume of the bank: what makes it, and the file that keeps it."""

    source: SyntheticSource | FolderSource
    index: int
    path: Path
    normalization: Normalization
    units: str
    complex_image: bool = False
    file: Path | None = None


def prepare_bank(
    data: Data,
    normalization: Normalization,
    units: str,
    folder: Path,
    say: Callable[[str], None] = print,
    *,
    complex_image: bool = False,
) -> list[list[Path]]:
    """Make what is missing of every source's volumes and return their files, one list a source.

    A file holds int16 counts of `STEP`, (z, y, x), or (z, 2, y, x) with real and imaginary part for complex images.

    A source has a folder of its own, named by a hash of its settings, so a changed setting never meets old volumes, and
    an interrupted run goes on where it stopped.
    """
    jobs = [_jobs(source, normalization, units, complex_image, folder) for source in data.sources]
    missing = [job for source in jobs for job in source if not job.path.exists()]
    if missing:
        say(f"bank: {len(missing)} volumes to make with {data.workers} worker(s)")
        if data.workers == 1:
            for job in missing:
                _make(job)
        else:
            context = get_context("spawn")  # torch and numba threads do not survive a fork
            with ProcessPoolExecutor(data.workers, mp_context=context, initializer=_calm) as pool:
                for count, _ in enumerate(pool.map(_make, missing), start=1):
                    if count % max(1, len(missing) // 10) == 0:
                        say(f"bank: {count} of {len(missing)}")
    return [[job.path for job in source] for source in jobs]


def _jobs(
    source: SyntheticSource | FolderSource, normalization: Normalization, units: str, complex_image: bool, folder: Path
) -> list[Job]:
    # `count` is left out of the key: a longer bank starts with the volumes of a shorter one.
    recipe = source.model_dump(mode="json", exclude={"count"})
    key = json.dumps([recipe, normalization.scale, normalization.offset], sort_keys=True)
    home = folder / f"{source.kind}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    files: list[Path | None]
    if isinstance(source, FolderSource):
        files = [*sorted(source.path.glob(f"**/{source.pattern}"))]
        if not files:
            raise ConfigError(f"Expected files {source.pattern} below {source.path}, found none.")
    else:
        files = [None] * source.count
    return [
        Job(source, index, home / f"{index:06d}.npy", normalization, units, complex_image, file)
        for index, file in enumerate(files)
    ]


def _calm() -> None:
    os.nice(10)
    torch.set_num_threads(1)


def _make(job: Job) -> None:
    if isinstance(job.source, SyntheticSource):
        volume = _draw(job.source, job.index)
    else:
        from recon3d.io import load

        loaded = load(job.file or "")
        if not isinstance(loaded, Volume):
            raise InputError(f"Expected a volume in {job.file}, got {type(loaded).__name__}; train on volumes.")
        volume = loaded
    if volume.units != job.units or np.iscomplexobj(volume.data) != job.complex_image:
        wanted = f"{'complex' if job.complex_image else 'real'} volumes in {job.units}"
        raise InputError(f"Expected {wanted}, got {volume.data.dtype} in {volume.units} ({job.file or 'drawn'}).")
    normalised = job.normalization.apply(np.asarray(volume.data))
    if job.complex_image:
        normalised = np.stack([normalised.real, normalised.imag], axis=-3)
    counts = np.clip(np.rint(normalised / STEP), -32768, 32767).astype(np.int16)
    job.path.parent.mkdir(parents=True, exist_ok=True)
    temporary = job.path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.save(file, counts)
    temporary.replace(job.path)


def _generator(name: str) -> Callable[..., Volume]:
    """The generator of that name: built in, or from a package's entry point in the group ``recon3d.generators``."""
    if name in GENERATORS:
        module, _, function = GENERATORS[name].partition(":")
        return getattr(import_module(module), function)  # type: ignore[no-any-return]
    points = {point.name: point for point in entry_points(group="recon3d.generators")}
    if name in points:
        return points[name].load()  # type: ignore[no-any-return]
    raise ConfigError(f"Unknown generator '{name}': expected one of {', '.join(sorted({*GENERATORS, *points}))}.")


def _draw(source: SyntheticSource, index: int) -> Volume:
    generator = _generator(source.generator)
    seed = source.first_seed + index
    random = np.random.default_rng([seed, 0x5EED])
    pixel_mm = float(np.exp(random.uniform(*np.log(source.voxel_mm))))
    slice_mm = float(np.exp(random.uniform(*np.log(source.slice_mm))))
    return generator(source.shape, (slice_mm, pixel_mm, pixel_mm), seed)


class Patches:
    """Augmented 2D patches of the slices (last two axes) of a bank.

    Parameters
    ----------
    sources : the volume files of each source; sources are drawn equally often, volumes in proportion to their slices
    channels : 1, or 2 for complex images
    """

    def __init__(self, sources: list[list[Path]], data: Data, seed: int, channels: int = 1) -> None:
        self.data = data
        self.seed = seed
        # Opened once; the operating system keeps of the maps what fits into memory.
        self.volumes = [[_open(path, channels) for path in files] for files in sources]
        self._starts = [np.cumsum([len(volume) for volume in volumes]) for volumes in self.volumes]

    def batch(self, step: int, part: int = 0) -> Tensor:
        """Patches (batch, channel, side, side), float32, of a training step; `part` counts ranks and accumulation."""
        side, count = self.patch(step)
        return torch.stack([self.item(step, part * count + item, side) for item in range(count)])

    def patch(self, step: int) -> tuple[int, int]:
        """(side, batch) of a step: the same on every rank."""
        return self.data.patches[int(np.random.default_rng([self.seed, step, 1]).integers(len(self.data.patches)))]

    def item(self, step: int, item: int, side: int) -> Tensor:
        random = np.random.default_rng([self.seed, step, 2, item])
        patch = self._crop(random, side)
        while np.ptp(patch[0, ::4, ::4]) < 0.02 and random.random() > self.data.empty_share:
            patch = self._crop(random, side)  # air alone teaches nothing that a few examples do not
        if self.data.flip_rows and random.random() < 0.5:
            patch = patch[:, ::-1]
        if self.data.flip_columns and random.random() < 0.5:
            patch = patch[..., ::-1]
        if self.data.transpose and random.random() < 0.5:
            patch = patch.swapaxes(-1, -2)
        if len(patch) == 2 and random.random() < self.data.turned_share:
            turn = random.uniform(0, 2 * np.pi)
            c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
            patch = np.stack([c * patch[0] - s * patch[1], s * patch[0] + c * patch[1]])
        return torch.from_numpy(np.ascontiguousarray(patch)) * random.uniform(*self.data.scale)

    def _crop(self, random: np.random.Generator, side: int) -> NDArray[np.float32]:
        source = int(random.integers(len(self.volumes)))
        starts = self._starts[source]
        index = int(random.integers(starts[-1]))
        which = int(np.searchsorted(starts, index, side="right"))
        image = self.volumes[source][which][index - int(starts[which])]
        zoom = random.uniform(*self.data.zoom) if random.random() < self.data.zoom_share else 1.0
        wanted = round(side / zoom)
        rows, columns = (int(random.integers(max(0, size - wanted) + 1)) for size in image.shape[1:])
        patch = image[:, rows : rows + wanted, columns : columns + wanted].astype(np.float32) * np.float32(STEP)
        missing = [wanted - size for size in patch.shape[1:]]
        if max(missing) > 0:
            patch = np.pad(patch, [(0, 0), *((0, max(0, size)) for size in missing)], mode="edge")
        if wanted == side:
            return patch
        tensor = torch.from_numpy(patch)[None]
        resized = F.interpolate(tensor, size=(side, side), mode="bicubic", align_corners=False, antialias=True)
        return resized[0].numpy()


def held_out_slices(files: list[Path], count: int, side: int, channels: int = 1) -> Tensor:
    """Centre crops (count, channels, side, side) of slices spread evenly over the volumes, for validation."""
    volumes = [_open(path, channels) for path in files]
    images = []
    for index in range(count):
        volume = volumes[index % len(volumes)]
        turn = index // len(volumes)
        image = volume[(2 * turn + 1) * len(volume) // (2 * -(-count // len(volumes)))]
        padding = [(max(0, side - size) // 2, -(-max(0, side - size) // 2)) for size in image.shape[1:]]
        image = np.pad(image, [(0, 0), *padding], mode="edge")
        top, left = ((size - side) // 2 for size in image.shape[1:])
        images.append(image[:, top : top + side, left : left + side].astype(np.float32) * np.float32(STEP))
    return torch.from_numpy(np.stack(images))


def _open(path: Path, channels: int) -> NDArray[Any]:
    """(slices, channels, y, x), mapped."""
    volume: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return volume.reshape(-1, channels, *volume.shape[-2:])
