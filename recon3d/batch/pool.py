"""Pools: where jobs run. This one runs them in the process that asks, one after the other."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Protocol

from recon3d.batch.jobs import Job, Outcome
from recon3d.batch.worker import Tell, run_job


class Pool(Protocol):
    """Takes jobs and gives their outcomes, in whatever order they come."""

    @property
    def workers(self) -> int:
        """How many there are now."""
        ...

    def __enter__(self) -> Pool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, job: Job) -> None:
        """Have a job done."""
        ...

    def next(self) -> tuple[Job, Outcome] | None:
        """The next job that ended, waiting for it; None when there is nothing to wait for.

        Raises
        ------
        Interrupted
            If the workers are lost.
        """
        ...

    def stop(self) -> None:
        """Start nothing more, and end what runs after its iteration; `next` gives what comes of it."""
        ...


class InProcess:
    """One job after the other, in this process: what a single worker needs, with nothing to set up."""

    workers = 1

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._jobs: deque[Job] = deque()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self) -> tuple[Job, Outcome] | None:
        if not self._jobs:
            return None
        job = self._jobs.popleft()
        return job, run_job(job, self._tell)

    def stop(self) -> None:
        self._jobs.clear()
