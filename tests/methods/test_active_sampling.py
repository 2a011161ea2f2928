"""Active sampling on priors with closed-form answers: order, budget, adaptivity, data, independence, resume, faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from operators.linear import Identity, LinearOperator
from operators.mri import CartesianEncoding
from operators.normalization import Normalization
from operators.space import Space
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.methods.acquiring import quota
from recon3d.methods.active_sampling import ActiveSampling
from recon3d.methods.base import Reconstruction
from recon3d.noise import NoiseModel
from recon3d.priors.analytic import DenseGaussian, GaussianMixture, StationaryGaussian
from recon3d.problem import Problem
from recon3d.run import SilentRun
from recon3d.sensing.source import CallableSource, SimulatedSource
from recon3d.sensing.units import Unit, Units

SHAPE = (2, 12, 16)


class Prior:
    """A denoiser with the part of a card that the method reads."""

    def __init__(self, denoise: Callable[..., Tensor], **card: float) -> None:
        self.denoise = denoise
        self.normalization = Normalization()
        known = {"units": "1", "mean": 0.0, "sigma_data": 1.0, "sigma_min": 1e-3, "sigma_max": 1e3}
        self.card = SimpleNamespace(**{**known, **card})


def power(shape: tuple[int, ...] = SHAPE[1:]) -> Tensor:
    """Falls with the frequency along both axes."""
    k = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) * n for n in shape), indexing="ij")
    return 20 / (1 + k[0] ** 2 + k[1] ** 2) ** 2


def mri_problem(seed: int = 0, std: float | None = None, coils: int = 2) -> Problem:
    """Two slices of a draw of the prior, seen by smooth coils."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(SHAPE, generator=generator, dtype=torch.complex128)
    truth = torch.fft.ifft2(torch.fft.fft2(white) * power().sqrt())
    phase = torch.linspace(0, 1, SHAPE[2], dtype=torch.float64) * torch.arange(coils)[:, None, None, None]
    maps = torch.exp(1j * phase).expand(coils, *SHAPE) / coils**0.5
    A = CartesianEncoding(maps.contiguous())
    return Problem(A(truth), A, NoiseModel(std), AffineGrid.centred(SHAPE, (1.0, 1.0, 1.0)))


PRIOR = Prior(StationaryGaussian(power()).denoise, sigma_data=0.5)


def solve(problem: Problem, prior: Any = PRIOR, run: Any = None, **settings: Any) -> Reconstruction:
    chosen = {"steps": 12, "sigma_max": 5.0, "budget": 6, "particles": 4, **settings}
    return ActiveSampling(**chosen).reconstruct(problem, {"prior": prior}, run or SilentRun())


def order(result: Reconstruction, slice: int | None = None) -> list[int]:
    return [unit for _, s, unit in result.details["acquisition"]["order"] if s == slice]


@given(count=st.integers(0, 40), first=st.integers(0, 5), length=st.integers(1, 20))
def test_the_quota_is_the_budget(count: int, first: int, length: int) -> None:
    each = [quota(count, first, first + length)(step) for step in range(40)]
    assert sum(each) == count
    assert not any(each[:first] + each[first + length :])
    assert max(each) - min(each[first : first + length]) <= 1
    if 0 < count <= length:
        assert [k for k, n in enumerate(each) if n] == [first + k * length // count for k in range(count)]


@pytest.mark.parametrize(
    "policy", ["variance", "entropy", "published", "truth", "random", "variable_density", "equispaced"]
)
@pytest.mark.parametrize("shared", [True, False])
def test_exactly_the_budget_is_measured(policy: str, shared: bool) -> None:
    problem = mri_problem()
    result = solve(problem, policy=policy, shared=shared, budget=7, steps=6, start=4)
    for s in [None] if shared else [0, 1]:
        assert len(order(result, s)) == len(set(order(result, s))) == 7
        assert order(result, s)[:4] == [6, 7, 8, 9]  # the middle first
    assert result.facts["measured"] == 7
    assert result.volume.data.shape == SHAPE
    assert result.history is not None
    assert result.history.shape == (6, *SHAPE[1:])


def test_low_frequencies_come_first() -> None:
    """The prior's power falls with the distance from line 8, the middle."""
    chosen = order(solve(mri_problem(coils=1), particles=32, start=1, budget=7))
    assert chosen[0] == 8
    assert set(chosen) == {5, 6, 7, 8, 9, 10, 11}


@pytest.mark.parametrize("guidance", ["cg", "gradient"])
def test_nothing_is_drawn_where_no_coil_sees(guidance: str) -> None:
    problem = mri_problem()
    maps = cast("CartesianEncoding", problem.A).maps[0].clone()
    maps[..., :5] = 0
    A = CartesianEncoding(maps)
    blind = replace(problem, A=A, y=A(torch.ones(SHAPE, dtype=torch.complex128)))
    result = solve(blind, guidance=guidance, weight=1.0)
    assert not result.volume.data[..., :5].any()
    assert result.volume.data[..., 5:].all()
    assert result.uncertainty is not None
    assert not result.uncertainty.data[..., :5].any()


@pytest.mark.parametrize("guidance", ["cg", "gradient"])
def test_measured_data_are_reproduced(guidance: str) -> None:
    settings = {"guidance": guidance, "cg_steps": 10, "weight": 1.0, "eta": 0.0}
    assert solve(mri_problem(coils=1), consistent=True, **settings).facts["residual"] < 1e-12
    result = solve(mri_problem(), consistent=True, **settings)
    assert result.facts["residual"] < 1e-3
    if guidance == "cg":  # without that, down to the noise
        assert solve(mri_problem(std=1e-3), **settings).facts["residual"] < 0.01
    assert result.uncertainty is not None
    assert float(result.uncertainty.data.min()) >= 0
    assert list(result.others) == [f"sample {p}" for p in (1, 2, 3, 4)]


def test_both_guidances_come_close_to_the_wiener_mean() -> None:
    """With one flat coil the posterior mean is exact: measured lines as they are, others the prior's mean, zero."""
    problem = mri_problem(coils=1)
    listed = [4, 5, 6, 7, 8, 9, 10, 11]
    mask = torch.zeros(16, dtype=torch.float64)
    mask[listed] = 1
    exact = problem.A.H(problem.y * mask)
    for settings in ({"guidance": "cg"}, {"guidance": "gradient", "weight": 3.0}):
        settings |= {"policy": "listed", "listed": listed, "budget": 8, "particles": 24, "steps": 30}
        settings |= {"eta": 0.0, "consistent": True, "assumed_noise": 0.0, "start": 4}
        found = solve(problem, **settings)
        samples = torch.stack([torch.from_numpy(v.data) for v in found.others.values()])
        error = float((samples.mean(0) - exact).abs().square().mean() / samples.var(0).mean())
        assert error == pytest.approx(1 / 24, rel=0.1)  # the Monte Carlo error of a mean of 24
        spread = float(problem.A(samples)[..., mask == 0].var(0).mean())
        expected = float(2 * torch.fft.fftshift(power())[:, mask == 0].mean())  # of two channels
        assert spread == pytest.approx(expected * problem.image_scale**2, rel=0.1)  # the prior's range is relative


def test_the_second_choice_follows_the_first_answer() -> None:
    """A diagnostic column tells which of two others varies: no fixed order can know."""
    rows, columns, diagnostic, of_first, of_second = 2, 6, 2, 0, 5
    image = (1, rows, columns)

    def component(sign: float, vivid: int) -> DenseGaussian:
        mean = torch.zeros(image, dtype=torch.float64)
        mean[..., diagnostic] = 4.0 * sign
        variance = torch.full(image, 0.02, dtype=torch.float64)
        variance[..., vivid] = 4.0
        return DenseGaussian(mean, torch.diag(variance.flatten()))

    parts = [component(1.0, of_first), component(-1.0, of_second)]
    mixture = GaussianMixture(torch.ones(2, dtype=torch.float64), parts)
    A = Identity(Space(("z", "y", "x"), image, torch.float64))
    for seed in range(4):
        which = seed % 2
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(image, generator=generator, dtype=torch.float64)
        truth = parts[which].mean + torch.diag(parts[which].covariance).sqrt().reshape(image) * noise
        problem = Problem(truth, A, NoiseModel(0.01), AffineGrid.centred(image, (1.0, 1.0, 1.0)), calibration={})
        fixed = SimpleNamespace(
            denoise=mixture.denoise, normalization=Normalization(), card=replace_card(units="1", sigma_data=2.0)
        )
        method = ActiveSampling(
            units="scan_lines", start=0, budget=2, particles=12, steps=30, sigma_max=20.0, window=(0.3, 0.7)
        )
        chosen = order(method.acquire(replace_scale(problem), source_of(problem), {"prior": fixed}, SilentRun(seed)))
        assert chosen == [diagnostic, (of_first, of_second)[which]]


def replace_card(**card: Any) -> SimpleNamespace:
    known = {"mean": 0.0, "sigma_data": 1.0, "sigma_min": 1e-3, "sigma_max": 1e3}
    return SimpleNamespace(**{**known, **card})


def source_of(problem: Problem) -> SimulatedSource:
    return SimulatedSource(Units.of(problem.A, "scan_lines"), problem.y)


def replace_scale(problem: Problem) -> Problem:
    """The image's scale is known beforehand: nothing has been measured from which it could follow."""
    return replace(problem, units="1/mm", calibration={"water_per_mm": 1.0})


def test_particles_do_not_depend_on_their_number() -> None:
    few, many = (solve(mri_problem(), policy="random", particles=p) for p in (2, 5))
    for name in ("sample 1", "sample 2"):
        assert (few.others[name].data == many.others[name].data).all()


@pytest.mark.parametrize("guidance", ["cg", "gradient"])
def test_nothing_unmeasured_is_read(guidance: str) -> None:
    problem = mri_problem()
    first = solve(problem, guidance=guidance)
    poisoned = torch.full_like(problem.y, torch.nan)
    for unit in order(first):
        poisoned[..., unit] = problem.y[..., unit]
    again = solve(replace(problem, y=poisoned), guidance=guidance)
    assert order(first) == order(again)
    assert (first.volume.data == again.volume.data).all()


def test_the_unit_of_the_data_does_not_matter() -> None:
    problem = mri_problem(std=0.01)
    scaled = replace(problem, y=problem.y * 1000, noise=NoiseModel(10.0))
    first, again = (solve(p, policy="entropy") for p in (problem, scaled))
    assert order(first) == order(again)
    assert again.volume.data == pytest.approx(1000 * first.volume.data, rel=1e-6)


class StoppingRun(SilentRun):
    """Stops after iteration `at`; started with what it saved it goes on."""

    def __init__(self, at: int, saved: tuple[int, dict[str, Any]] | None = None) -> None:
        super().__init__(seed=4)
        self.at, self.saved = at, saved

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        return (0, state) if self.saved is None else self.saved

    def step(self, index: int, state: Mapping[str, object], metrics: Mapping[str, float]) -> bool:
        if index == self.at:
            self.saved = (index + 1, {name: value.clone() for name, value in state.items()})  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize("at", [2, 8])
def test_a_resumed_run_gives_the_same_bits(at: int) -> None:
    problem = mri_problem()
    whole = solve(problem, run=SilentRun(seed=4), eta=0.5)
    stopped = StoppingRun(at)
    with pytest.raises(KeyboardInterrupt):
        solve(problem, run=stopped, eta=0.5)
    resumed = solve(problem, run=StoppingRun(-1, stopped.saved), eta=0.5)
    assert (whole.volume.data == resumed.volume.data).all()
    assert whole.details == resumed.details


def test_the_published_settings_run() -> None:
    """The paper's schedule, one norm for all particles, one pass and the score of its code; lines near the middle."""
    settings = {"grid": "angle", "guidance": "gradient", "joint_norm": True, "policy": "published", "restart": False}
    chosen = order(solve(mri_problem(), start=1, width=50.0, steps=30, window=(0.0, 0.4), **settings))
    assert len(set(chosen)) == 6
    assert max(abs(unit - 8) for unit in chosen) <= 5


def test_points_are_chosen_many_at_once() -> None:
    result = solve(mri_problem(), units="points", budget=60, steps=8, coverage=1.5)
    chosen = order(result)
    assert len(chosen) == len(set(chosen)) == 60
    rows = [unit // 16 for unit in chosen]
    assert sum(3 <= row <= 9 for row in rows) > 40  # near the middle, row 6


def test_a_live_source_is_asked_for_what_is_chosen() -> None:
    problem = mri_problem()
    units = Units.of(problem.A, "lines")
    asked: list[int] = []

    def scanner(unit: Unit) -> Tensor:
        asked.append(unit.index)
        return problem.y[..., unit.index]

    unseen = replace(problem, y=torch.full_like(problem.y, torch.nan))
    method = ActiveSampling(budget=6, particles=2, steps=6, sigma_max=5.0)
    result = method.acquire(unseen, CallableSource(units, scanner), {"prior": PRIOR}, SilentRun())
    assert asked == order(result)
    assert len(asked) == 6


def broken(answer: Callable[[Tensor], Tensor]) -> Callable[[Problem], Reconstruction]:
    def run(problem: Problem) -> Reconstruction:
        units = Units.of(problem.A, "lines")
        source = CallableSource(units, lambda unit: answer(problem.y[..., unit.index]))
        return ActiveSampling(budget=6, steps=4).acquire(problem, source, {"prior": PRIOR}, SilentRun())

    return run


def test_faults_are_told_in_one_sentence() -> None:
    problem = mri_problem()
    with pytest.raises(ConfigError, match="asks for 17 units, 16 are within reach"):
        solve(problem, budget=17)
    with pytest.raises(ConfigError, match="less than one unit of 16"):
        solve(problem, budget=0.01)
    with pytest.raises(ConfigError, match="whole number of units or a share below 1"):
        solve(problem, budget=2.5)
    with pytest.raises(ConfigError, match="start is 9 units, the budget 6"):
        solve(problem, start=9)
    with pytest.raises(ConfigError, match="particles is at least 2, got 1"):
        solve(problem, particles=1)
    with pytest.raises(ConfigError, match="window is a part of the steps"):
        solve(problem, window=(0.5, 0.5))
    with pytest.raises(InputError, match="unit 7 with 24 NaN"):
        broken(lambda y: y[:1] * torch.nan)(mri_problem(coils=1))
    with pytest.raises(InputError, match=r"shape \(2, 2, 11\), expected \(2, 2, 12\)"):
        broken(lambda y: y[..., 1:])(problem)
    other = SimulatedSource(Units(Space(("kx",), (16,)), ("kx",)), torch.zeros(16))
    with pytest.raises(ConfigError, match="The source measures"):
        ActiveSampling().acquire(problem, other, {"prior": PRIOR}, SilentRun())


def test_one_particle_is_enough_for_a_fixed_choice() -> None:
    result = solve(mri_problem(), policy="random", particles=1)
    assert result.uncertainty is None
    assert not result.others


def test_an_undersampled_scan_gives_only_what_it_has() -> None:
    problem = mri_problem()
    mask = torch.ones(16)
    mask[[0, 1, 12, 13, 14, 15]] = 0
    A: LinearOperator = CartesianEncoding(problem.A.maps[0], mask)  # type: ignore[attr-defined]
    held = replace(problem, A=A, y=problem.y * mask)
    assert set(order(solve(held, budget=10))) == set(range(2, 12))
    with pytest.raises(ConfigError, match="asks for 11 units, 10 are within reach"):
        solve(held, budget=11)
