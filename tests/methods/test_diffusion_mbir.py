"""DiffusionMBIR on priors with closed-form answers, and against a plain version of the public code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

import recon3d.methods.samples as samples_module
from operators.linear import FunctionOperator, LinearOperator
from operators.mri import CartesianEncoding
from operators.normalization import Normalization
from operators.space import Space
from operators.tomography import ImageGrid, Projector, TomographyGeometry
from recon3d.errors import ConfigError, ModelError
from recon3d.grid import AffineGrid
from recon3d.methods.diffusion_mbir import DiffusionMBIR
from recon3d.noise import NoiseModel
from recon3d.priors.analytic import DenseGaussian, PerfectDenoiser, StationaryGaussian
from recon3d.problem import Problem
from recon3d.run import SilentRun
from recon3d.sampling.grids import lambda_grid
from recon3d.sampling.noise import counter_noise

WEAK = {"scale": "unit", "rho": 1e-10, "weight": 0.0}
"""Slices that are practically separate problems."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny arrays are slower on many threads."""
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(threads)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slicewise(matrix: Tensor, shape: tuple[int, int, int], back: Tensor | None = None) -> LinearOperator:
    """One matrix (data, pixels) on every slice; `back` stands for its adjoint, as published codes have it."""
    back = matrix.mH if back is None else back
    return FunctionOperator(
        Space(("z", "y", "x"), shape, matrix.dtype),
        Space(("z", "value"), (shape[0], len(matrix)), matrix.dtype),
        lambda x: x.flatten(-2) @ matrix.mT,
        lambda y: (y @ back.mT).unflatten(-1, shape[1:]),
    )


def make_problem(A: LinearOperator, y: Tensor) -> Problem:
    return Problem(y, A, NoiseModel(), AffineGrid.centred(A.domain.shape[-3:], (1.0, 1.0, 1.0)))


def solve(problem: Problem, denoise: Callable[..., Tensor], run: Any = None, **settings: Any) -> Any:
    card = {"units": "1", "mean": 0.0, "sigma_data": 0.0, "sigma_min": 1e-3, "sigma_max": 1e3}
    prior = SimpleNamespace(denoise=denoise, normalization=Normalization(), card=SimpleNamespace(**card))
    return DiffusionMBIR(**{**WEAK, **settings}).reconstruct(problem, {"prior": prior}, run or SilentRun())


def free(monkeypatch: pytest.MonkeyPatch, keep_noise: bool = True) -> None:
    """Take the data away: what is left is the sampler alone, with its last noise."""

    class Nothing:
        def __init__(self) -> None:
            self.state: dict[str, Tensor] = {}
            self.residual = 0.0

        def __call__(self, x: Tensor) -> Tensor:
            return x

    monkeypatch.setattr(DiffusionMBIR, "_data_step", lambda *args: Nothing())
    if keep_noise:
        monkeypatch.setattr(DiffusionMBIR, "_end", lambda self, problem, task, prior, x, *_: x)


def gaussian(n: int = 6) -> tuple[Tensor, Tensor]:
    root = normal(n, n, seed=5) / math.sqrt(n)
    return normal(n, seed=6), root @ root.T


# The sampler alone -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corrector_steps", [0, 1])
def test_an_oracle_leaves_the_noise_that_was_worked_out(monkeypatch: pytest.MonkeyPatch, corrector_steps: int) -> None:
    truth, r, sigma_min = normal(8, 16, 16), 0.16, 0.01
    problem = make_problem(slicewise(normal(3, 256, seed=1), (8, 16, 16)), normal(8, 3, seed=2))
    settings = {"steps": 60, "sigma_min": sigma_min, "snr": r, "corrector_steps": corrector_steps}
    denoise = PerfectDenoiser(truth).denoise
    free(monkeypatch)
    error = torch.from_numpy(solve(problem, denoise, **settings).volume.data) - truth
    share = ((1 - 2 * r**2) ** 2 + 4 * r**2) if corrector_steps else 1.0
    assert share == pytest.approx(1.0026 if corrector_steps else 1.0, abs=1e-4)
    assert float(error.square().mean()) / sigma_min**2 == pytest.approx(share, rel=5 * math.sqrt(2 / error.numel()))
    monkeypatch.undo()
    free(monkeypatch, keep_noise=False)
    assert torch.equal(torch.from_numpy(solve(problem, denoise, **settings).volume.data), truth)


@pytest.mark.parametrize(("steps", "measured"), [(40, False), (200, False), (40, True)])
def test_chains_follow_the_gaussian_recursion(monkeypatch: pytest.MonkeyPatch, steps: int, measured: bool) -> None:
    """Mean and covariance of 4096 chains; data, met exactly, keep the recursion affine."""
    chains, n = 4096, 6
    mu, C = gaussian(n)
    A = normal(3, n, seed=7)
    y = normal(3, seed=8)
    eye = torch.eye(n, dtype=torch.float64)
    blind = eye - torch.linalg.pinv(A) @ A if measured else eye
    known = torch.linalg.pinv(A) @ y if measured else torch.zeros(n, dtype=torch.float64)
    m, V = torch.zeros_like(mu), 378.0**2 * eye
    for level in lambda_grid(steps, 378.0, 0.01):
        step = level.b**2 - level.b_next**2
        G = torch.linalg.inv(C + level.sigma**2 * eye)
        m, F = m - step * G @ (m - mu), eye - step * G
        V = F @ V @ F.T + step * eye
        m, V = blind @ m + known, blind @ V @ blind.T
    if measured:
        monkeypatch.setattr(DiffusionMBIR, "_end", lambda self, problem, task, prior, x, *_: x)
    else:
        free(monkeypatch)
    problem = make_problem(slicewise(A, (chains, 2, 3)), y.expand(chains, -1).contiguous())
    denoise = DenseGaussian(mu.reshape(2, 3), C).denoise
    found = torch.from_numpy(solve(problem, denoise, steps=steps, corrector_steps=0, cg_steps=n).volume.data)
    found = found.reshape(chains, n)
    assert float(((found.mean(0) - m).abs() / ((V.diagonal() / chains).sqrt() + 1e-6)).max()) < 4.5
    expected = math.sqrt((float(V.trace()) ** 2 + float(V.square().sum())) / chains)
    assert float((found.T.cov() - V).norm()) < 3 * expected


def test_many_levels_end_at_the_prior() -> None:
    """The variance that the predictor leaves, per eigenvalue of a Gaussian prior: ten times the levels, a tenth off."""
    prior = torch.linspace(0.1, 2.0, 6, dtype=torch.float64)
    errors = []
    for count in (200, 2000, 20000):
        variance = torch.full_like(prior, 378.0**2)
        for level in lambda_grid(count, 378.0, 0.01):
            step = level.b**2 - level.b_next**2
            variance = (1 - step / (prior + level.sigma**2)) ** 2 * variance + step
        errors.append(float((variance - prior).norm() / prior.norm()))
    assert errors == pytest.approx([5.5e-2, 5.3e-3, 5.3e-4], rel=0.05)


def test_predictor_and_corrector_draw_noise_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, drawn = [], []

    def spy(shape: tuple[int, ...], **key: Any) -> Tensor:
        keys.append((key["sample"], key["step"], key["stage"]))
        drawn.append(counter_noise(shape, **key))
        return drawn[-1].clone()

    monkeypatch.setattr(samples_module, "counter_noise", spy)
    problem = make_problem(slicewise(normal(3, 256, seed=1), (8, 16, 16)), normal(8, 3, seed=2))
    solve(problem, PerfectDenoiser(normal(8, 16, 16)).denoise, steps=3, samples=2, corrector_steps=2)
    assert len(keys) == len(set(keys)) == 2 * (1 + 3 * 3)
    stack = torch.stack([noise.flatten() for noise in drawn])
    correlation = torch.corrcoef(stack) - torch.eye(len(stack), dtype=torch.float64)
    assert float(correlation.abs().max()) < 5 / math.sqrt(stack.shape[1])


# Data --------------------------------------------------------------------------------------------------------------


def test_the_identity_gives_its_data_and_more_cg_steps_fit_better() -> None:
    y = normal(3, 4, 4)
    denoise = StationaryGaussian(torch.ones(4, 4, dtype=torch.float64)).denoise
    out = solve(make_problem(slicewise(torch.eye(16, dtype=torch.float64), (3, 4, 4)), y.flatten(1)), denoise, steps=5)
    np.testing.assert_allclose(out.volume.data, y.numpy(), atol=1e-7)
    A = slicewise(normal(9, 16, seed=1), (3, 4, 4))
    problem = make_problem(A, A(y))
    residuals = [solve(problem, denoise, steps=20, cg_steps=n).facts["residual"] for n in (1, 2, 4)]
    assert residuals[0] > 2 * residuals[1] > 4 * residuals[2]


def test_where_no_coil_sees_a_prior_cannot_run_away() -> None:
    """The data fix what is seen; elsewhere this prior would double its values, level after level."""
    maps = torch.full((2, 3, 6, 8), math.sqrt(0.5), dtype=torch.complex128)
    maps[:, :, 1:3, 2:5] = 0
    A = CartesianEncoding(maps)
    truth, seen = normal(*A.domain.shape, dtype=torch.complex128), maps[0] != 0
    largest = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        largest.append(float(x[~seen].abs().max()) / sigma)
        return 2 * x

    found = torch.from_numpy(solve(make_problem(A, A(truth)), denoise, steps=200).volume.data)
    torch.testing.assert_close(found, truth * seen, rtol=1e-6, atol=1e-6)
    assert float(found[~seen].abs().max()) < 1e-6
    assert 3 < max(largest) < 8  # noise of the level and no more, per real channel


def test_without_coupling_slices_are_problems_of_their_own() -> None:
    matrix, shape = normal(7, 12, seed=1), (3, 3, 4)
    denoise = StationaryGaussian(0.1 + torch.rand(3, 4, dtype=torch.float64)).denoise
    A, y = slicewise(matrix, shape), normal(3, 7, seed=2)
    whole = make_problem(A, y)
    found = solve(whole, denoise, steps=30, cg_steps=12).volume.data
    for k in range(3):
        one = Problem(
            y[k : k + 1], slicewise(matrix, (1, 3, 4)), NoiseModel(), AffineGrid.centred((1, 3, 4), (1, 1, 1)),
            first_slice=k, whole=whole,
        )  # fmt: skip
        np.testing.assert_allclose(solve(one, denoise, steps=30, cg_steps=12).volume.data[0], found[k], atol=1e-5)


def test_published_weights_belong_to_the_published_back_projection() -> None:
    """pi / (2 V) |A^H A| = 1.52 W for pixels of side 1: rho and weight go through it, the threshold does not change."""
    for side, views in ((64, 8), (64, 60)):
        columns = math.ceil(math.sqrt(2) * side)
        geometry = TomographyGeometry.parallel(np.linspace(0, np.pi, views, endpoint=False), columns, n_rows=1)
        A = Projector(geometry, ImageGrid((1, side, side)))
        assert math.pi / (2 * views) * A.norm() ** 2 == pytest.approx(1.52 * side, rel=0.05)
        problem = Problem(A.range.zeros(), A, NoiseModel(), AffineGrid.centred((1, side, side), (1, 1, 1)), kind="ct")
        rho, weight = DiffusionMBIR()._relative_weights(problem)
        assert rho == pytest.approx(10 / (1.52 * side), rel=1e-12)
        assert weight / rho == pytest.approx(0.004, rel=1e-12)
    A = slicewise(torch.eye(16, dtype=torch.complex128), (3, 4, 4))
    grid = AffineGrid.centred((3, 4, 4), (1, 1, 1))
    mri = Problem(normal(3, 16, dtype=torch.complex128), A, NoiseModel(), grid, kind="mri")
    assert DiffusionMBIR()._relative_weights(mri) == (0.01, 0.005)
    assert DiffusionMBIR(rho=2.0, weight=0.1, scale="unit")._relative_weights(mri) == (2.0, 0.1)


def test_complex_images_turn_with_the_phase_of_their_data(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, phase = (4, 3, 4), complex(math.cos(0.7), math.sin(0.7))
    A = slicewise(normal(7, 12, seed=1, dtype=torch.complex128), shape)
    truth, images = normal(*shape, dtype=torch.complex128), []
    denoise = StationaryGaussian(0.5 + torch.arange(12, dtype=torch.float64).reshape(3, 4).cos().square()).denoise
    for factor in (1.0, phase):
        monkeypatch.setattr(samples_module, "counter_noise", lambda *a, **k: counter_noise(*a, **k) * factor)  # noqa: B023
        out = solve(make_problem(A, A(truth) * factor), denoise, steps=8, rho=0.05, weight=0.01)
        images.append(torch.from_numpy(out.volume.data))
    torch.testing.assert_close(images[1], images[0] * phase, rtol=1e-9, atol=1e-9)


# The public code ---------------------------------------------------------------------------------------------------


def published(A: np.ndarray, B: np.ndarray, y: np.ndarray, denoise: Callable, noise: Callable, rho: float, lam: float,
              N: int, chunks: list[slice], ct: bool) -> np.ndarray:  # fmt: skip
    """Section 3 of the paper as its code runs it, in plain numpy: volumes as (slice, pixel), data as (slice, value)."""
    t = torch.linspace(1, 1e-10, N)
    index = (t * (N - 1)).long().numpy()
    sigmas = np.exp(np.linspace(np.log(0.01), np.log(378.0), N))
    d, dt = (lambda v: np.roll(v, -1, 0) - v), (lambda v: np.roll(v, 1, 0) - v)
    K = lambda v: v @ A.T @ B.T + rho * dt(d(v))  # noqa: E731
    score = lambda v, s: (denoise(v, s) - v) / s**2  # noqa: E731
    x, z, u = 378.0 * noise(-1, 0), np.zeros_like(y @ B.T), np.zeros_like(y @ B.T)
    for j, i in enumerate(index):
        s = 0.01 * (378.0 / 0.01) ** float(t[j])
        step = sigmas[i] ** 2 - (sigmas[i - 1] ** 2 if i else 0.0)
        x = x + step * score(x, s) + np.sqrt(step) * noise(j, 0)
        g, n = score(x, s), noise(j, 1)
        for part in chunks:
            e = 2 * (0.16 * np.linalg.norm(n[part], axis=1).mean() / np.linalg.norm(g[part], axis=1).mean()) ** 2
            x[part] = x[part] + e * g[part] + np.sqrt(2 * e) * n[part]
        p = y @ B.T + rho * dt(z - u) - K(x)
        x = x + np.sum(p * p) / np.sum(p * K(p)) * p
        w = d(x) + u
        z = np.sign(w) * np.maximum(np.abs(w) - lam / rho, 0)
        u = w - z
    return x + (y - x @ A.T) @ B.T / (np.ones_like(x) @ A.T @ B.T) if ct else x


@pytest.mark.parametrize("kind", ["ct", "mri"])
def test_parity_with_the_public_code(kind: str) -> None:
    shape, rho, lam, N = (13, 3, 4), 10.0, 0.04, 40
    matrix = normal(7, 12, seed=1).abs()
    back = 0.3 * matrix.T * (1 + 0.02 * normal(12, 7, seed=2))  # the published "AT" is no exact adjoint
    mu, C = gaussian(12)
    mu, C = 0.2 * mu, 0.05 * C
    y = normal(*shape, seed=3).flatten(1) @ matrix.T
    A = slicewise(matrix, shape, back)
    problem = Problem(y, A, NoiseModel(), AffineGrid.centred(shape, (1, 1, 1)), kind=kind)
    norm = problem.strength**2
    exact = DenseGaussian(mu.reshape(3, 4), C).denoise
    out = solve(problem, exact, SilentRun(seed=9), steps=N, rho=rho / norm, weight=lam / norm, mode="public")
    chunks = [slice(0, 7), slice(7, 13)] if kind == "ct" else [slice(0, 13)]
    flat = DenseGaussian(mu, C).denoise
    expected = published(
        matrix.numpy(), back.numpy(), y.numpy(), lambda x, sigma: flat(torch.from_numpy(x), sigma).numpy(),
        lambda k, stage: counter_noise(shape, seed=9, step=k, stage=stage, dtype=torch.float64).flatten(1).numpy(),
        rho, lam, N, chunks, kind == "ct",
    )  # fmt: skip
    assert np.linalg.norm(out.volume.data.reshape(13, 12) - expected) < 1e-8 * np.linalg.norm(expected)


# Stops, batches, limits --------------------------------------------------------------------------------------------


class Stopping(SilentRun):
    """Stops after iteration `at`; started again with what it saved, it goes on."""

    def __init__(self, at: int, saved: Any = None) -> None:
        super().__init__()
        self.at, self.saved = at, saved

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        return self.saved or (0, state)

    def step(self, index: int, state: Mapping[str, Any], metrics: Mapping[str, float]) -> bool:
        if index == self.at:
            self.saved = (index + 1, {name: value.clone() for name, value in state.items()})
            raise KeyboardInterrupt
        return True


@pytest.mark.parametrize("samples", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bits(samples: int) -> None:
    A, truth = slicewise(normal(7, 12, seed=1), (4, 3, 4)), normal(4, 3, 4)
    problem = make_problem(A, A(truth))
    denoise = StationaryGaussian(torch.ones(3, 4, dtype=torch.float64)).denoise
    settings = {"steps": 4, "rho": 0.05, "weight": 0.01, "samples": samples}
    straight = solve(problem, denoise, **settings)
    for at in (1, 4 * samples - 2):
        run = Stopping(at)
        with pytest.raises(KeyboardInterrupt):
            solve(problem, denoise, run, **settings)
        resumed = solve(problem, denoise, Stopping(-1, run.saved), **settings)
        assert np.array_equal(resumed.volume.data, straight.volume.data)
        if samples > 1:
            assert np.array_equal(resumed.uncertainty.data, straight.uncertainty.data)
    fresh = solve(problem, denoise, shared=False, **settings)
    assert not np.allclose(fresh.volume.data, straight.volume.data, atol=1e-6)


def test_a_stopped_run_gives_a_clean_image_and_what_is_missing_is_said() -> None:
    A, truth = slicewise(normal(7, 12, seed=1), (4, 3, 4)), normal(4, 3, 4)

    class Once(SilentRun):
        def step(self, index: int, state: Mapping[str, object], metrics: Mapping[str, float]) -> bool:
            return False

    out = solve(make_problem(A, A(truth)), PerfectDenoiser(truth).denoise, Once())
    np.testing.assert_array_equal(out.volume.data, truth.numpy())
    with pytest.raises(ModelError, match="'diffusion_mbir' needs a denoiser"):
        DiffusionMBIR().reconstruct(make_problem(A, A(truth)), {}, SilentRun())
    with pytest.raises(ConfigError, match="no settings for scans of kind ''"):
        solve(make_problem(A, A(truth)), PerfectDenoiser(truth).denoise, rho=None)
