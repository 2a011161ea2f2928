"""A batch that is disturbed: the process killed at a named step and the command given again, against plain results."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import recon3d
from recon3d.methods import register
from recon3d.volume import Volume

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "batch_trial.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("batch_trial", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_killed_at_a_step_and_started_again(tmp_path: Path) -> None:
    trial = script()
    trial.make_inputs(tmp_path / "in", 3, 1)
    trial.install_plugin(tmp_path / "plugin")
    own: dict[str, type] = {"__name__": "plugin"}  # type: ignore[dict-item]
    exec(trial.PLUGIN, own)
    register(own["Landweber"])
    hurt = {"TRIAL_MARK": str(tmp_path / "mark"), "TRIAL_CASE": "case-01", "TRIAL_STEP": "5"}
    killed = trial.start(tmp_path, tmp_path / "out", [], **hurt)
    killed.communicate()
    assert killed.returncode == -9
    again = trial.start(tmp_path, tmp_path / "out", [], **hurt)
    said = again.communicate()[1]
    assert again.returncode == 1
    assert "case-02.h5" in said
    for name in ("case-00", "case-01"):
        problem = recon3d.problem_for(recon3d.load(tmp_path / "in" / f"{name}.h5"))  # type: ignore[arg-type]
        expected = recon3d.reconstruct(problem, "trial_landweber", iterations=trial.STEPS)
        found = recon3d.load(tmp_path / "out" / name / f"{name}.h5")
        assert isinstance(found, Volume)
        np.testing.assert_array_equal(found.data, expected.volume.data)
    log = trial.events(tmp_path / "out")
    ends = [(line["event"], line["case"]) for line in log if line["event"] in ("done", "skipped", "failed")]
    assert ends == [("done", "case-00"), ("skipped", "case-00"), ("done", "case-01"), ("failed", "case-02")]
    assert any("Resuming at iteration 5 of 8" in line.get("note", "") for line in log)
    assert not [p for p in (tmp_path / "out").rglob("*") if p.name.startswith(".") or p.suffix == ".checkpoint"]


@pytest.mark.slow
def test_workers_and_driver_killed(tmp_path: Path) -> None:
    trial = script()
    found = trial.trial(tmp_path / "t", 8, 2, ["--workers", "2"])
    assert trial.passed(found), found
