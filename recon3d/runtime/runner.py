"""CaseRun: the Run of one case, with progress, checkpoints, exact resume and signals."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from recon3d.errors import InputError, Interrupted
from recon3d.run import SilentRun, State
from recon3d.runtime.checkpoint import Checkpoint, on_device, read_checkpoint, write_checkpoint
from recon3d.runtime.preview import LivePreview
from recon3d.runtime.progress import Progress
from recon3d.runtime.scratch import give_back, zeros_on_disk


class CaseRun:
    """What a method talks to while one case is reconstructed. Use as a context manager: signals are caught inside.

    Parameters
    ----------
    seed, micro_batch : see `recon3d.run.Run`
    progress : where progress is shown, or None for silence
    checkpoint : file for the state of an interrupted run, or None
    key : identifies input and configuration; a checkpoint with another key is refused
    seconds_between_checkpoints : 0 writes one after each iteration
    preview : page that shows the run as it goes on, or None
    stop : when it is set the run ends after its iteration, as by a signal; for runs outside the main thread
    scratch : folder for arrays that are to lie on disk, or None where they fit into memory
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        micro_batch: int = 8,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
        key: str = "",
        seconds_between_checkpoints: float = 120.0,
        device: str = "cpu",
        preview: LivePreview | None = None,
        stop: threading.Event | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.seed = seed
        self.micro_batch = micro_batch
        self.trace: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.resumed_at: int | None = None
        self._progress = progress
        self._path = checkpoint
        self._file = checkpoint
        self._key = key
        self._pause = seconds_between_checkpoints
        self._device = device
        self._preview = preview
        self._stop = stop
        self._scratch = scratch
        self._total = 0
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}
        self._last_checkpoint = time.monotonic()
        self._saved = read_checkpoint(checkpoint, key) if checkpoint is not None and checkpoint.exists() else None

    def __enter__(self) -> CaseRun:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._progress is not None:
            self._progress.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._signal is not None or not self._total:
            raise KeyboardInterrupt
        self._signal = number
        self.note("Stopping after this iteration; once more stops at once.")

    @property
    def asked_to_stop(self) -> bool:
        """Whether a signal came, or `stop` was set."""
        return self._signal is not None or (self._stop is not None and self._stop.is_set())

    def enter_slab(self, start: int, stop: int) -> None:
        """The next iterations are about slices `start` to `stop` alone; slabs are too quick to be worth checkpoints."""
        self._path = self._saved = None
        if self._progress is not None:
            self._progress.title = f"slices {start}-{stop - 1}"

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        """Announce the iterations of the method, once; an interrupted run goes on where it stopped."""
        self._total = total
        first = 0
        if self._saved is not None:
            missing = set(state) - set(self._saved.state)
            if missing:
                raise InputError(
                    f"Checkpoint {self._path} lacks {sorted(missing)}: delete it to start from the beginning."
                )
            first, state = self._saved.index, on_device(self._saved.state, self._device)
            self.resumed_at, self._saved = first, None
            self.note(f"Resuming at iteration {first + 1} of {total}.")
        self._last_checkpoint = time.monotonic()
        if self._progress is not None:
            self._progress.begin(total, first)
        return first, state

    def step(self, index: int, state: State, metrics: Mapping[str, float]) -> bool:
        """Record an iteration; write a checkpoint when it is time, or when a signal came and leave by `Interrupted`."""
        self.trace.append({"iteration": index + 1, **metrics})
        if self._progress is not None:
            self._progress.advance(index + 1, metrics)
        if self._preview is not None:
            self._preview.show(index + 1, self._total, self.trace, state)
        due = time.monotonic() - self._last_checkpoint >= self._pause
        if state and self._path is not None and (due or self.asked_to_stop):
            write_checkpoint(self._path, Checkpoint(self._key, index + 1, dict(state)))
            self._last_checkpoint = time.monotonic()
        if self.asked_to_stop:
            kept = state and self._path is not None
            what = (
                "the same command goes on from here"
                if kept
                else "this method keeps no state, so it begins anew next time"
            )
            raise Interrupted(f"Interrupted after iteration {index + 1} of {self._total}; {what}.")
        return True

    def note(self, message: str) -> None:
        self.notes.append(message)
        if self._progress is not None:
            self._progress.say(message)

    def allocate(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Zeros on the device and of the type of `like`, in memory or on disk."""
        if self._scratch is None:
            return like.new_zeros(tuple(shape))
        return zeros_on_disk(self._scratch, shape, like.dtype)

    @property
    def on_disk(self) -> bool:
        """Whether `allocate` gives arrays on disk."""
        return self._scratch is not None

    def give_back(self) -> None:
        """What is mapped of arrays on disk may leave the memory."""
        if self._scratch is not None:
            give_back()

    def aside(self) -> Aside:
        """A run for work beside the case, which the same signals stop."""
        return Aside(self)

    def stop_if_asked(self) -> None:
        """Leave by `Interrupted` where a signal came."""
        if self.asked_to_stop:
            raise Interrupted(
                "Interrupted after the last iteration; the same command goes on from its last checkpoint."
            )

    def finish(self, report: Path | None = None) -> None:
        """The result is on disk: the checkpoint is not needed any more, and the preview leads to the report."""
        if self._preview is not None and report is not None:
            self._preview.finish(report)
        if self._file is not None:
            self._file.unlink(missing_ok=True)


class Aside(SilentRun):
    """A run without state or progress that is stopped with the case it belongs to."""

    def __init__(self, case: CaseRun) -> None:
        super().__init__(case.seed, case.micro_batch)
        self._case = case

    def step(self, index: int, state: State, metrics: Mapping[str, float]) -> bool:
        self._case.stop_if_asked()
        return True
