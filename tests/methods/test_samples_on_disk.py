"""Samplers with TV between slices and volumes on disk: the bits of those in memory, whole or resumed, CT and MRI."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import recon3d
from operators.normalization import Normalization
from recon3d.acquisitions.ct_checks import field_of_view
from recon3d.errors import Interrupted
from recon3d.grid import AffineGrid
from recon3d.methods import make_method
from recon3d.problem import Problem, problem_for
from recon3d.runtime.runner import CaseRun
from recon3d.volume import Volume

SLICES, SIDE = 19, 16  # parts of 8, 8 and 3


def make_problem(kind: str) -> Problem:
    z, y, x = np.ogrid[-1 : 1 : SLICES * 1j, -1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    ball = np.where(z**2 + y**2 + x**2 < 0.7, np.float32(1.0), np.float32(0.0))
    grid = AffineGrid.centred(ball.shape, 2.0)
    if kind == "ct":
        scan = recon3d.simulate(Volume(0.02 * ball, grid, units="1/mm"), {"views": 6}, noise={"photons": 1e5}, finer=1)
        return problem_for(scan, support=field_of_view(scan))
    return problem_for(
        recon3d.simulate(
            Volume(ball, grid), {"kind": "mri", "coils": 2, "centre_fraction": 0.5}, noise={"snr": 40.0}, finer=1
        )
    )


class Prior:
    """A denoiser of slices that is none, and the part of a card that DDS reads."""

    normalization = Normalization()
    card = SimpleNamespace(units="1", mean=0.0, sigma_data=1.0, sigma_min=1e-3, sigma_max=1e3)

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        return x / (1 + sigma**2) + 0.01 * x.roll(1, -1)


def solve(problem: Problem, run: Any, name: str = "dds", **settings: Any) -> np.ndarray:
    method = make_method(name, {"steps": 4, "cg_steps": 3, **settings})
    with run:
        return method.reconstruct(problem, {"prior": Prior()}, run).volume.data


@pytest.mark.parametrize("kind", ["ct", "mri"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hold": 2, "noise": "implied", "boundary": "circular"},
        {"name": "diffusion_mbir", "sigma_max": 3.0, "corrector_steps": 2},
    ],
)
def test_the_bits_of_the_whole_in_memory(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    problem = make_problem(kind)
    whole = CaseRun(seed=3)
    expected = solve(problem, whole, **settings)
    checkpoint = tmp_path / "checkpoint"
    first = CaseRun(seed=3, scratch=tmp_path, checkpoint=checkpoint, seconds_between_checkpoints=0.0)
    first.step = _stopping(first, 1)  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        solve(problem, first, **settings)
    second = CaseRun(seed=3, scratch=tmp_path, checkpoint=checkpoint)
    assert np.array_equal(solve(problem, second, **settings), expected)
    assert second.resumed_at == 2
    for row, same in zip([*first.trace, *second.trace], whole.trace, strict=True):
        assert row["residual"] == pytest.approx(same["residual"], rel=1e-9)
    assert float(np.abs(expected).max()) > 0


def _stopping(run: CaseRun, at: int) -> Any:
    """`run.step` that is interrupted after iteration `at`."""
    step = run.step

    def stop(index: int, *rest: Any) -> bool:
        step(index, *rest)
        if index == at:
            raise Interrupted("stopped")
        return True

    return stop


def test_only_volumes_that_are_walked_over_lie_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, made = make_problem("ct"), []

    def counted(run: CaseRun, shape: Any, like: Tensor) -> Tensor:
        made.append(tuple(shape))
        return torch.zeros(tuple(shape), dtype=like.dtype)

    monkeypatch.setattr(CaseRun, "allocate", counted)
    solve(problem, CaseRun(scratch=tmp_path))
    assert set(made) == {(SLICES, SIDE, SIDE)}
    made.clear()
    solve(problem, CaseRun(scratch=tmp_path), data="cg")
    assert not made
