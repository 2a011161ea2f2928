"""Methods for series: what they find, what they say, and what they refuse."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.normalization import Normalization
from recon3d.errors import InputError, ModelError
from recon3d.methods import reconstruct
from recon3d.methods.series import carried_rank, default_rank
from recon3d.priors import Card, Model
from recon3d.priors.coordinates import build_denoiser
from recon3d.priors.networks import build_network
from recon3d.problem import Problem, problem_for
from recon3d.run import SilentRun
from recon3d.scan import Scan
from recon3d.synthetic.dynamic import draw_series
from recon3d.synthetic.dynamic_scans import simulate_ct_series, simulate_mri_series
from recon3d.volume import Volume

FRAMES, SIDE = 32, 32


class Denoiser:
    """A prior with the part of a card that RED-PSM reads: a mean over three pixels each way."""

    def __init__(
        self, units: str = "1", complex_image: bool = False, scale: float = 1.0, strength: float = 1.0
    ) -> None:
        self.card = SimpleNamespace(units=units, complex_image=complex_image, sigma_min=0.01, sigma_max=1.0)
        self.normalization = Normalization(scale=scale)
        self.strength, self.seen = strength, set[torch.dtype]()

    def denoise(self, x: Tensor, sigma: float, cond: Tensor | None = None) -> Tensor:
        self.seen.add(x.dtype)
        smooth = x.clone()
        for dim in (-2, -1):
            smooth = (smooth + smooth.roll(1, dim) + smooth.roll(-1, dim)) / 3
        return x + self.strength * (smooth - x)


@functools.cache
def walnut() -> tuple[Volume, Scan]:
    volume = draw_series("walnut", seed=3, shape=(1, SIDE, SIDE), frames=FRAMES)
    return volume, simulate_ct_series(volume, noise_std=5e-3, seed=1)


@functools.cache
def heart(sampling: str = "cartesian", coils: int = 4) -> tuple[Volume, Scan]:
    volume = draw_series("heart", seed=3, shape=(1, SIDE, SIDE), frames=12)
    settings: dict[str, Any] = {"acceleration": 4, "centre_lines": 4, "spokes": 6, "sampling": sampling}
    return volume, simulate_mri_series(volume, coils=coils, seed=1, **settings)


def problem_of(made: tuple[Volume, Scan]) -> Problem:
    return problem_for(made[1])


def rms(result: Volume, truth: Volume, scaled: bool = False) -> float:
    found = np.abs(result.data) if np.iscomplexobj(result.data) else result.data
    if scaled:
        found = found * (float((found * truth.data).sum()) / float((found**2).sum()))
    return float(np.sqrt(np.mean((found - truth.data) ** 2)))


def test_separable_series_beat_windows() -> None:
    volume, _ = walnut()
    problem = problem_of(walnut())
    window = rms(reconstruct(problem, "sliding_window").volume, volume)
    plain = reconstruct(problem, "psm", regulariser="none", iterations=10)
    tv = reconstruct(problem, "psm", iterations=20)
    assert rms(tv.volume, volume) < rms(plain.volume, volume) < window
    assert tv.volume.data.shape == (FRAMES, 1, SIDE, SIDE)
    assert tv.volume.times_s == volume.times_s
    assert tv.facts["rank"] == default_rank(FRAMES) == 4
    assert 0 < float(tv.facts["residual"]) < 0.1


def test_red_psm_runs_both_solvers_and_tells_its_residuals() -> None:
    volume, _ = walnut()
    problem, run = problem_of(walnut()), SilentRun()
    prior = Denoiser(scale=2.0)
    settings: dict[str, Any] = {"weight": 1e-2, "beta": 1e-2}
    exact = reconstruct(problem, "red_psm", models={"prior": prior}, run=run, iterations=30, **settings)
    assert set(run.trace[-1]) == {"primal", "dual", "data", "change", "red", "beta"}
    assert run.trace[-1]["data"] < 0.1
    assert run.trace[-1]["red"] < 0.3 * run.trace[0]["red"]
    assert float(exact.volume.data.min()) >= -1000.001
    adam = reconstruct(problem, "red_psm", models={"prior": prior}, solver="adam", iterations=8, rate=0.02)
    window = rms(reconstruct(problem, "sliding_window").volume, volume)
    assert rms(adam.volume, volume) < window
    assert rms(exact.volume, volume) < window


def test_it_stops_where_the_residuals_are_small() -> None:
    run = SilentRun()
    reconstruct(problem_of(walnut()), "psm", run=run, iterations=200, tol=0.2)
    assert 1 < len(run.trace) < 60
    assert max(run.trace[-1][name] for name in ("primal", "dual", "change")) <= 0.2
    assert any(run.trace[-2][name] > 0.2 for name in ("primal", "dual", "change"))


class Saving(SilentRun):
    """Keeps a copy of each state; begins from one that was saved."""

    def __init__(self, start: tuple[int, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self.start, self.states = start, list[dict[str, Any]]()

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        return self.start or (0, state)

    def step(self, index: int, state: Mapping[str, object], metrics: Mapping[str, float]) -> bool:
        self.states.append({k: v.clone() if isinstance(v, Tensor) else v for k, v in state.items()})
        return super().step(index, state, metrics)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("psm", {"iterations": 6}),
        ("psm", {"iterations": 4, "regulariser": "none"}),
        ("sliding_window", {}),
        ("lps", {"iterations": 6}),
        ("red_psm", {"iterations": 6}),
    ],
)
def test_an_interrupted_run_goes_on_bit_by_bit(method: str, settings: dict[str, Any]) -> None:
    problem = problem_of(walnut())
    models = {"prior": Denoiser(scale=2.0)} if method == "red_psm" else None
    whole = Saving()
    first = reconstruct(problem, method, run=whole, models=models, **settings)
    half = len(whole.states) // 2
    again = reconstruct(problem, method, run=Saving((half, whole.states[half - 1])), models=models, **settings)
    np.testing.assert_array_equal(again.volume.data, first.volume.data)


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
def test_cine_mri(sampling: str) -> None:
    volume, _ = heart(sampling)
    problem = problem_of(heart(sampling))
    assert problem.domain.is_complex
    window = rms(reconstruct(problem, "sliding_window", window=3).volume, volume, scaled=True)
    for method, settings in (
        ("lps", {"iterations": 30}),
        ("psm", {"iterations": 10}),
        ("temporal_tv", {"iterations": 40}),
    ):
        found = reconstruct(problem, method, **settings)
        assert rms(found.volume, volume, scaled=True) < 0.9 * window, method


@pytest.mark.parametrize(("complex_image", "by"), [(True, "parts"), (False, "parts"), (False, "magnitude")])
def test_complex_frames_and_denoisers_of_either_kind(complex_image: bool, by: str) -> None:
    problem = problem_of(heart())
    prior = Denoiser(complex_image=complex_image, strength=0.2)
    found = reconstruct(problem, "red_psm", models={"prior": prior}, iterations=3, complex_by=by)
    assert np.iscomplexobj(found.volume.data)
    assert prior.seen == {torch.complex64 if complex_image else torch.float32}


def test_a_dncnn_is_asked_at_the_one_sigma_that_it_knows() -> None:
    architecture = {"kind": "dncnn", "depth": 3, "channels": 4}
    card = Card.model_validate(
        {"name": "toy", "modality": "any", "units": "1", "scale": 2.0, "sigma_min": 0.02, "sigma_max": 0.02,
         "sigma_data": 0.25, "voxel_mm": None, "licence": "MIT", "architecture": architecture,
         "coordinates": {"kind": "blind", "residual": True}}
    )  # fmt: skip
    prior = Model(card, build_denoiser(card, build_network(architecture)).eval().requires_grad_(False))
    found = reconstruct(problem_of(walnut()), "red_psm", models={"prior": prior}, iterations=2)
    assert np.isfinite(found.volume.data).all()
    with pytest.raises(ModelError, match=r"trained for sigma 0\.02"):
        reconstruct(problem_of(walnut()), "red_psm", models={"prior": prior}, iterations=2, sigma=0.06)


@pytest.mark.parametrize("start", ["windows", "prosep", "cosines", "auto"])
def test_starts(start: str) -> None:
    volume, _ = walnut()
    found = reconstruct(problem_of(walnut()), "psm", start=start, iterations=15)
    assert rms(found.volume, volume) < rms(reconstruct(problem_of(walnut()), "sliding_window").volume, volume)


def test_several_slices_share_their_time_functions() -> None:
    volume = draw_series("walnut", seed=3, shape=(2, SIDE, SIDE), frames=FRAMES)
    scan = simulate_ct_series(volume, noise_std=5e-3, seed=1)
    found = reconstruct(problem_for(scan), "psm", iterations=15)
    window = reconstruct(problem_for(scan), "sliding_window")
    assert rms(found.volume, volume) < rms(window.volume, volume)


def test_bit_reversal_beats_linear_order() -> None:
    volume, _ = walnut()
    errors = [
        rms(
            reconstruct(
                problem_for(simulate_ct_series(volume, noise_std=5e-3, order=order)), "psm", iterations=15
            ).volume,
            volume,
        )
        for order in ("bit-reversed", "linear")
    ]
    assert errors[0] < errors[1]


def still(views: int = 4) -> Scan:
    volume, _ = walnut()
    scan = simulate_ct_series(replace(volume, data=volume.data[:views], times_s=volume.times_s[:views]))  # type: ignore[index]
    return replace(scan, acquisition={k: v for k, v in scan.acquisition.items() if k != "times_s"}, name="rest")


@pytest.mark.parametrize("method", ["psm", "red_psm", "sliding_window", "temporal_tv", "lps"])
def test_a_scan_without_times_is_refused(method: str) -> None:
    models = {"prior": Denoiser()} if method == "red_psm" else None
    with pytest.raises(InputError, match="'rest' has no times: give each view its time"):
        reconstruct(problem_for(still()), method, models=models)


@pytest.mark.parametrize("method", ["psm", "sliding_window", "temporal_tv", "lps"])
def test_one_instant_alone_is_refused(method: str) -> None:
    scan = still()
    once = replace(scan, acquisition={**scan.acquisition, "times_s": np.zeros(len(scan.data))})
    with pytest.raises(InputError, match="at least two instants, 'rest' has one"):
        reconstruct(problem_for(once), method)


def test_a_rank_that_the_data_do_not_carry_is_told_with_the_number() -> None:
    problem, run = problem_of(walnut()), SilentRun()
    carried = carried_rank(problem)
    assert 1 < carried < 2  # 32 views of some 41 columns for 1024 pixels
    reconstruct(problem, "psm", rank=6, iterations=1, run=run)
    assert any(f"carry a rank of {carried:.1f}" in note and "6 was asked for" in note for note in run.notes)
    quiet = SilentRun()
    reconstruct(problem, "psm", iterations=1, run=quiet)
    assert quiet.notes == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 6, "knots": 4}, "as many knots at least"),
        ({"knots": 33}, "32 frames allow 32 at most"),
        ({"start": "navigator"}, "choose windows"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reconstruct(problem_of(walnut()), "psm", **settings)


def test_other_refusals() -> None:
    with pytest.raises(InputError, match="parallel CT"):
        reconstruct(problem_of(heart()), "psm", start="prosep")
    with pytest.raises(InputError, match="inner=cg"):
        reconstruct(problem_of(heart()), "sliding_window", inner="fbp")
    with pytest.raises(InputError, match="choose sliding_window"):
        reconstruct(problem_of(walnut()), "fbp")
    from recon3d.methods.red_psm import RedPSM

    with pytest.raises(ModelError, match="needs a denoiser"):
        RedPSM().reconstruct(problem_of(walnut()), {}, SilentRun())


@pytest.mark.parametrize("inner", ["sirt", "cg", "fbp"])
def test_windows_by_other_methods(inner: str) -> None:
    problem = problem_of(walnut())
    found = reconstruct(problem, "sliding_window", inner=inner, window=8, iterations=5)
    assert found.facts["window"] == 8
    np.testing.assert_array_equal(found.volume.data[0], found.volume.data[3])  # the first windows are one
