"""A denoiser of tiles applied to a whole cube: overlapping tiles, blended by weights that sum to one."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from recon3d.priors.interpolator import Interpolator
from recon3d.solvers.gaps import first_guess
from recon3d.solvers.windows import add_window, total_weight, windows


class TiledDenoiser:
    """x, sigma -> E[x0 | x, traces] of a cube.

    Parameters
    ----------
    model : an `Interpolator`, or a plain denoiser, which does not see the traces
    data, live : recorded traces with zeros elsewhere, (crossline, inline, sample), and their mask, 1 or 0,
        (crossline, inline, 1)
    tile, overlap : sides of a tile, and the least share that neighbours have in common
    """

    def __init__(
        self, model: Any, data: Tensor, live: Tensor, tile: tuple[int, int, int], overlap: float, batch: int = 1
    ) -> None:
        self.model, self.live, self.batch = model, live, batch
        self.guess = first_guess(data, live) if isinstance(model, Interpolator) else data
        self.tiles = windows(data.shape, tile, overlap)
        self.weight = total_weight(data.shape, self.tiles, data.device)
        self.calls = 0
        """Network calls, each on one tile."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        out = torch.zeros_like(x)
        for start in range(0, len(self.tiles), self.batch):
            tiles = self.tiles[start : start + self.batch]
            seen = torch.stack([x[tile] for tile in tiles])
            condition = self._condition(tiles) if isinstance(self.model, Interpolator) else None
            answers = self.model.denoise(seen, sigma, condition)
            self.calls += len(tiles)
            for tile, answer in zip(tiles, answers, strict=True):
                add_window(out, tile, answer)
        return out / self.weight

    def start(self, sigma: float, noise: Tensor) -> Tensor:
        """The state at the noisiest level: about the first guess, or about zero for a plain prior of unit variance."""
        if isinstance(self.model, Interpolator):
            return self.guess + sigma * noise
        return math.hypot(1.0, sigma) * noise

    def notes(self) -> list[str]:
        """What a person should know of the gaps: tiles that hold no trace at all show what the model makes up."""
        empty = sum(not bool(self.live[tile[:2]].any()) for tile in self.tiles)
        if not empty:
            return []
        return [
            f"{empty} of {len(self.tiles)} tiles hold no recorded trace: what is drawn there is the model's alone; "
            "a larger method.tile may reach over the gap"
        ]

    def _condition(self, tiles: list[tuple[slice, ...]]) -> Tensor:
        pairs = [torch.stack([self.guess[tile], self.live[tile[:2]].expand_as(self.guess[tile])]) for tile in tiles]
        return torch.stack(pairs)
