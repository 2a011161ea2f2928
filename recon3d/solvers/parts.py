"""Parts: a stack of slices worked on a few at a time, as its volumes may lie on disk; with the bits of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.reduce import inner, norm

__all__ = ["ALL", "WHOLE", "Part", "Parts"]


@dataclass(frozen=True)
class Part:
    """Some slices of a volume (slices, rows, columns), or a whole one of any shape.

    Parameters
    ----------
    start, stop : which; `stop` is None for the whole
    before : how many slices precede them in a slab that has their neighbours, too
    """

    start: int = 0
    stop: int | None = None
    before: int = 0

    @property
    def inner(self) -> slice:
        """Where they are in a slab that has their neighbours, too."""
        return slice(None) if self.stop is None else slice(self.before, self.before + self.stop - self.start)

    def of(self, x: Tensor) -> Tensor:
        """What belongs to these slices of an array that broadcasts to a volume."""
        if self.stop is None or x.ndim < 3 or x.shape[-3] == 1:
            return x
        return x.narrow(-3, self.start, self.stop - self.start)

    def shape(self, whole: Sequence[int]) -> tuple[int, ...]:
        """The shape of these slices of a volume."""
        return tuple(whole) if self.stop is None else (self.stop - self.start, *whole[1:])


ALL = Part()
"""All slices."""


class Parts:
    """Functions applied to volumes part by part, and sums over volumes, which have the bits of the whole.

    `Parts()` has one part: each function is called once, with the volumes themselves. Otherwise these are
    (slices, rows, columns).

    Parameters
    ----------
    slices : of a volume
    at_once : slices of a part
    allocate : makes volumes, from shape and an example of their values (`recon3d.run.Run.allocate`)
    give_back : called after each part: what was mapped for it need not stay in memory
    """

    def __init__(
        self,
        slices: int = 0,
        at_once: int = 0,
        allocate: Callable[[Sequence[int], Tensor], Tensor] | None = None,
        give_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.slices, self.at_once, self.allocate, self.give_back = slices, at_once, allocate, give_back

    @property
    def whole(self) -> bool:
        return self.allocate is None

    def __iter__(self) -> Iterator[Part]:
        if self.whole:
            yield ALL
        for start in range(0, self.slices, max(1, self.at_once)):
            yield Part(start, min(start + self.at_once, self.slices))

    def each(self, f: Callable[..., Tensor], *volumes: Tensor, halo: str | None = None) -> Tensor:
        """The volume of ``f(part, *slabs)``, which gives the part's own slices.

        Parameters
        ----------
        halo : how slabs go on beyond the part, by one slice on either side: "neumann" (not beyond the ends of the
            volume) or "circular"; `Part.inner` says where the part's own slices are then
        """
        if self.allocate is None:
            return f(ALL, *volumes)
        found: Tensor | None = None
        for part in self:
            part, slabs = self._with_neighbours(part, volumes, halo) if halo else (part, [part.of(v) for v in volumes])
            result = f(part, *slabs)
            if found is None:
                found = self.allocate((self.slices, *result.shape[1:]), result)
            part.of(found).copy_(result)
            del result, slabs
            self.give_back()
        assert found is not None
        return found

    def change(self, f: Callable[..., Any], *volumes: Tensor) -> None:
        """Let ``f(part, *slabs)`` change the volumes in place."""
        for part in self:
            f(part, *[part.of(v) for v in volumes])
            self.give_back()

    def inner(self, a: Tensor, b: Tensor, batch_ndim: int = 0) -> Tensor:
        """`operators.reduce.inner`."""
        if self.whole:
            return inner(a, b, batch_ndim)
        sums = []
        for part in self:
            sums.append(inner(part.of(a), part.of(b), 1))  # one per slice
            self.give_back()
        return torch.tensor(np.add.accumulate(torch.cat(sums).numpy())[-1])

    def norm(self, a: Tensor, batch_ndim: int = 0) -> Tensor:
        """`operators.reduce.norm`."""
        return norm(a, batch_ndim) if self.whole else self.inner(a, a).real.sqrt()

    def _with_neighbours(self, part: Part, volumes: Sequence[Tensor], halo: str) -> tuple[Part, list[Tensor]]:
        assert part.stop is not None
        start, stop = part.start - 1, part.stop + 1
        if halo != "circular":
            start, stop = max(start, 0), min(stop, self.slices)
        wider = replace(part, before=part.start - start)
        if start >= 0 and stop <= self.slices:
            return wider, [v[start:stop] for v in volumes]
        around = torch.arange(start, stop) % self.slices
        return wider, [v[around] for v in volumes]


WHOLE = Parts()
"""Volumes in memory."""
