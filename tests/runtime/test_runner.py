"""CaseRun: resume gives the same bits, signals end a run between iterations."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from recon3d.errors import InputError, Interrupted
from recon3d.run import Run, SilentRun
from recon3d.runtime.runner import CaseRun


def count_to(total: int, run: Run, kill_at: int | None = None) -> torch.Tensor:
    """A method of one line: x <- x / 3 + i."""
    first, state = run.begin(total, {"x": torch.zeros(3, dtype=torch.float64)})
    x = state["x"]
    assert isinstance(x, torch.Tensor)
    for i in range(first, total):
        x = x / 3 + i
        if i == kill_at:
            os.kill(os.getpid(), signal.SIGINT)
        if not run.step(i, {"x": x}, {"size": float(x[0])}):
            break
    return x


def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    expected = count_to(10, SilentRun())
    path = tmp_path / "c"
    handler = signal.getsignal(signal.SIGINT)
    with (
        pytest.raises(Interrupted, match="after iteration 5 of 10; the same command goes on"),
        CaseRun(checkpoint=path, key="k") as run,
    ):
        count_to(10, run, kill_at=4)
    assert signal.getsignal(signal.SIGINT) is handler
    with CaseRun(checkpoint=path, key="k") as again:
        assert torch.equal(count_to(10, again), expected)
        again.finish()
    assert again.resumed_at == 5
    assert [row["iteration"] for row in again.trace] == [6, 7, 8, 9, 10]
    assert again.notes == ["Resuming at iteration 6 of 10."]
    assert not path.exists()


def test_work_beside_the_case_stops_with_it() -> None:
    with CaseRun(seed=3) as run:
        count_to(2, run)
        aside = run.aside()
        assert aside.seed == 3
        count_to(5, aside)
        assert len(run.trace) == 2  # it is not part of the case
        with pytest.raises(Interrupted, match="goes on from its last checkpoint"):
            count_to(5, aside, kill_at=1)


def test_checkpoints_come_when_they_are_due(tmp_path: Path) -> None:
    for seconds, there in [(0.0, True), (1e6, False)]:
        path = tmp_path / str(seconds)
        with CaseRun(checkpoint=path, key="k", seconds_between_checkpoints=seconds) as run:
            count_to(2, run)
        assert path.exists() is there


def test_a_method_without_state_begins_anew() -> None:
    with CaseRun() as run:
        run.begin(5, {})
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="keeps no state"):
            run.step(0, {}, {})


def test_a_signal_before_the_iterations_or_twice_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), CaseRun():
        os.kill(os.getpid(), signal.SIGINT)
    with CaseRun() as run:
        run.begin(5, {})
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_checkpoint_that_lacks_a_part(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with CaseRun(checkpoint=path, key="k", seconds_between_checkpoints=0) as run:
        count_to(2, run)
    with pytest.raises(InputError, match="lacks"), CaseRun(checkpoint=path, key="k") as run:
        run.begin(2, {"x": torch.zeros(3), "momentum": torch.zeros(3)})


def test_slabs_do_not_go_on_from_the_state_of_the_whole(tmp_path: Path) -> None:
    """With less memory than before, the plan may turn to slabs: the state of the whole volume fits none of them."""
    path = tmp_path / "c"
    with CaseRun(checkpoint=path, key="k", seconds_between_checkpoints=0) as run:
        count_to(2, run)
    assert path.exists()
    with CaseRun(checkpoint=path, key="k") as slabs:
        slabs.enter_slab(0, 1)
        assert torch.equal(count_to(10, slabs), count_to(10, SilentRun()))
        slabs.finish()
    assert not path.exists()
