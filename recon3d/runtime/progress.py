"""Progress: a bar on a terminal, plain lines with the time left elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

SECONDS_BETWEEN_LINES = 10.0


class Progress(Protocol):
    """Where a run says how far it is."""

    title: str

    def begin(self, total: int, done: int) -> None:
        """`total` iterations begin, `done` of which an earlier run did."""
        ...

    def advance(self, done: int, metrics: Mapping[str, float]) -> None:
        """`done` iterations are finished."""
        ...

    def say(self, message: str) -> None:
        """A line that stays."""
        ...

    def close(self) -> None:
        """The run is over."""
        ...


class ProgressReport:
    """Shows how far a run is; writes to `stream` (standard error by default)."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self.title = title
        self.stream = stream or sys.stderr
        self._bar: Bar | None = None

    def begin(self, total: int, done: int) -> None:
        """`total` iterations begin, `done` of which an earlier run did."""
        self.close()
        self.total = total
        self._began, self._done_before = time.monotonic(), done
        self._last_line = self._began
        if self.stream.isatty():
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[metrics]}"),
                console=Console(file=self.stream),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=total, completed=done, metrics="")

    def advance(self, done: int, metrics: Mapping[str, float]) -> None:
        """`done` iterations are finished."""
        shown = "  ".join(f"{name} {value:.3g}" for name, value in metrics.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=done, metrics=shown)
            return
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = (now - self._began) / max(done - self._done_before, 1) * (self.total - done)
            print(f"{self.title}: {done}/{self.total}, {_duration(left)} left  {shown}", file=self.stream, flush=True)

    def say(self, message: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(message, highlight=False)
        else:
            print(message, file=self.stream, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
