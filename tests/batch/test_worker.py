"""A worker on real files: done, skipped, resumed, cleaned up after a killed one, refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import torch

import recon3d
from recon3d.batch import worker
from recon3d.batch.jobs import Job, Outcome
from recon3d.batch.lock import locked
from recon3d.batch.worker import facts_of, run_job
from recon3d.config import ReconstructConfig, validate
from recon3d.grid import AffineGrid
from recon3d.io import save
from recon3d.methods import register
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.problem import Problem
from recon3d.run import Run
from recon3d.volume import Volume

STOP = threading.Event()


class Landweber(Method):
    """Six steps with a state; the third one sets `STOP` where `stops` asks for it."""

    name: ClassVar[str] = "landweber_of_a_test"
    summary: ClassVar[str] = "for tests"
    relaxation: float = 1.0

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        task = problem.normalised()
        first, state = run.begin(6, {"x": torch.zeros(problem.domain.shape)})
        x = state["x"]
        assert isinstance(x, torch.Tensor)
        for step in range(first, 6):
            x = x - self.relaxation * task.A.H(task.A(x) - task.y)
            if step == 2 and run.seed == 1 and first == 0:
                STOP.set()
            run.step(step, {"x": x}, {})
        return finish(problem, task.physical(x), residual=task.residual(x))


register(Landweber)


def quiet(event: Mapping[str, Any]) -> None: ...


@pytest.fixture(autouse=True)
def _nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PAUSE_S", (0.0,))
    STOP.clear()


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    data = np.full((4, 10, 10), -1000.0, np.float32)
    data[:, 3:7, 2:8] = 100.0
    volume = Volume(data, AffineGrid.centred(data.shape, 2.0), units="HU")
    save(recon3d.simulate(volume, {"views": 8}, noise={"photons": 1e5}, finer=1), path)
    return path


def job(scan: Path, folder: Path, seed: int = 0, **settings: Any) -> Job:
    content = {"method": {"name": Landweber.name, **settings}, "run": {"seed": seed, "checkpoint_minutes": 0}}
    config = validate(ReconstructConfig, content, "test").model_dump(mode="json")
    return Job("c", str(scan), str(folder / "c" / "c.h5"), config)


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_done_then_skipped_until_something_changes(scan: Path, tmp_path: Path) -> None:
    own = tmp_path / "scan.h5"
    own.write_bytes(scan.read_bytes())
    events: list[Mapping[str, Any]] = []
    first = run_job(job(own, tmp_path / "out"), events.append)
    assert (first.state, first.facts["method"], first.facts["shape"]) == ("done", Landweber.name, [4, 10, 10])
    assert {check["name"] for check in first.facts["checks"]} == {"Residual", "Slice jumps", "Values", "Prior"}
    assert [event["event"] for event in events][:2] == ["start", "begin"]
    assert left(tmp_path / "out") == {"c.h5", "c.recon.json", "c.png", "c.html"}
    assert run_job(job(own, tmp_path / "out"), quiet).state == "skipped"
    other = run_job(job(own, tmp_path / "out", relaxation=0.5), quiet)
    assert (other.kind, "exists already" in other.fault) == ("permanent", True)
    with h5py.File(own, "r+") as file:
        file["data"][0] += 0.01
    assert run_job(job(own, tmp_path / "out"), quiet).state == "failed"
    assert run_job(replace(job(own, tmp_path / "out"), overwrite=True), quiet).state == "done"


def test_a_support_of_other_contents_is_another_case(scan: Path, tmp_path: Path) -> None:
    support = tmp_path / "support.h5"

    def asked(value: float) -> Job:
        mask = np.full((4, 10, 10), value, np.float32)
        mask[:, 5] = 1.0
        save(Volume(mask, AffineGrid.centred(mask.shape, 2.0)), support, overwrite=True)
        plain = job(scan, tmp_path / "out")
        return replace(plain, config={**plain.config, "scan": {**plain.config["scan"], "support": str(support)}})

    assert [run_job(asked(value), quiet).state for value in (1.0, 1.0, 0.0)] == ["done", "skipped", "failed"]


def test_half_finished_cases_go_on_inside_the_volume(scan: Path, tmp_path: Path) -> None:
    whole = run_job(job(scan, tmp_path / "whole", seed=1), quiet)
    STOP.clear()
    stopped = run_job(job(scan, tmp_path / "parts", seed=1), quiet, STOP)
    assert (whole.state, stopped.state) == ("done", "interrupted")
    assert "after iteration 3 of 6" in stopped.fault
    assert left(tmp_path / "parts") == {"c.checkpoint"}
    assert run_job(job(scan, tmp_path / "parts", seed=1), quiet, STOP).fault == "Interrupted before it began."
    done = run_job(job(scan, tmp_path / "parts", seed=1), quiet)
    assert (done.state, done.facts["resumed_at"]) == ("done", 3)
    first, second = (recon3d.load(tmp_path / name / "c/c.h5") for name in ("whole", "parts"))
    assert isinstance(first, Volume)
    assert isinstance(second, Volume)
    np.testing.assert_array_equal(first.data, second.data)


def test_what_a_killed_worker_left_is_made_anew(scan: Path, tmp_path: Path) -> None:
    asked = job(scan, tmp_path)
    assert run_job(asked, quiet).state == "done"
    folder = tmp_path / "c"
    (folder / "c.recon.json").unlink()  # killed before the record, which is written last
    (folder / ".0123.part.c.png").write_bytes(b"half")
    assert "exists already" in run_job(asked, quiet).fault  # a file that nobody of us is known to have left
    (folder / ".lock").touch()  # which only a killed worker leaves
    assert run_job(asked, quiet).state == "done"
    assert left(tmp_path) == {"c.h5", "c.recon.json", "c.png", "c.html"}


def test_a_case_in_use_is_tried_again_later(scan: Path, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with locked(tmp_path / "c" / ".lock", "x"):
        outcome = run_job(job(scan, tmp_path), quiet)
    assert (outcome.kind, "in use by process" in outcome.fault) == ("transient", True)


def test_damaged_inputs_leave_nothing(scan: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(scan.read_bytes()[:800])
    outcome = run_job(job(bad, tmp_path / "out"), quiet)
    assert (outcome.kind, "damaged or truncated" in outcome.fault) == ("permanent", True)
    assert not (tmp_path / "out" / "c").exists()


def test_another_version_is_refused(scan: Path, tmp_path: Path) -> None:
    outcome = run_job(replace(job(scan, tmp_path), version="0.0.1"), quiet)
    assert outcome.kind == "permanent"
    assert f"has recon3d {recon3d.__version__}, the batch 0.0.1" in outcome.fault


def test_a_case_that_brought_workers_down_plans_with_less(scan: Path, tmp_path: Path) -> None:
    asked = job(scan, tmp_path)
    asked = replace(asked, config={**asked.config, "run": {**asked.config["run"], "max_memory": "64M"}})
    assert run_job(asked.again(shrink=0.5), quiet).state == "done"
    plan = json.loads((tmp_path / "c/c.recon.json").read_text())["plan"]
    assert plan["limit"] == 32 * 2**20
    assert 0 < plan["forecast"] < plan["host"]
    assert facts_of(tmp_path / "c/c.h5")["forecast"] == plan["host"]


def test_forecasts_write_nothing(scan: Path, tmp_path: Path) -> None:
    outcome = run_job(replace(job(scan, tmp_path / "out"), plan_only=True), quiet)
    assert (outcome.state, outcome.facts["plan"], outcome.facts["device"]) == ("planned", "whole", 0)
    assert outcome.facts["seconds"] > 0
    assert not (tmp_path / "out").exists()


def test_out_of_memory_goes_on_with_less(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt meets the limit of the system, the second one works in slabs; the numbers are the same."""
    monkeypatch.setattr(Landweber, "separable", True)
    calm = run_job(job(scan, tmp_path / "calm"), quiet)
    assert calm.state == "done"
    plain, failed = Landweber.reconstruct, []

    def scarce(self: Landweber, problem: Problem, models: Models, run: Run) -> Reconstruction:
        if problem.domain.shape[-3] == 4:
            failed.append(1)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")
        return plain(self, problem, models, run)

    monkeypatch.setattr(Landweber, "reconstruct", scarce)
    outcome = run_job(job(scan, tmp_path / "less"), quiet)
    assert (outcome.state, failed) == ("done", [1])
    assert any("going on from the last checkpoint with less at a time (slabs of 2" in n for n in outcome.facts["notes"])
    first, second = (recon3d.load(tmp_path / name / "c/c.h5") for name in ("calm", "less"))
    assert isinstance(first, Volume)
    assert isinstance(second, Volume)
    np.testing.assert_array_equal(first.data, second.data)
    monkeypatch.setattr(Landweber, "separable", False)
    outcome = run_job(job(scan, tmp_path / "none"), quiet)
    assert (outcome.kind, outcome.fault.startswith("Out of memory, although")) == ("permanent", True)


def test_jobs_and_outcomes_travel_as_json(scan: Path, tmp_path: Path) -> None:
    asked = job(scan, tmp_path)
    assert Job.from_json(asked.to_json()) == asked
    outcome = Outcome("c", "failed", "lost", "It died.", {"a": [1, None]}, 1.5, "here:1")
    assert Outcome.from_json(outcome.to_json()) == outcome
