"""A denoiser of tiles applied to a whole cube: overlapping tiles, blended by weights that sum to one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recon3d.priors.interpolator import FusedInterpolator, Interpolator
from recon3d.sampling.noise import counter_noise
from recon3d.solvers.gaps import tried_guess
from recon3d.solvers.windows import add_window, total_weight, windows


class TiledDenoiser:
    """x, sigma -> E[x0 | x, traces] of a cube.

    Parameters
    ----------
    model : an `Interpolator`, or a plain denoiser, which does not see the traces
    data, live : recorded traces with zeros elsewhere, (crossline, inline, sample), and their mask, 1 or 0,
        (crossline, inline, 1)
    tile, overlap : sides of a tile, and the least share that neighbours have in common
    guess : the traces with their gaps filled, where this is known
    """

    def __init__(
        self,
        model: Any,
        data: Tensor,
        live: Tensor,
        tile: tuple[int, int, int],
        overlap: float,
        batch: int = 1,
        guess: Tensor | None = None,
    ) -> None:
        self.model, self.live, self.batch = model, live, batch
        self.tile, self.overlap, self.trial = tile, overlap, None
        if guess is None and self.guesses:
            guess, self.trial = tried_guess(data, live)
        self.guess = data if guess is None else guess
        self.tiles = windows(data.shape, tile, overlap)
        self.weight = total_weight(data.shape, self.tiles, data.device)
        self.calls = 0
        """Network calls, each on one tile."""

    @property
    def guesses(self) -> bool:
        """Whether the model is shown a first guess in the gaps; the published form sees zeros there."""
        return isinstance(self.model, Interpolator) and not isinstance(self.model, FusedInterpolator)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self._blended(x, sigma, self.model.denoise)[0]

    def ancestral(self, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        """E[x0 | x, traces], and the learned share of log beta in the log variance; 0 of models that learn none."""
        if isinstance(self.model, FusedInterpolator):
            x0, share = self._blended(x, sigma, self.model.ancestral)
            return x0, share
        return self(x, sigma), torch.zeros_like(x)

    def _blended(self, x: Tensor, sigma: float, ask: Callable[..., Tensor]) -> list[Tensor]:
        """The cubes that a model answers with, put together from those of all tiles."""
        cubes: list[Tensor] = []
        for start in range(0, len(self.tiles), self.batch):
            tiles = self.tiles[start : start + self.batch]
            seen = torch.stack([x[tile] for tile in tiles])
            condition = self._condition(tiles) if isinstance(self.model, Interpolator) else None
            answers = ask(seen, sigma, condition)
            answers = answers if answers.ndim > seen.ndim else answers[:, None]
            self.calls += len(tiles)
            cubes = cubes or [torch.zeros_like(x) for _ in range(answers.shape[1])]
            for tile, answer in zip(tiles, answers, strict=True):
                for cube, part in zip(cubes, answer, strict=True):
                    add_window(cube, tile, part)
        return [cube / self.weight for cube in cubes]

    def start(self, sigma: float, noise: Tensor) -> Tensor:
        """The state at the noisiest level: about the first guess, or about zero for a plain prior of unit variance."""
        if self.guesses:
            return self.guess + sigma * noise
        return math.hypot(1.0, sigma) * noise

    def share(self, sigma: float, seed: int) -> float:
        """How much of the model's correction of the first guess to take: what suits traces that are hidden for that.

        Nothing where none can be hidden, and all of a model that corrects no guess.
        """
        if self.trial is None:
            return float(not self.guesses)
        trial, shown = self.trial, self.trial.shown
        tried = TiledDenoiser(self.model, shown * trial.data, shown, self.tile, self.overlap, guess=trial.guess)
        noise = counter_noise(tuple(trial.guess.shape), seed=seed, dtype=self.guess.dtype, device=self.guess.device)
        return trial.share(tried(tried.start(sigma, noise), sigma))

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
