"""Run: the one object a method talks to while it works; progress, previews, resume and signals hang there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, object]
"""The tensors that an iteration needs to go on, by name; a flat dict."""


class Run(Protocol):
    """What surrounds a method: where it computes, its seed, and one call per iteration.

    Attributes
    ----------
    seed : every random number of the run derives from it
    micro_batch : how many slices a network sees at once; fixed for a run so that its numbers are too
    on_disk : whether `allocate` gives arrays that lie on disk
    """

    seed: int
    micro_batch: int

    @property
    def on_disk(self) -> bool: ...

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        """Announce `total` iterations. Returns the first index to do and the state to start from: (0, state) for a
        fresh run, or where an interrupted run had got to."""
        ...

    def step(self, index: int, state: State, metrics: Mapping[str, float]) -> bool:
        """Iteration `index` is done and `state` is what the next one starts from. Returns False to stop early."""
        ...

    def note(self, message: str) -> None:
        """Say something a person should read; it is kept in the record of the run."""
        ...

    def allocate(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Zeros on the device and of the type of `like`: in memory, or on disk where the memory plan asks for that."""
        ...

    def give_back(self) -> None:
        """Arrays on disk that were read or written need not stay in memory; what they hold stays."""
        ...


class SilentRun:
    """A run without progress, files or resume: for Python users and for tests.

    Attributes
    ----------
    trace : metrics of each iteration
    notes : what the method said
    """

    on_disk = False

    def __init__(self, seed: int = 0, micro_batch: int = 8) -> None:
        self.seed = seed
        self.micro_batch = micro_batch
        self.trace: list[dict[str, float]] = []
        self.notes: list[str] = []

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        return 0, state

    def step(self, index: int, state: State, metrics: Mapping[str, float]) -> bool:
        self.trace.append(dict(metrics))
        return True

    def note(self, message: str) -> None:
        self.notes.append(message)

    def allocate(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return like.new_zeros(tuple(shape))

    def give_back(self) -> None:
        """There is nothing to give back."""
