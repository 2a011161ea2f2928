"""The engine on a pool that is made up: retries, stops, log, summary."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from recon3d.batch.cases import Case
from recon3d.batch.engine import Batch, run_batch
from recon3d.batch.jobs import Job, Outcome
from recon3d.batch.lock import InUse, locked
from recon3d.batch.worker import Tell
from recon3d.errors import InputError, Interrupted

FACTS = {
    "checks": [], "method": "tv", "units": "HU", "shape": [4, 5, 6], "residual": None, "seconds": 2.0,
    "peak_memory": 0, "forecast": 0,
}  # fmt: skip


class Made:
    """A pool whose outcomes a function makes up."""

    workers = 1

    def __init__(self, tell: Tell, outcome: Callable[[Job], Outcome]) -> None:
        self.tell, self.outcome = tell, outcome
        self.jobs: deque[Job] = deque()
        self.stopped = False

    def __enter__(self) -> Made:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def next(self) -> tuple[Job, Outcome] | None:
        if not self.jobs:
            return None
        job = self.jobs.popleft()
        if self.stopped:
            return job, Outcome(job.case, "interrupted")
        self.tell({"case": job.case, "event": "start", "process": "here:1", "attempt": job.attempt})
        self.tell({"case": job.case, "event": "begin", "total": 3, "done": 0})
        return job, self.outcome(job)

    def stop(self) -> None:
        self.stopped = True


def batch(folder: Path, *names: str) -> Batch:
    cases = [Case(name, Path(f"{name}.h5")) for name in names]
    jobs = [Job(case.name, f"{case.name}.h5", str(case.output(folder, ".nii.gz")), {}) for case in cases]
    return Batch(folder, cases, jobs)


def run(work: Batch, outcome: Callable[[Job], Outcome], retries: int = 2) -> list[dict[str, Any]]:
    """Run it; the lines of its log."""
    run_batch(work, lambda tell: Made(tell, outcome), retries=retries, quiet=True)
    return [json.loads(line) for line in (work.folder / "batch.jsonl").read_text().splitlines()]


def ok(job: Job) -> Outcome:
    return Outcome(job.case, "done", facts=FACTS)


def test_transient_faults_are_retried_and_permanent_ones_not(tmp_path: Path) -> None:
    seen: list[tuple[str, int, float]] = []

    def outcome(job: Job) -> Outcome:
        seen.append((job.case, job.attempt, job.shrink))
        if job.case == "bad":
            return Outcome(job.case, "failed", "permanent", "bad.h5 is damaged.")
        if job.case == "gone":
            return Outcome(job.case, "failed", "lost", "The worker died.")
        if job.case == "shaky" and job.attempt == 1:
            return Outcome(job.case, "failed", "transient", "The server is away.")
        return ok(job)

    work = batch(tmp_path / "out", "good", "bad", "gone", "shaky")
    log = run(work, outcome)
    assert {case: [a for c, a, _ in seen if c == case] for case in ("good", "bad", "gone", "shaky")} == {
        "good": [1], "bad": [1], "gone": [1, 2, 3], "shaky": [1, 2]
    }  # fmt: skip
    assert [shrink for case, _, shrink in seen if case == "gone"] == [1.0, 1.0, 0.5]
    assert work.faults == ["bad.h5 is damaged.", "gone: The worker died."]
    assert [line["case"] for line in log if line["event"] == "retry"] == ["gone", "shaky", "gone"]
    assert (log[0]["event"], log[-1]["event"], log[-1]["done"], log[-1]["failed"]) == ("batch", "end", 2, 2)
    with (tmp_path / "out/summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["attempts"]) for row in rows] == [
        ("bad", "1"),
        ("gone", "3"),
        ("good", "1"),
        ("shaky", "2"),
    ]
    assert "bad.h5 is damaged." in (tmp_path / "out/index.html").read_text()
    assert not (tmp_path / "out/.batch.lock").exists()


def test_a_full_disk_stops_the_batch(tmp_path: Path) -> None:
    work = batch(tmp_path, "a", "b", "c")
    run(work, lambda job: ok(job) if job.case == "a" else Outcome(job.case, "failed", "full", "The disk is full."))
    assert (work.full, work.stopped, work.count("done"), work.count("interrupted")) == (True, "The disk is full.", 1, 1)


def test_lost_workers_stop_the_batch(tmp_path: Path) -> None:
    def outcome(job: Job) -> Outcome:
        if job.case == "b":
            raise Interrupted("The scheduler was lost; start it again.")
        return ok(job)

    work = batch(tmp_path, "a", "b", "c")
    run(work, outcome)
    assert (work.stopped, work.full, len(work.outcomes)) == ("The scheduler was lost; start it again.", False, 1)
    assert [row["state"] for row in work.rows()] == ["not run", "not run", "done"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_runs_end(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def outcome(job: Job) -> Outcome:
        if job.case == "b":
            os.kill(os.getpid(), number)
        return ok(job)

    work = batch(tmp_path, "a", "b", "c")
    run(work, outcome)
    assert (work.stopped, work.outcomes["c"].state) == ("Interrupted.", "interrupted")
    assert signal.getsignal(signal.SIGTERM) is before


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    with (
        locked(tmp_path / ".batch.lock", "x"),
        pytest.raises(InUse, match=f"The folder {tmp_path} is in use by process"),
    ):
        run_batch(batch(tmp_path, "a"), lambda tell: Made(tell, ok), quiet=True)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be made \(Not a directory\)"):
        run_batch(batch(tmp_path / "file" / "out", "a"), lambda tell: Made(tell, ok), quiet=True)


def test_a_torn_line_of_the_log_is_ended(tmp_path: Path) -> None:
    (tmp_path / "batch.jsonl").write_text('{"event": "batch"}\n{"event": "do')
    work = batch(tmp_path, "a")
    run_batch(work, lambda tell: Made(tell, ok), quiet=True)
    lines = (tmp_path / "batch.jsonl").read_text().splitlines()
    assert lines[1] == '{"event": "do'
    assert [json.loads(line)["event"] for line in lines[2:]] == ["batch", "start", "done", "end"]


def test_lines_for_people_hold_nothing_that_moves_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = batch(tmp_path, "a\x1b[2J")
    run_batch(work, lambda tell: Made(tell, ok))
    assert capsys.readouterr().err == "[1/1] a\N{REPLACEMENT CHARACTER}[2J: done after 0.0 s\n"
