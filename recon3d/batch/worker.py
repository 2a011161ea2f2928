"""What a worker does with a job: lock, skip, resume or reconstruct, and say what came of it."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import recon3d
from recon3d.batch.faults import describe
from recon3d.batch.jobs import Job, Outcome, State
from recon3d.batch.lock import locked
from recon3d.config import ReconstructConfig, parse_bytes, validate
from recon3d.errors import InputError, Interrupted
from recon3d.runtime.record import is_current, sibling

Tell = Callable[[Mapping[str, Any]], None]
"""Is told what a case does: {"case": ..., "event": "begin", "advance" or "say", ...}."""

LOCK = ".lock"
PAUSE_S = (0.0, 1.0, 4.0, 15.0)
"""Before the first attempt, the second ...: a file server that is away needs a while."""


def run_job(job: Job, tell: Tell, stop: threading.Event | None = None) -> Outcome:
    """Do a job. Whatever goes wrong is told in the outcome; `stop` ends the case after its iteration."""
    began = time.perf_counter()
    where = f"{socket.gethostname()}:{os.getpid()}"
    time.sleep(PAUSE_S[min(job.attempt, len(PAUSE_S)) - 1])
    try:
        if job.version != recon3d.__version__:
            raise InputError(f"Worker {where} has recon3d {recon3d.__version__}, the batch {job.version}: install one.")
        if stop is not None and stop.is_set():
            raise Interrupted("Interrupted before it began.")
        tell({"case": job.case, "event": "start", "process": where, "attempt": job.attempt})
        state, facts = _plan(job) if job.plan_only else _reconstruct(job, tell, stop)
    except (Interrupted, KeyboardInterrupt) as error:
        said = str(error) or "Interrupted before the first iteration."
        return Outcome(job.case, "interrupted", fault=said, seconds=time.perf_counter() - began, worker=where)
    except Exception as error:
        kind, sentence = describe(error)
        return Outcome(job.case, "failed", kind, sentence, seconds=time.perf_counter() - began, worker=where)
    return Outcome(job.case, state, facts=facts, seconds=time.perf_counter() - began, worker=where)


def _reconstruct(job: Job, tell: Tell, stop: threading.Event | None) -> tuple[State, dict[str, Any]]:
    from recon3d.runtime.case import reconstruct_case

    output, source = Path(job.output), Path(job.input)
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(output.parent / LOCK, f"The folder {output.parent}") as left:
            if is_current(output, source, job.config):
                return "skipped", facts_of(output)
            if left:
                _clear(output)
            if job.overwrite:
                _discard_checkpoint(output, job)
            progress = Told(job.case, tell)
            settings = _settings(job)
            reconstruct_case(source, output, settings, overwrite=job.overwrite, progress=progress, stop=stop)
            return "done", facts_of(output)
    finally:
        with suppress(OSError):  # of a case that left nothing
            output.parent.rmdir()


def _plan(job: Job) -> tuple[State, dict[str, Any]]:
    from recon3d.runtime.forecast import forecast_case

    if is_current(Path(job.output), Path(job.input), job.config):
        return "skipped", facts_of(Path(job.output))
    return "planned", forecast_case(Path(job.input), _settings(job)).facts()


def _settings(job: Job) -> ReconstructConfig:
    """The configuration of an attempt; one that may use less memory plans with less."""
    from recon3d.runtime.memory import free_memory

    config: ReconstructConfig = validate(ReconstructConfig, job.config, job.case)
    if job.shrink == 1.0:
        return config
    limit = parse_bytes(config.run.max_memory) if config.run.max_memory is not None else int(0.9 * free_memory())
    run = config.run.model_copy(update={"max_memory": str(int(limit * job.shrink))})
    return config.model_copy(update={"run": run})


def facts_of(output: Path) -> dict[str, Any]:
    """What the record of a finished case says that the summary of a batch holds."""
    record = json.loads(sibling(output, ".recon.json").read_text(encoding="utf-8"))
    result = record["result"]
    return {
        "checks": record.get("checks", []),
        "method": record["method"]["name"],
        "units": result["units"],
        "shape": result["shape"],
        "residual": result.get("residual"),
        "seconds": record["seconds"],
        "peak_memory": record["peak_memory"],
        "forecast": record["plan"]["host"],
        "resumed_at": record.get("resumed_at"),
        "notes": record["notes"],
    }


def _clear(output: Path) -> None:
    """Take away what a killed process left half-written; its checkpoint, which is whole or not there, stays."""
    stem = sibling(output, ".").name
    for path in output.parent.iterdir():
        ours = path.name.startswith(stem) and path.suffix != ".checkpoint"
        if path.is_file() and (ours or (path.name.startswith(".") and ".part." in path.name)):
            path.unlink()


def _discard_checkpoint(output: Path, job: Job) -> None:
    """With --force, a checkpoint of other settings is in the way."""
    if job.attempt == 1:
        sibling(output, ".checkpoint").unlink(missing_ok=True)


class Told:
    """Progress of a case, told to the batch at most twice a second."""

    def __init__(self, case: str, tell: Tell) -> None:
        self.title = case
        self._case, self._tell = case, tell
        self._total, self._last = 0, 0.0

    def begin(self, total: int, done: int) -> None:
        self._total = total
        self._tell({"case": self._case, "event": "begin", "total": total, "done": done})

    def advance(self, done: int, metrics: Mapping[str, float]) -> None:
        if time.monotonic() - self._last >= 0.5 or done == self._total:
            self._last = time.monotonic()
            self._tell({"case": self._case, "event": "advance", "total": self._total, "done": done})

    def say(self, message: str) -> None:
        self._tell({"case": self._case, "event": "note", "note": message})

    def close(self) -> None:
        pass
