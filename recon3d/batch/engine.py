"""The engine: gives jobs to a pool, retries what another attempt may pass, and keeps log and summary."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import recon3d
from recon3d.batch.cases import Case
from recon3d.batch.jobs import Job, Outcome
from recon3d.batch.live import LiveTable
from recon3d.batch.lock import locked
from recon3d.batch.log import EventLog
from recon3d.batch.pool import Pool
from recon3d.batch.summary import Row, as_csv, looked_at_first, row_of
from recon3d.batch.worker import Tell
from recon3d.errors import InputError, Interrupted, ReconError
from recon3d.io.atomic import atomic_path
from recon3d.report.batch_index import batch_page
from recon3d.runtime.record import sibling

SUMMARY, INDEX, LOG, LOCK = "summary.csv", "index.html", "batch.jsonl", ".batch.lock"
SECONDS_BETWEEN_SUMMARIES = 30.0
FATAL_LOSSES = 2
"""Workers that a case brings down before it has to do with less memory, which is the usual reason."""


@dataclass
class Batch:
    """A batch and what came of it.

    Parameters
    ----------
    folder : of the results
    cases, jobs : in the same order
    outcomes : by case
    stopped : why it ended before all cases had, in one sentence; empty if it did not
    full : whether that was for want of room on the disk
    """

    folder: Path
    cases: Sequence[Case]
    jobs: Sequence[Job]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    stopped: str = ""
    full: bool = False

    @property
    def faults(self) -> list[str]:
        """One sentence per case that failed."""
        failed = [o for o in self.outcomes.values() if o.state == "failed"]
        return [o.fault if o.case in o.fault else f"{o.case}: {o.fault}" for o in failed]

    def count(self, *states: str) -> int:
        """How many cases ended in one of these states."""
        return sum(outcome.state in states for outcome in self.outcomes.values())

    def rows(self) -> list[Row]:
        """The summary, the cases to look at first on top."""
        rows = []
        for case, job in zip(self.cases, self.jobs, strict=True):
            result = Path(job.output).relative_to(self.folder).as_posix()
            rows.append(row_of(case, self.outcomes.get(case.name), self.attempts.get(case.name, 0), result))
        return looked_at_first(rows)


def run_batch(batch: Batch, pool_for: Callable[[Tell], Pool], *, retries: int = 2, quiet: bool = False) -> None:
    """Reconstruct every case of the batch; the same call goes on where one that was stopped or killed had got to.

    Parameters
    ----------
    pool_for : makes the pool, given whom it tells of progress
    retries : further attempts at a case after a transient fault

    Raises
    ------
    ReconError
        If nothing could start: the folder is in use or protected, or there are no workers.
    """
    try:
        batch.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {batch.folder} cannot be made ({error.strerror}): choose another one.") from error
    with (
        locked(batch.folder / LOCK, f"The folder {batch.folder}"),
        EventLog(batch.folder / LOG) as log,
        LiveTable(len(batch.jobs), quiet=quiet) as live,
    ):

        def tell(event: Mapping[str, Any]) -> None:
            live.tell(event)
            if event["event"] in ("start", "note"):
                log.write(str(event["event"]), {k: v for k, v in event.items() if k not in ("event", "worker")})

        with pool_for(tell) as pool, _termination_interrupts():
            log.write("batch", {"cases": len(batch.jobs), "workers": pool.workers, "recon3d": recon3d.__version__})
            try:
                _work(batch, pool, log, live, retries)
            finally:
                with suppress(ReconError):  # a full disk has been told by then
                    write_summary(batch)
                ended = {state: batch.count(state) for state in ("done", "skipped", "failed", "interrupted")}
                log.write("end", {**ended, "stopped": batch.stopped})


def _work(batch: Batch, pool: Pool, log: EventLog, live: LiveTable, retries: int) -> None:
    for job in batch.jobs:
        pool.submit(job)
    written = time.monotonic()
    for job, outcome in _ends(batch, pool):
        batch.attempts[job.case] = job.attempt
        again = outcome.kind in ("transient", "lost") and job.attempt <= retries and not batch.stopped
        said = "retry" if again else outcome.state
        log.write(said, {"case": job.case, "attempt": job.attempt, "seconds": round(outcome.seconds, 2),
                         "worker": outcome.worker, "fault": outcome.fault})  # fmt: skip
        live.end(outcome, again=again)
        if again:
            less = outcome.kind == "lost" and job.attempt >= FATAL_LOSSES
            pool.submit(job.again(shrink=0.5 if less else 1.0))
            continue
        batch.outcomes[job.case] = outcome
        if (outcome.kind == "full" or outcome.state == "interrupted") and not batch.stopped:
            batch.full, batch.stopped = outcome.kind == "full", outcome.fault
            pool.stop()
        if time.monotonic() - written > SECONDS_BETWEEN_SUMMARIES:
            write_summary(batch)
            written = time.monotonic()


def _ends(batch: Batch, pool: Pool) -> Iterator[tuple[Job, Outcome]]:
    """Jobs as they end. Ctrl-C ends those that run after their iteration, a second one at once."""
    while True:
        try:
            ended = pool.next()
        except KeyboardInterrupt:
            if batch.stopped:
                return
            batch.stopped = "Interrupted."
            pool.stop()
            continue
        except Interrupted as error:  # the workers are gone
            batch.stopped = str(error)
            return
        if ended is None:
            return
        yield ended


def write_summary(batch: Batch) -> None:
    """Write summary.csv and index.html of what is known by now."""
    rows = batch.rows()
    links = {}
    for row in rows:
        if row["result"]:
            report, picture = (sibling(Path(row["result"]), suffix) for suffix in (".html", ".png"))
            there = picture.as_posix() if (batch.folder / picture).exists() else ""
            links[str(row["case"])] = (report.as_posix(), there)
    facts = {
        "cases": len(rows),
        "done": batch.count("done", "skipped"),
        "failed": batch.count("failed"),
        "not done yet": len(rows) - batch.count("done", "skipped", "failed"),
        "to look at": sum(bool(row["flags"]) for row in rows),
        "recon3d": recon3d.__version__,
    }
    with atomic_path(batch.folder / SUMMARY, overwrite=True) as temporary:
        temporary.write_text(as_csv(rows), encoding="utf-8")
    with atomic_path(batch.folder / INDEX, overwrite=True) as temporary:
        temporary.write_text(batch_page(rows, facts, links), encoding="utf-8")


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM, by which queues end jobs, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
