"""The method that chooses: by what was measured, by the prior, by the time, with its reason."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import recon3d.methods.auto as module
from operators.linear import Identity
from operators.mri import CartesianEncoding
from operators.normalization import Normalization
from operators.seismic import trace_mask
from operators.space import Space
from operators.tomography import ImageGrid, Projector, TomographyGeometry
from recon3d.grid import AffineGrid
from recon3d.methods import make_method, reconstruct
from recon3d.methods.auto import Auto, seconds_of
from recon3d.methods.candidates import classical_for
from recon3d.methods.roles import settled
from recon3d.noise import NoiseModel
from recon3d.priors import load_model
from recon3d.problem import Problem, problem_for
from recon3d.run import SilentRun
from recon3d.synthetic.seismic_masks import masked
from recon3d.synthetic.seismic_scoring import scoring_cube


def ct(views: int, arc_deg: float = 180.0, side: int = 24) -> Problem:
    geometry = TomographyGeometry.parallel(np.linspace(0, math.radians(arc_deg), views, endpoint=False), side, n_rows=2)
    A = Projector(geometry, ImageGrid((2, side, side)))
    grid = AffineGrid.centred(A.domain.shape, (1.0, 1.0, 1.0))
    return Problem(A(0.02 * torch.ones(A.domain.shape)), A, NoiseModel(), grid, units="1/mm", kind="ct")


def mri(every: int) -> Problem:
    maps = torch.ones(2, 1, 16, 16, dtype=torch.complex64)
    mask = (torch.arange(16) % every == 0).float().reshape(1, 1, 16)
    A = CartesianEncoding(maps, mask)
    y = A(torch.randn(A.domain.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)))
    return Problem(y, A, NoiseModel(), AffineGrid.centred((1, 16, 16), (1.0, 1.0, 1.0)), kind="mri")


class Flat:
    """A prior that fits anything."""

    card = SimpleNamespace(name="flat", units="1", mean=0.0, sigma_data=0.3, sigma_min=0.01, sigma_max=8.0)
    normalization = Normalization()
    micro_batch = 2

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        return 0.9 * x


class Paired:
    """A network trained on pairs that fits anything."""

    card = SimpleNamespace(name="paired")


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon3d.methods.roles.list_models", list)


def choice(problem: Problem, prior: Any = None, **settings: Any) -> tuple[Any, str]:
    return Auto(**settings).settle(problem, {"prior": prior} if prior else {})


def test_complete_data_need_no_prior() -> None:
    assert choice(ct(30), Flat())[0].name == "fbp"
    assert choice(mri(1), Flat())[0].name == "cg_sense"


def test_few_views_and_short_arcs_go_to_the_prior_or_to_total_variation() -> None:
    method, reason = choice(ct(6), Flat())
    assert (method.name, method.steps) == ("dds", 50)
    assert reason == "6 views where 38 per half turn are complete, prior flat fits: dds with 50 steps."
    arc, reason = choice(ct(60, arc_deg=90.0), Flat())
    assert (arc.name, arc.cg_steps) == ("dds", 20)
    assert reason.startswith("an arc of 90 degrees")
    method, reason = choice(ct(6))
    assert method.name == "tv"
    assert "no prior (No known model fits as prior" in reason
    assert choice(ct(12, arc_deg=360.0), Flat())[0].name == "dds"  # opposite views see the same


def test_mri_by_its_acceleration() -> None:
    method, reason = choice(mri(4), Flat())
    assert (method.name, method.data) == ("dds", "proximal")
    assert reason.startswith("MRI at an acceleration of 4.0, prior flat fits, no reconstructor (No known model fits")
    assert choice(mri(8), Flat())[0].data == "admm_tv"
    assert choice(mri(4))[0].name == "l1_wavelet"


def test_a_network_trained_on_pairs_is_second_to_the_prior_where_few_lines_were_measured() -> None:
    assert Auto().settle(mri(8), {"prior": Flat(), "reconstructor": Paired()})[0].name == "dds"
    method, reason = Auto().settle(mri(8), {"reconstructor": Paired()})
    assert method.name == "supervised"
    assert "reconstructor paired fits: supervised." in reason
    assert Auto().settle(mri(4), {"reconstructor": Paired()})[0].name == "l1_wavelet"


def test_another_kind_of_scan_says_how_much_was_measured() -> None:
    space = Space(("z", "y", "x"), (2, 4, 4))
    problem = Problem(
        torch.zeros(2, 4, 4), Identity(space), NoiseModel(), AffineGrid.centred((2, 4, 4), (1, 1, 1)), kind="seismic"
    )
    method, reason = choice(problem)
    assert method.name == "tv"
    assert reason.startswith("1 measurements for each voxel")


@pytest.mark.parametrize(
    ("budget", "name", "steps"),
    [("1h", "dds", 100), ("3m", "dds", 50), ("40s", "dds", 10), ("21s", "tv", None), ("2", "fbp", None)],
)
def test_a_time_budget(monkeypatch: pytest.MonkeyPatch, budget: str, name: str, steps: int | None) -> None:
    monkeypatch.setattr(module, "seconds_per_gram", lambda problem: 0.1)
    monkeypatch.setattr(module, "seconds_per_network", lambda problem, prior: 2.0)
    method, reason = choice(ct(6), Flat(), budget=budget)
    assert (method.name, getattr(method, "steps", None)) == (name, steps)
    assert f"of {budget}" in reason


def test_a_budget_below_everything_takes_the_fastest_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "seconds_per_gram", lambda problem: 60.0)
    method, reason = choice(ct(6), budget="1s")
    assert method.name == "fbp"
    assert "although 1s is too little for any" in reason


def test_only_what_has_a_network_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "seconds_per_gram", lambda problem: 0.0)
    monkeypatch.setattr(module, "seconds_per_network", lambda problem, model: 7.0)
    models = {"prior": Flat(), "reconstructor": Paired()}
    method, reason = Auto(budget="8s").settle(mri(8), models)
    assert method.name == "supervised"
    assert "about 7 s of 8s" in reason
    assert Auto(budget="6s").settle(mri(8), models)[0].name == "l1_wavelet"


def test_both_clocks_run() -> None:
    problem = ct(6)
    assert module.seconds_per_gram(problem) > 0
    assert module.seconds_per_network(problem, Flat()) > 0


def test_durations() -> None:
    assert [seconds_of(text) for text in ("90", "90s", "5m", "1.5 h", "5min")] == [90.0, 90.0, 300.0, 5400.0, 300.0]
    for wrong in ("soon", "-5", "", "5 weeks"):
        with pytest.raises(ValidationError, match="a time looks like"):
            Auto(budget=wrong)
    with pytest.raises(ValidationError, match="positive"):
        Auto(budget="0s")


def test_python_gets_the_chosen_method_and_the_reason() -> None:
    run = SilentRun()
    problem = ct(30)
    found = reconstruct(problem, "auto", run=run, models={"prior": Flat()})  # given, but not needed
    expected = reconstruct(problem, "fbp", filter="hann")
    np.testing.assert_array_equal(found.volume.data, expected.volume.data)
    assert run.notes == ["30 views where 38 per half turn are complete: fbp."]
    run = SilentRun()
    Auto().reconstruct(problem, {}, run)
    assert len(run.notes) == 1
    method, models, reason = settled(make_method("tv", {}), problem)
    assert (method.name, models, reason) == ("tv", {}, "")


def test_the_classical_method_beside_a_learned_one() -> None:
    assert classical_for(ct(6)) == ("tv", {"iterations": 100})
    assert classical_for(ct(30))[0] == "fbp"
    assert classical_for(mri(4))[0] == "l1_wavelet"


def test_gaps_between_traces_are_for_seisfusion_where_there_is_the_time() -> None:
    """The shipped interpolator fits and is timed on a tile."""
    live = trace_mask("gap", (12, 12), 0.4, np.random.default_rng(0))
    problem = problem_for(masked(scoring_cube("folded", (12, 12, 16), 1), live))
    shipped = {"interpolator": load_model("seismic-cubes")}
    assert Auto(budget="1h").settle(problem, shipped)[0].name == "seisfusion"
    assert Auto().settle(problem, shipped)[0].name == "seisfusion"
    assert Auto(budget="0.0001").settle(problem, shipped)[0].name == "pocs"
