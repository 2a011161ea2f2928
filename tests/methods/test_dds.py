from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

import recon3d.methods.dds as module
from operators.linear import LinearOperator, Slab
from operators.normalization import Normalization
from operators.reduce import norm
from operators.space import Space
from operators.tomography import ImageGrid, Projector, TomographyGeometry
from recon3d.errors import ConfigError, ModelError
from recon3d.grid import AffineGrid
from recon3d.methods.dds import DDS
from recon3d.noise import NoiseModel
from recon3d.priors.analytic import DenseGaussian, PerfectDenoiser, StationaryGaussian
from recon3d.priors.calibration import Calibration
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.model import Model
from recon3d.priors.networks import build_network
from recon3d.priors.reuse import SliceReuse
from recon3d.problem import Problem
from recon3d.run import SilentRun
from recon3d.sampling.grids import karras_grid, lambda_grid, vp_alpha_bar, vp_grid
from recon3d.sampling.noise import counter_noise

NOISE = "recon3d.methods.samples.counter_noise"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny arrays are slower on many threads."""
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(threads)


class Slicewise(LinearOperator):
    """One matrix (data, pixels) on every slice; `back` stands for its adjoint, as published codes have it."""

    def __init__(self, matrix: Tensor, shape: tuple[int, int, int], back: Tensor | None = None) -> None:
        super().__init__(
            Space(("z", "y", "x"), shape, matrix.dtype), Space(("z", "value"), (shape[0], len(matrix)), matrix.dtype)
        )
        self.matrix, self.shape, self.back = matrix, shape, matrix.mH if back is None else back

    def _forward(self, x: Tensor) -> Tensor:
        return x.flatten(-2) @ self.matrix.mT

    def _adjoint(self, y: Tensor) -> Tensor:
        return (y @ self.back.mT).unflatten(-1, self.shape[1:])

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        return Slab(Slicewise(self.matrix, (stop - start, *self.shape[1:]), self.back), "z", start, stop)


class Prior:
    """A denoiser with the part of a card that DDS reads."""

    def __init__(self, denoise: Callable[..., Tensor], **card: float) -> None:
        self.denoise = denoise
        self.normalization = Normalization()
        known = {"units": "1", "mean": 0.0, "sigma_data": 1.0, "sigma_min": 1e-3, "sigma_max": 1e3}
        self.card = SimpleNamespace(**{**known, **card})


class StoppingRun(SilentRun):
    """Stops with an exception after iteration `at`; started again with what it saved, it goes on."""

    def __init__(self, at: int, saved: tuple[int, dict[str, Any]] | None = None) -> None:
        super().__init__(seed=4)
        self.at, self.saved = at, saved

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        self.total = total
        return (0, state) if self.saved is None else self.saved

    def step(self, index: int, state: Mapping[str, object], metrics: Mapping[str, float]) -> bool:
        if index == self.at:
            self.saved = (index + 1, {name: value.clone() for name, value in state.items()})  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return True


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make_problem(A: LinearOperator, y: Tensor, std: float | None = None) -> Problem:
    return Problem(y, A, NoiseModel(std), AffineGrid.centred(A.domain.shape[-3:], (1.0, 1.0, 1.0)))


def solve(problem: Problem, denoise: Any, run: Any = None, card: Mapping[str, float] | None = None, **settings: Any):
    prior = denoise if hasattr(denoise, "card") else Prior(denoise, **(card or {}))
    return DDS(**settings).reconstruct(problem, {"prior": prior}, run or SilentRun())


def decibels(x: np.ndarray, truth: Tensor) -> float:
    error = float((torch.from_numpy(x) - truth).abs().square().mean())
    return -10 * math.log10(error / float(truth.abs().square().mean()) + 1e-32)


# Perfect denoiser --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["vp", "karras", "lambda"])
@pytest.mark.parametrize(
    "settings", [{"data": "cg"}, {"data": "proximal", "gamma": 1.0}, {"data": "admm_tv", "threshold": 0.0}]
)
@pytest.mark.parametrize("eta", [0.0, 0.85])
def test_a_perfect_denoiser_gives_the_truth(grid: str, settings: dict, eta: float) -> None:
    truth = normal(5, 4, 4)
    A = Slicewise(normal(9, 16, seed=1), (5, 4, 4))
    for noise, final in (("prior", "public"), ("implied", "denoise")):
        out = solve(make_problem(A, A(truth)), PerfectDenoiser(truth).denoise, grid=grid, eta=eta, steps=7, noise=noise,
                    final=final, **settings)  # fmt: skip
        assert decibels(out.volume.data, truth) > 200


def test_tv_between_slices_and_a_perfect_denoiser() -> None:
    """Constant along slices: exact with any weight. Else within some thresholds; z = 0 at the start costs detail."""
    shape = (6, 4, 4)
    weak = {"steps": 20, "rho": 0.01, "cg_steps": 5}
    A = Slicewise(normal(6, 16, seed=1), shape)
    constant = normal(1, 4, 4).expand(shape).contiguous()
    out = solve(make_problem(A, A(constant)), PerfectDenoiser(constant).denoise, threshold=0.05)
    assert decibels(out.volume.data, constant) > 200
    truth = normal(*shape)
    problem, oracle = make_problem(A, A(truth)), PerfectDenoiser(truth).denoise
    for threshold in (0.01, 0.001):
        out = solve(problem, oracle, threshold=threshold, **weak)
        assert float((torch.from_numpy(out.volume.data) - truth).square().mean().sqrt()) < 10 * threshold
    zeros = [
        decibels(solve(problem, oracle, **{**weak, "threshold": 0.0, "z_init": "zeros", "steps": n}).volume.data, truth)
        for n in (2, 5, 20)
    ]
    assert zeros[0] < zeros[1] < zeros[2] < 100


# Gaussian priors ---------------------------------------------------------------------------------------------------


def gaussian(n: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    root = normal(n, n, seed=seed) / math.sqrt(n)
    return normal(n, seed=seed + 1), root @ root.T


def recursion(mu: Tensor, C: Tensor, A: Tensor, y: Tensor, gamma: float, eta: float, T: int) -> tuple[Tensor, Tensor]:
    """Section 11 of the sheet, with the public end: mean and covariance of the result."""
    eye = torch.eye(len(mu), dtype=torch.float64)
    P = torch.linalg.inv(eye + gamma * A.T @ A)
    abar = vp_alpha_bar()
    times = list(range(0, 1000, 1000 // T))[::-1]
    m, V = torch.zeros_like(mu), eye.clone()
    for t, after in zip(times, [*times[1:], -1], strict=True):
        a, b = math.sqrt(abar[t]), math.sqrt(1 - abar[t])
        clean = after <= 0
        a1, b1 = (1.0, 0.0) if clean else (math.sqrt(abar[after]), math.sqrt(1 - abar[after]))
        inverse = torch.linalg.inv(a * a * C + b * b * eye)
        K = a * C @ inverse
        kept = b * b1 * math.sqrt(1 - eta**2) * inverse
        F = a1 * P @ K + kept
        m = a1 * (P @ (mu + K @ (m - a * mu)) + gamma * P @ A.T @ y) + kept @ (m - a * mu)
        V = F @ V @ F.T + (b1 * eta) ** 2 * eye
    return m, V


@pytest.mark.parametrize(
    ("eta", "T"), [(0.0, 10), (0.5, 50), (0.85, 10), pytest.param(0.85, 200, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", ["random", "mask", "deficient"])
def test_chains_follow_the_gaussian_recursion(kind: str, eta: float, T: int) -> None:
    chains, n, gamma = 4096, 6, 2.0
    mu, C = gaussian(n)
    A = normal(4, n, seed=7)
    if kind == "mask":
        A = torch.eye(n, dtype=torch.float64)[[0, 2, 5]]
    elif kind == "deficient":
        A[3] = A[0] + A[1]
    A = A / torch.linalg.matrix_norm(A, 2)
    y = normal(len(A), seed=8)
    problem = make_problem(Slicewise(A, (chains, 2, 3)), y.expand(chains, -1).contiguous())
    denoise = DenseGaussian(mu.reshape(2, 3), C).denoise
    out = solve(
        problem,
        denoise,
        grid="vp",
        final="public",
        sigma_max=1e3,
        steps=T,
        eta=eta,
        data="proximal",
        cg_steps=n,
        gamma=gamma,
    )
    samples = torch.from_numpy(out.volume.data).reshape(chains, n)
    scale = problem.strength  # 1 up to the power iteration's tolerance
    m, V = recursion(mu, C, A / scale, y / scale, gamma, eta, T)
    standard_error = (V.diagonal() / chains).sqrt()
    assert float(((samples.mean(0) - m).abs() / (standard_error + 1e-9)).max()) < 4.5
    expected = math.sqrt((float(V.trace()) ** 2 + float(V.square().sum())) / chains)
    assert float((samples.T.cov() - V).norm()) < 3 * expected + 1e-12


@pytest.mark.parametrize(("grid", "order", "steps"), [("lambda", 1, 600), ("vp", 1, 1000), ("lambda", 2, 60)])
def test_exact_posterior_mode(monkeypatch: pytest.MonkeyPatch, grid: str, order: int, steps: int) -> None:
    """eta = 0 is an affine map of the first noise: its image of the unit vectors is the covariance, without chance."""
    n, std = 6, 0.2
    mu, C = gaussian(n)
    A = normal(3, n, seed=7)
    y = A @ (mu + torch.linalg.cholesky(C) @ normal(n, seed=9)) + std * normal(3, seed=10)
    gain = C @ A.T @ torch.linalg.inv(A @ C @ A.T + std**2 * torch.eye(3, dtype=torch.float64))
    mean, covariance = mu + gain @ (y - A @ mu), C - gain @ A @ C
    starts = torch.cat([torch.zeros(1, n, dtype=torch.float64), torch.eye(n, dtype=torch.float64)]).reshape(n + 1, 2, 3)
    monkeypatch.setattr(NOISE, lambda shape, **key: starts.clone())
    problem = make_problem(Slicewise(A, (n + 1, 2, 3)), y.expand(n + 1, -1).contiguous(), std)
    denoise = DenseGaussian(mu.reshape(2, 3), C).denoise
    out = solve(problem, denoise, grid=grid, order=order, steps=steps,
                final="denoise", sigma_max=160.0, eta=0.0, data="posterior", noise="implied", cg_steps=8)  # fmt: skip
    images = torch.from_numpy(out.volume.data).reshape(n + 1, n)
    F = (images[1:] - images[0]).T
    mean_error = float((images[0] - mean).norm() / mean.norm())
    covariance_error = float((F @ F.T - covariance).norm() / covariance.norm())
    assert mean_error < 0.01
    assert covariance_error < 0.01


# Order of the step --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
def test_a_stationary_gaussian_flow_converges_at_its_order(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    """Without data the ODE of a Gaussian has a closed form: x - m scales by sqrt(c^2 + sigma^2)."""
    shape, low, high = (1, 4, 4), 0.02, 20.0
    power = (0.05 + torch.arange(16, dtype=torch.float64).reshape(4, 4).cos().square()) ** 2
    power = (power + power.flip(0, 1).roll((1, 1), (0, 1))) / 2
    nothing = make_problem(Slicewise(torch.full((1, 16), 1e-12, dtype=torch.float64), shape), normal(1, 1))
    monkeypatch.setattr(DDS, "_data_step", lambda *args: NoData())
    errors = []
    for steps in (80, 160):
        settings = {"steps": steps, "grid": "lambda", "sigma_max": high, "sigma_min": low, "final": "none"}
        out = solve(nothing, StationaryGaussian(power).denoise, eta=0.0, order=order, **settings)
        start = counter_noise(shape, seed=0, step=-1, dtype=torch.float64) * math.hypot(1.0, high)
        exact = torch.fft.ifft2(((power + low**2) / (power + high**2)).sqrt() * torch.fft.fft2(start)).real
        errors.append(float((torch.from_numpy(out.volume.data) - exact).square().mean().sqrt()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_second_order_keeps_data_that_are_met_and_samples_the_posterior_in_fewer_steps() -> None:
    A, truth = Slicewise(normal(7, 16, seed=1), (3, 4, 4)), normal(3, 4, 4)
    denoise = StationaryGaussian(torch.ones(4, 4, dtype=torch.float64)).denoise
    seen: list[float] = []

    class Watching(SilentRun):
        def step(self, index: int, state: Mapping[str, Any], metrics: Mapping[str, float]) -> bool:
            seen.append(float((A(state["previous"]) - A(truth)).norm()))
            return True

    settings = {"order": 2, "noise": "implied", "data": "cg", "cg_steps": 20, "eta": 0.0, "steps": 6}
    out = solve(make_problem(A, A(truth)), denoise, Watching(), **settings)
    assert max(seen) < 1e-5
    assert float(out.facts["residual"]) < 1e-6


class NoData:
    """A data step that knows nothing."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self.residual = 0.0

    def __call__(self, xhat: Tensor) -> Tensor:
        return xhat


# A held network -----------------------------------------------------------------------------------------------------


def test_a_held_network_is_called_at_each_nth_step_and_the_last() -> None:
    A, truth = Slicewise(normal(9, 16, seed=1), (3, 4, 4)), normal(3, 4, 4)
    prior = StationaryGaussian(torch.ones(4, 4, dtype=torch.float64))
    asked: list[float] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return prior.denoise(x, sigma)

    problem = make_problem(A, A(truth))
    plain = solve(problem, denoise, steps=8)
    sigmas = list(asked)
    asked.clear()
    held = solve(problem, denoise, steps=8, hold=3)
    assert asked == [sigmas[k] for k in (0, 3, 6, 7)]
    assert not np.array_equal(held.volume.data, plain.volume.data)
    with pytest.raises(ValidationError, match="leave hold and reuse out"):
        DDS(data="posterior", hold=2)


# Data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["cg", "admm_tv"])
def test_complete_data_decide_whatever_the_denoiser(data: str) -> None:
    shape = (3, 2, 4)
    A = Slicewise(torch.eye(8, dtype=torch.float64) + 0.1 * normal(8, 8, seed=1), shape)
    truth = normal(*shape)
    settings = {"rho": 1e-9, "threshold": 0.0} if data == "admm_tv" else {}
    out = solve(make_problem(A, A(truth)), lambda x, sigma: 3 * torch.tanh(x) - 1, data=data, cg_steps=30, **settings)
    assert float(out.facts["residual"]) < 1e-6
    assert decibels(out.volume.data, truth) > 110


def test_known_noise_sets_the_weight_of_the_data() -> None:
    """The step solves (A^H A / s^2 + 1 / v) d = A^H (y - A xhat) / s^2 with 1 / v = 1 / s0^2 + 1 / S^2."""
    shape, std, sigma, prior_std = (2, 2, 3), 0.1, 0.05, 0.4
    matrix = normal(4, 6, seed=1)
    A, truth, xhat = Slicewise(matrix, shape), normal(*shape), normal(*shape, seed=2)
    y = A(truth) + std * normal(2, 4, seed=3)
    out = solve(make_problem(A, y, std), lambda x, sigma: xhat, card={"sigma_data": prior_std, "sigma_max": sigma},
                steps=1, data="proximal", cg_steps=20, noise_weight=1.0)  # fmt: skip
    v = 1 / (1 / prior_std**2 + 1 / sigma**2)
    left = matrix.T @ matrix / std**2 + torch.eye(6, dtype=torch.float64) / v
    d = torch.linalg.solve(left, ((y - A(xhat)) @ matrix / std**2).T).T
    torch.testing.assert_close(torch.from_numpy(out.volume.data), xhat + d.reshape(shape), rtol=1e-6, atol=1e-6)


def test_cg_does_not_fit_known_noise() -> None:
    shape, std = (2, 4, 4), 0.3
    A, truth = Slicewise(normal(14, 16, seed=1), shape), normal(*shape)
    y = A(truth) + std * normal(2, 14, seed=3)
    misfit = {}
    for factor in (0.0, 1.0):
        out = solve(
            make_problem(A, y, std),
            lambda x, sigma: 0.9 * x / (1 + sigma**2),
            data="cg",
            cg_steps=20,
            discrepancy=factor,
        )
        misfit[factor] = float((A(torch.from_numpy(out.volume.data)) - y).square().sum()) / (std**2 * y.numel())
    assert misfit[0.0] < 0.05
    assert misfit[1.0] == pytest.approx(1.0, abs=1e-6)


def test_complex_images_turn_with_the_phase_of_their_data(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, phase = (4, 3, 4), complex(math.cos(0.7), math.sin(0.7))
    A = Slicewise(normal(7, 12, seed=1, dtype=torch.complex128), shape)
    truth = normal(*shape, dtype=torch.complex128)
    denoise = StationaryGaussian(
        torch.rand(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ).denoise
    for data in ("admm_tv", "cg", "proximal"):
        images = []
        for factor in (1.0, phase):
            monkeypatch.setattr(NOISE, lambda shape, **key: counter_noise(shape, **key) * factor)  # noqa: B023
            out = solve(make_problem(A, A(truth) * factor), denoise, data=data, gamma=1.0, grid="lambda")
            images.append(torch.from_numpy(out.volume.data))
        torch.testing.assert_close(images[1], images[0] * phase, rtol=1e-9, atol=1e-9)
        oracle = solve(make_problem(A, A(truth)), PerfectDenoiser(truth).denoise, data=data, gamma=1.0, threshold=0.0)
        assert float(norm(torch.from_numpy(oracle.volume.data)) / norm(truth)) == pytest.approx(1.0, abs=1e-9)


# The public code ---------------------------------------------------------------------------------------------------


def published(A: np.ndarray, B: np.ndarray, y: np.ndarray, denoise: Callable, noise: Callable, rho: float, lam: float,
              T: int, eta: float) -> np.ndarray:  # fmt: skip
    """Sections 2, 3 and 5 of the sheet in plain numpy: volumes as (slice, pixel), data as (slice, value)."""
    beta = np.linspace(1e-4, 2e-2, 1000)
    abar = np.cumprod(1 - beta)
    times = list(range(0, 1000, 1000 // T))[::-1]
    d, dt = (lambda v: np.roll(v, -1, 0) - v), (lambda v: np.roll(v, 1, 0) - v)
    K = lambda v: v @ A.T @ B.T + rho * dt(d(v))  # noqa: E731
    x, z, u = noise(-1), np.zeros_like(y @ B.T), np.zeros_like(y @ B.T)
    for k, t in enumerate(times):
        a, b = np.sqrt(abar[t]), np.sqrt(1 - abar[t])
        eps = (x - a * denoise(x / a, b / a)) / b
        v = (x - b * eps) / a
        r = y @ B.T + rho * dt(z - u) - K(v)
        p, rr = r.copy(), np.sum(r * r)
        for _ in range(5):
            Kp = K(p)
            alpha = rr / np.sum(p * Kp)
            v, r = v + alpha * p, r - alpha * Kp
            previous, rr = rr, np.sum(r * r)
            p = r + rr / previous * p
        w = d(v) + u
        z = np.sign(w) * np.maximum(np.abs(w) - lam / rho, 0)
        u = w - z
        if t == 0 or times[k + 1] == 0:
            x = v
        else:
            a1, b1 = np.sqrt(abar[times[k + 1]]), np.sqrt(1 - abar[times[k + 1]])
            x = a1 * v + b1 * (np.sqrt(1 - eta**2) * eps + eta * noise(k))
    return x


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-8), (torch.float32, 1e-4)])
def test_parity_with_the_public_code(dtype: torch.dtype, bound: float) -> None:
    shape, rho, lam, T = (5, 4, 6), 10.0, 0.04, 50
    matrix = normal(10, 24, seed=1)
    back = 0.3 * matrix.T * (1 + 0.02 * normal(24, 10, seed=2))  # the published "AT" is no exact adjoint
    mu, C = gaussian(24)
    mu, C = 0.2 * mu, 0.05 * C
    y = normal(*shape, seed=3).reshape(5, 24) @ matrix.T
    A = Slicewise(matrix.to(dtype), shape, back.to(dtype))
    problem = make_problem(A, y.to(dtype))
    s2 = problem.strength**2
    out = solve(
        problem, DenseGaussian(mu.reshape(4, 6).to(dtype), C.to(dtype)).denoise, SilentRun(seed=9),
        grid="vp", spacing="leading_int", final="public", sigma_max=1e3, steps=T, eta=0.85, rho=rho / s2,
        threshold=lam / rho, cg_steps=5, boundary="circular", z_init="zeros",
    )  # fmt: skip
    exact = DenseGaussian(mu, C).denoise
    expected = published(
        matrix.numpy(), back.numpy(), y.numpy(), lambda x, sigma: exact(torch.from_numpy(x), sigma).numpy(),
        lambda k: counter_noise(shape, seed=9, step=k, dtype=torch.float64).reshape(5, 24).numpy(), rho, lam, T, 0.85,
    )  # fmt: skip
    error = np.linalg.norm(out.volume.data.reshape(5, 24) - expected) / np.linalg.norm(expected)
    assert error < bound


def test_the_ve_form_is_the_papers() -> None:
    """x' = xdc + s' (sqrt(1 - eta^2) eps + eta n) with eps = -s score, xdc by the proximal step, in plain numpy."""
    shape, gamma, eta = (3, 2, 3), 2.0, 0.85
    matrix, y = normal(4, 6, seed=1), normal(3, 4, seed=3)
    problem = make_problem(Slicewise(matrix, shape), y)
    mu, C = gaussian(6)
    out = solve(problem, DenseGaussian(mu.reshape(2, 3), C).denoise, SilentRun(seed=9), steps=7, sigma_max=5.0,
                sigma_min=0.01, data="proximal", gamma=gamma, cg_steps=6, eta=eta)  # fmt: skip
    A, data, C, mu = matrix.numpy() / problem.strength, y.numpy() / problem.strength, C.numpy(), mu.numpy()
    noise = lambda k: counter_noise(shape, seed=9, step=k, dtype=torch.float64).reshape(3, 6).numpy()  # noqa: E731
    sigmas = [*np.exp(np.linspace(np.log(5.0), np.log(0.01), 7)), 0.0]
    x = np.hypot(1.0, 5.0) * noise(-1)
    for k in range(7):
        s, after = sigmas[k], sigmas[k + 1]
        score = -(x - mu) @ np.linalg.inv(C + s**2 * np.eye(6))
        xhat = x + s**2 * score
        xdc = (xhat + gamma * data @ A) @ np.linalg.inv(np.eye(6) + gamma * A.T @ A)
        x = xdc + after * (np.sqrt(1 - eta**2) * (-s * score) + eta * noise(k))
    np.testing.assert_allclose(out.volume.data.reshape(3, 6), x, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("boundary", "change"), [("neumann", lambda v: v.flip(0)), ("circular", lambda v: v.roll(2, 0))]
)
def test_slices_flipped_or_shifted(monkeypatch: pytest.MonkeyPatch, boundary: str, change: Callable) -> None:
    shape = (5, 3, 4)
    A, truth = Slicewise(normal(7, 12, seed=1), shape), normal(*shape)
    denoise = StationaryGaussian(
        torch.rand(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ).denoise
    images = []
    for act in (lambda v: v, change):
        monkeypatch.setattr(NOISE, lambda shape, **key: act(counter_noise(shape, **key)).contiguous())  # noqa: B023
        out = solve(make_problem(A, A(act(truth).contiguous())), denoise, boundary=boundary)
        images.append(torch.from_numpy(out.volume.data.copy()))
    torch.testing.assert_close(images[1], change(images[0]), rtol=1e-9, atol=1e-9)


# Slabs, batches, resume --------------------------------------------------------------------------------------------


def network(sides: int = 16) -> Model:
    architecture = {"kind": "unet2d", "channels": [8, 16], "patch": 1}
    inner = build_network(architecture)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in inner.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    card = Card(name="random", modality="ct", units="1/mm", scale=0.04, sigma_min=0.01, sigma_max=8.0, sigma_data=0.3,
                mean=0.2, voxel_mm=(0.5, 2.0), architecture=architecture, licence="none")  # fmt: skip
    return Model(card, EDMDenoiser(inner, 0.3, 0.2).eval().requires_grad_(False), half=False)


def ct(slices: int, sides: int = 16, views: int = 6, noise: float | None = 0.01) -> Problem:
    geometry = TomographyGeometry.parallel(np.linspace(0, np.pi, views, endpoint=False), sides + 8, n_rows=slices)
    A = Projector(geometry, ImageGrid((slices, sides, sides)))
    truth = 0.02 * torch.rand(A.domain.shape, generator=torch.Generator().manual_seed(1))
    grid = AffineGrid.centred(A.domain.shape, (1.0, 1.0, 1.0))
    return Problem(A(truth), A, NoiseModel(noise), grid, units="1/mm")


@pytest.mark.parametrize(
    "settings", [{"data": "cg"}, {"data": "proximal", "start": "fbp"}, {"data": "cg", "start": "cgls"}]
)
def test_a_slab_gives_the_bits_of_the_whole(settings: dict) -> None:
    problem, prior = ct(7), network()
    assert DDS(**settings).separable
    whole = solve(problem, prior, SilentRun(micro_batch=4), steps=3, **settings).volume.data
    for start, stop in ((0, 3), (3, 7)):
        part = solve(problem.slab(start, stop), prior, SilentRun(micro_batch=4), steps=3, **settings).volume.data
        assert np.array_equal(part, whole[start:stop])
    assert not DDS(data="admm_tv").separable
    assert not DDS(data="cg", reuse=True).separable  # a slice looks at its neighbours


def test_reuse_asks_the_prior_through_slice_reuse() -> None:
    problem, prior = ct(5), network()
    found = solve(problem, prior, steps=3, reuse=True).volume.data
    assert np.array_equal(found, solve(problem, SliceReuse(prior), steps=3).volume.data)
    assert not np.array_equal(found, solve(problem, prior, steps=3).volume.data)


def test_micro_batches_agree() -> None:
    problem, prior = ct(20), network()
    images = [solve(problem, prior, SilentRun(micro_batch=n), steps=4).volume.data for n in (1, 8, 64)]
    for image in images[1:]:
        assert np.abs(image - images[0]).max() < 1e-5 * np.abs(images[0]).max()


@pytest.mark.parametrize(
    "settings",
    [
        {"samples": 3, "data": "admm_tv"},
        {"samples": 1, "data": "cg", "start": "fbp"},
        {"samples": 2, "data": "admm_tv", "hold": 2, "order": 2},
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(settings: dict) -> None:
    problem, prior = ct(5), network()
    steps, total = 3, 3 * settings["samples"]
    straight = solve(problem, prior, StoppingRun(at=-1), steps=steps, **settings)
    for at in (0, steps - 1, total - 2, total - 1):
        run = StoppingRun(at)
        with pytest.raises(KeyboardInterrupt):
            solve(problem, prior, run, steps=steps, **settings)
        assert run.total == total
        resumed = solve(problem, prior, StoppingRun(-1, run.saved), steps=steps, **settings)
        assert np.array_equal(resumed.volume.data, straight.volume.data)
        if straight.uncertainty is not None:
            assert np.array_equal(resumed.uncertainty.data, straight.uncertainty.data)  # type: ignore[union-attr]


def test_mean_and_spread_of_samples() -> None:
    problem, prior = ct(3), network()
    kept: list[Tensor] = []

    class Keeping(SilentRun):
        def step(self, index: int, state: Mapping[str, Any], metrics: Mapping[str, float]) -> bool:
            if index % 4 == 3:
                kept.append(state["x"].clone())
            return True

    out = solve(problem, prior, Keeping(), steps=4, samples=3)
    stack = torch.stack(kept).numpy() * 0.04
    assert np.abs(stack[0] - stack[1]).max() > 1e-4
    assert out.volume.data == pytest.approx(stack.mean(0), abs=1e-6)
    assert out.uncertainty is not None
    assert out.uncertainty.data == pytest.approx(stack.std(0, ddof=1), abs=1e-6)
    assert str(out.facts["error_bar"]).startswith("Spread of 3 samples: no error bar")
    common = {"method": "dds", "samples": 3, "found_on": "drawn scans"}
    found = (
        Calibration(settings={"steps": 9}, factor=7.0, **common),
        Calibration(settings={"steps": 4, "data": "admm_tv"}, factor=2.5, **common),
    )
    known = Model(prior.card.model_copy(update={"calibration": found}), prior.network, half=False)
    calibrated = solve(problem, known, steps=4, samples=3)
    np.testing.assert_allclose(calibrated.uncertainty.data, 2.5 * out.uncertainty.data, rtol=1e-6)
    assert np.array_equal(calibrated.volume.data, out.volume.data)
    assert "90 % intervals cover the truth on drawn scans; not proven for other scans" in calibrated.facts["error_bar"]
    assert "no error bar" in solve(problem, known, steps=4, samples=2).facts["error_bar"]
    single = solve(problem, prior, steps=4)
    assert single.uncertainty is None
    assert "error_bar" not in single.facts
    assert np.array_equal(single.volume.data, problem.volume(kept[0] * 0.04).data)


# Limits ------------------------------------------------------------------------------------------------------------


def test_the_prior_is_asked_only_for_noise_it_knows() -> None:
    asked: list[float] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        asked.append(sigma)
        return x / (1 + sigma**2)

    problem = make_problem(Slicewise(normal(3, 4), (2, 2, 2)), normal(2, 3))
    for settings in ({"grid": "karras"}, {"grid": "lambda"}, {"grid": "vp", "spacing": "linspace"}):
        for start, largest in (("noise", 8.0), ("cgls", 1.0)):
            asked.clear()
            card = {"sigma_max": 8.0, "sigma_min": 0.02}
            solve(problem, denoise, card=card, steps=9, start=start, sigma_max=1e3, **settings)
            assert len(asked) == 9
            assert 0.8 * largest < max(asked) <= largest * (1 + 1e-12)
            assert min(asked) >= 0.0099
    assert asked == sorted(asked, reverse=True)


def test_stopping_early_gives_a_clean_image() -> None:
    truth = normal(3, 4, 4)
    A = Slicewise(normal(9, 16, seed=1), (3, 4, 4))

    class Once(SilentRun):
        def step(self, index: int, state: Mapping[str, object], metrics: Mapping[str, float]) -> bool:
            return False

    out = solve(make_problem(A, A(truth)), PerfectDenoiser(truth).denoise, Once(), samples=2)
    assert decibels(out.volume.data, truth) > 200


def test_what_is_missing_is_said() -> None:
    problem = make_problem(Slicewise(normal(3, 4), (2, 2, 2)), normal(2, 3))
    with pytest.raises(ModelError, match="needs a denoiser"):
        DDS().reconstruct(problem, {}, SilentRun())
    with pytest.raises(ConfigError, match="noise of the scan"):
        solve(problem, PerfectDenoiser(normal(2, 2, 2)).denoise, data="posterior")


def test_voxel_size_views_and_unit_do_not_change_the_settings() -> None:
    """The prior's range and the operator's norm carry all units: 1000 y in a 1000 times wider range agree."""
    A = Slicewise(normal(9, 16, seed=1), (3, 4, 4))
    truth = normal(3, 4, 4)
    images = []
    for unit in (1.0, 1000.0):
        prior = Prior(StationaryGaussian(torch.ones(4, 4, dtype=torch.float64)).denoise)
        prior.normalization = Normalization(scale=unit)
        out = solve(make_problem(A, unit * A(truth)), prior, steps=6)
        images.append(out.volume.data / unit)
    assert images[1] == pytest.approx(images[0], rel=1e-9)


def test_grids_of_the_settings() -> None:
    card = SimpleNamespace(sigma_max=8.0, sigma_min=0.02)
    assert DDS(steps=5)._grid(card) == lambda_grid(5, module.SIGMA_MAX, 0.02)
    assert DDS(steps=5, grid="karras", sigma_max=80.0)._grid(card) == karras_grid(5, 8.0, 0.02)
    card = SimpleNamespace(sigma_max=1e3, sigma_min=1e-3)
    assert DDS(steps=50, grid="vp", final="public")._grid(card) == vp_grid(50)
