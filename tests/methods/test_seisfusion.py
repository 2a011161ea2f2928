"""SeisFusion: kriging with a Gaussian prior, exact traces, no leak, tiles, the published walk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import recon3d
import recon3d.methods.seisfusion as module
from operators.seismic import trace_mask
from recon3d.grid import SurveyGrid
from recon3d.methods.seisfusion import UNKNOWN_NOISE
from recon3d.methods.tiles import TiledDenoiser
from recon3d.priors.analytic import DenseGaussian
from recon3d.priors.cards import InterpolatorCard
from recon3d.priors.interpolator import Interpolator, network_of
from recon3d.problem import problem_for
from recon3d.run import SilentRun
from recon3d.sampling.repaint import repaint_walk
from recon3d.scan import Scan
from recon3d.solvers.gaps import first_guess
from recon3d.synthetic.seismic import layered_cube
from recon3d.synthetic.seismic_masks import masked

SHAPE = (12, 10, 16)
CUBE = layered_cube(SHAPE, 4, family="folded")
LIVE = trace_mask("random", SHAPE[:2], 0.5, np.random.default_rng(0))


def survey(shape: tuple[int, int, int]) -> SurveyGrid:
    return SurveyGrid(shape, (1, 1), (1, 1), (0.0, 0.0), (0.0, 25.0), (25.0, 0.0), 0.0, 0.004)


@dataclass(frozen=True)
class Prior:
    """A Gaussian prior in the place of an interpolator; it does not see the traces."""

    gaussian: Any
    card: ClassVar[SimpleNamespace] = SimpleNamespace(sigma_max=80.0, sigma_min=0.002)

    def denoise(self, x: Tensor, sigma: float, cond: Tensor | None = None) -> Tensor:
        return self.gaussian.denoise(x, sigma)  # type: ignore[no-any-return]


class White:
    """N(0, 1) for every sample."""

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        return x / (1 + sigma**2)


def white() -> Prior:
    return Prior(White())


def untrained() -> Interpolator:
    """A network that moves its guess a little, so that what it is shown can be told from its answer."""
    architecture = {"kind": "unet3d", "channels": [8, 8], "fold": [1, 1, 2], "embedding": 8}
    ranges = {"sigma_min": 0.03, "sigma_max": 3.0, "sigma_data": 0.5, "smallest_side": 1}
    card = InterpolatorCard(name="t", modality="seismic", architecture=architecture, licence="x", **ranges)
    torch.manual_seed(0)
    network = network_of(card)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return Interpolator(card, network.eval().requires_grad_(False), half=False)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the network's correction is taken, so that what it does can be seen."""
    monkeypatch.setattr(TiledDenoiser, "share", lambda *_: 1.0)


def kriging_case() -> tuple[Any, Prior, np.ndarray, np.ndarray, np.ndarray]:
    """The sheet's 48 samples: squared exponential of length 4, variance 0.25, a gap of ten and two single holes."""
    place = np.arange(48)
    covariance = 0.25 * np.exp(-0.5 * ((place[:, None] - place) / 4.0) ** 2) + 1e-4 * np.eye(48)
    field = np.linalg.cholesky(covariance) @ np.random.default_rng(0).standard_normal(48)
    live = np.ones(48, bool)
    live[[*range(18, 28), 5, 40]] = False
    bins = {"crossline": np.flatnonzero(live).astype(np.int32), "inline": np.zeros(int(live.sum()), np.int32)}
    scan = Scan("seismic", field[live][:, None], ("trace", "sample"), bins, survey((48, 1, 1)))
    problem = problem_for(scan, dtype=torch.float64)
    scaled = covariance / problem.image_scale**2
    seen = scaled[np.ix_(live, live)] + UNKNOWN_NOISE**2 * np.eye(int(live.sum()))
    kriged = scaled[:, live] @ np.linalg.solve(seen, field[live])
    prior = Prior(DenseGaussian(torch.zeros(48, 1, 1, dtype=torch.float64), torch.from_numpy(scaled)))
    return problem, prior, field, live, kriged


@pytest.mark.parametrize("steps", [20, 50])
def test_mean_is_kriging_with_the_covariance_step(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampler is affine in its noise for a Gaussian prior, so its mean is the run without noise."""
    problem, prior, field, live, kriged = kriging_case()
    monkeypatch.setattr(module, "step_noise", lambda problem, *_: problem.domain.zeros())
    settings = {"data": "covariance", "steps": steps, "cg_steps": 60, "sigma_min": 0.002, "result": "samples"}
    found = recon3d.reconstruct(problem, "seisfusion", models={"interpolator": prior}, **settings).volume.data[:, 0, 0]
    gaps = ~live
    assert np.linalg.norm(found[gaps] - kriged[gaps]) < 0.01 * np.linalg.norm(kriged[gaps])
    np.testing.assert_array_equal(found[live], field[live])


def test_replacing_traces_alone_is_not_kriging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trap of the sheet: with a prior that does not see the traces, replacement is biased by half."""
    problem, prior, _, live, kriged = kriging_case()
    monkeypatch.setattr(module, "step_noise", lambda problem, *_: problem.domain.zeros())
    settings = {"data": "replace", "steps": 50, "sigma_min": 0.002, "result": "samples"}
    found = recon3d.reconstruct(problem, "seisfusion", models={"interpolator": prior}, **settings).volume.data[:, 0, 0]
    assert 0.3 < np.linalg.norm((found - kriged)[~live]) / np.linalg.norm(kriged[~live]) < 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 3, "result": "samples"},
        {"samples": 2, "steps": 2},
        {"steps": 2, "samples": 3, "result": "samples"},
        {"mode": "published", "repeats": 1},
    ],
)
def test_recorded_traces_are_exact_and_have_no_spread(settings: dict[str, Any]) -> None:
    if settings.get("mode") == "published":
        settings = {**settings, "jump": 200}
    scan = masked(CUBE, LIVE)
    result = recon3d.reconstruct(problem_for(scan), "seisfusion", models={"interpolator": white()}, **settings)
    np.testing.assert_array_equal(result.volume.data[LIVE], CUBE.data[LIVE])
    assert np.isfinite(result.volume.data).all()
    if "samples" in settings:
        assert result.uncertainty is not None
        assert (result.uncertainty.data[LIVE] == 0).all()
        assert (result.uncertainty.data[~LIVE] > 0).any()


@pytest.mark.usefixtures("trusted")
def test_what_was_not_recorded_does_not_leak() -> None:
    model = untrained()
    other = CUBE.with_data(np.where(LIVE[..., None], CUBE.data, 7.0).astype(np.float32))
    found = [
        recon3d.reconstruct(
            problem_for(masked(c, LIVE)), "seisfusion", models={"interpolator": model}, steps=2, samples=2
        )
        for c in (CUBE, other)
    ]
    np.testing.assert_array_equal(found[0].volume.data, found[1].volume.data)


@pytest.mark.usefixtures("trusted")
def test_amplitudes_scale() -> None:
    model = untrained()
    louder = CUBE.with_data(CUBE.data * np.float32(4))
    a, b = (
        recon3d.reconstruct(
            problem_for(masked(c, LIVE)), "seisfusion", models={"interpolator": model}, steps=2
        ).volume.data
        for c in (CUBE, louder)
    )
    np.testing.assert_allclose(b, 4 * a, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("trusted")
def test_one_tile_is_the_whole_and_batches_change_nothing() -> None:
    model, problem = untrained(), problem_for(masked(CUBE, LIVE))
    runs = [{"tile": SHAPE}, {"tile": (64, 64, 64)}, {"tile": (8, 8, 8)}]
    whole, larger, tiled = (
        recon3d.reconstruct(problem, "seisfusion", models={"interpolator": model}, steps=2, **run).volume.data
        for run in runs
    )
    np.testing.assert_array_equal(whole, larger)
    assert np.abs(tiled - whole).max() > 0  # the network sees less around a tile


class Shifted(Interpolator):
    """A network whose answer is the true cube moved away from the guess by a factor: 1 knows it, -1 harms."""

    factor = 1.0

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor:
        assert cond is not None
        truth = torch.from_numpy(CUBE.data / np.sqrt(np.mean(CUBE.data[LIVE] ** 2)))
        return cond[:, 0] + self.factor * (truth - cond[:, 0])


@pytest.mark.parametrize(("factor", "share"), [(1.0, 1.0), (2.0, 0.5), (-1.0, 0.0)])
@pytest.mark.parametrize("settings", [{}, {"samples": 2, "steps": 2}, {"samples": 2, "steps": 2, "result": "samples"}])
def test_hidden_traces_tell_how_much_of_the_network_to_take(
    factor: float, share: float, settings: dict[str, Any]
) -> None:
    """What overshoots comes back to the truth, and what harms to the guess; so does the mean of samples."""
    plain, problem = untrained(), problem_for(masked(CUBE, LIVE))
    model = Shifted(plain.card, plain.network, half=False)
    model.factor = factor
    result = recon3d.reconstruct(problem, "seisfusion", models={"interpolator": model}, **settings)
    assert result.facts["network_share"] == pytest.approx(share, abs=1e-3)
    live = torch.from_numpy(LIVE)[..., None].float()
    wanted = CUBE.data if share else first_guess(live * torch.from_numpy(CUBE.data), live).numpy()
    np.testing.assert_allclose(result.volume.data, wanted, atol=1e-3)
    assert result.facts["calls"] == (5 if settings else 2)


def test_complete_surveys_need_no_network() -> None:
    class Refuses:
        card = SimpleNamespace(sigma_max=1.0, sigma_min=0.1)

        def denoise(self, *_: Any) -> Tensor:
            raise AssertionError

    scan = masked(CUBE, np.ones(SHAPE[:2], bool))
    result = recon3d.reconstruct(problem_for(scan), "seisfusion", models={"interpolator": Refuses()})
    np.testing.assert_array_equal(result.volume.data, CUBE.data)


def test_tiles_without_a_trace_are_told() -> None:
    live = np.zeros(SHAPE[:2], bool)
    live[:2] = True
    run = SilentRun()
    settings = {"steps": 2, "tile": (4, 10, 16)}
    models = {"interpolator": white()}
    result = recon3d.reconstruct(problem_for(masked(CUBE, live)), "seisfusion", models=models, run=run, **settings)
    assert np.isfinite(result.volume.data).all()
    assert "hold no recorded trace" in run.notes[0]


def test_walk_of_the_released_code() -> None:
    walk = np.array(repaint_walk(250, 10, 10))
    moves = np.diff(walk)
    assert (walk[0], walk[-1]) == (249, -1)
    assert set(moves.tolist()) == {-1, 1}
    assert ((moves < 0).sum(), (moves > 0).sum()) == (2410, 2160)
    assert repaint_walk(250, 10, 1) == list(range(249, -2, -1))


def test_published_mode_counts_its_calls() -> None:
    run = SilentRun()
    problem = problem_for(masked(CUBE, LIVE))
    settings = {"mode": "published", "jump": 100, "repeats": 2}
    recon3d.reconstruct(problem, "seisfusion", models={"interpolator": white()}, run=run, **settings)
    down = [entry for entry in run.trace if "sigma" in entry]
    assert len(down) == 250 + 2 * 100
    assert len(run.trace) == 250 + 2 * 200


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("result", ["mean", "samples"])
def test_resume_gives_the_same_bits(result: str) -> None:
    class Stopped(SilentRun):
        saved: dict[str, object]

        def step(self, index: int, state: Any, metrics: Any) -> bool:
            self.saved = {name: value.clone() for name, value in state.items()}
            return index < 2

    class Resumed(SilentRun):
        def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
            return 3, first.saved

    problem, models = problem_for(masked(CUBE, LIVE)), {"interpolator": untrained()}
    settings = {"steps": 3, "samples": 2, "eta": 0.5, "result": result}
    whole = recon3d.reconstruct(problem, "seisfusion", models=models, **settings)
    first = Stopped()
    recon3d.reconstruct(problem, "seisfusion", models=models, run=first, **settings)
    again = recon3d.reconstruct(problem, "seisfusion", models=models, run=Resumed(), **settings)
    np.testing.assert_array_equal(again.volume.data, whole.volume.data)


def test_known_noise_softens_nothing_that_was_recorded() -> None:
    scan = replace(masked(CUBE, LIVE), noise={"std": 0.1})
    settings = {"steps": 2, "data": "covariance", "cg_steps": 2}
    result = recon3d.reconstruct(problem_for(scan), "seisfusion", models={"interpolator": white()}, **settings)
    np.testing.assert_array_equal(result.volume.data[LIVE], CUBE.data[LIVE])
