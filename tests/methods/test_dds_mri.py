"""DDS on complex images of several coils: inner products, weights, phases, slices."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.linear import LinearOperator
from operators.mri import CartesianEncoding
from operators.mri.coils import rss
from operators.mri.sampling import column_mask
from operators.normalization import Normalization
from operators.reduce import norm
from operators.space import Space
from recon3d.grid import AffineGrid
from recon3d.methods.dds import DDS
from recon3d.noise import NoiseModel
from recon3d.priors.analytic import DenseGaussian, PerfectDenoiser
from recon3d.priors.cards import Card
from recon3d.priors.edm import EDMDenoiser
from recon3d.priors.model import Model
from recon3d.priors.networks import build_network
from recon3d.problem import Problem, problem_for
from recon3d.run import SilentRun
from recon3d.sampling.grids import vp_alpha_bar
from recon3d.scan import Scan
from recon3d.solvers.admm import SliceTV
from recon3d.solvers.cg import conjugate_gradient
from recon3d.solvers.data_step import LeastSquaresStep

COMPLEX = torch.complex128
Y, X = np.meshgrid(*[np.linspace(-1, 1, 32)] * 2, indexing="ij")
OBJECT = np.stack([(X**2 + (1 + 0.1 * k) * Y**2 < 0.5) * (1 + 0.3 * np.sin(5 * X + k)) for k in range(5)])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=COMPLEX)


def encoding(slices: int = 5, rows: int = 6, columns: int = 8, coils: int = 3) -> CartesianEncoding:
    """Random coils of unit sum of squares; every second column and the middle ones are measured."""
    maps = normal(coils, slices, rows, columns, seed=1)
    mask = column_mask(columns, 2.0, 0.25, seed=3)
    return CartesianEncoding(maps / rss(maps), torch.from_numpy(mask))


class Alike(LinearOperator):
    """One matrix (data, pixels) on every slice."""

    def __init__(self, matrix: Tensor, shape: tuple[int, int, int]) -> None:
        data = Space(("z", "value"), (shape[0], len(matrix)), matrix.dtype)
        super().__init__(Space(("z", "y", "x"), shape, matrix.dtype), data)
        self.matrix, self.sides = matrix, shape[1:]

    def _forward(self, x: Tensor) -> Tensor:
        return x.flatten(-2) @ self.matrix.mT

    def _adjoint(self, y: Tensor) -> Tensor:
        return (y @ self.matrix.conj()).unflatten(-1, self.sides)


def dense(A: CartesianEncoding) -> Tensor:
    """The matrix of A, column by column."""
    n = math.prod(A.domain.shape)  # type: ignore[union-attr]
    basis = torch.eye(n, dtype=COMPLEX).reshape(n, *A.domain.shape)  # type: ignore[union-attr]
    return torch.stack([A(e).flatten() for e in basis], dim=1)


def solve(problem: Problem, prior: Any, run: SilentRun | None = None, **settings: Any) -> Tensor:
    out = DDS(**settings).reconstruct(problem, {"prior": prior}, run or SilentRun())
    return torch.from_numpy(out.volume.data)


def solve_exactly(A: LinearOperator, y: Tensor, denoise: Callable[..., Tensor], **settings: Any) -> Tensor:
    """With a denoiser in the units of the image."""
    grid = AffineGrid.centred(A.domain.shape[-3:], (1.0, 1.0, 1.0))  # type: ignore[union-attr]
    card = SimpleNamespace(units="a.u.", mean=0.0, sigma_data=1.0, sigma_min=1e-3, sigma_max=1e3)
    prior = SimpleNamespace(card=card, normalization=Normalization(), denoise=denoise)
    return solve(Problem(y, A, NoiseModel(), grid, units="a.u."), prior, **settings)


# Inner products and weights ------------------------------------------------------------------------------------------


def test_conjugate_gradients_are_hermitian() -> None:
    """On I / 5 + A^H A ours converge; with r^T r for r^H r, as in DDS's code, the residual stalls."""
    A = encoding()
    K = lambda v: 0.2 * v + A.gram(v)  # noqa: E731
    b = normal(*A.domain.shape, seed=5)  # type: ignore[union-attr]
    x, r = torch.zeros_like(b), b.clone()
    p, rr = r.clone(), (r * r).sum()
    for _ in range(20):
        Kp = K(p)
        alpha = rr / (p * Kp).sum()
        x, r = x + alpha * p, r - alpha * Kp
        rr, previous = (r * r).sum(), rr
        p = r + rr / previous * p
    ours = conjugate_gradient(K, b, max_steps=20, rtol=0.0).x
    assert float(norm(b - K(ours)) / norm(b)) < 1e-7
    assert float(norm(b - K(x)) / norm(b)) > 1e-2


def test_the_data_weigh_as_they_are() -> None:
    """(I + g A^H A) x = xhat + g A^H y; the published code weighs the data by (1 + i) g, which turns the image."""
    A, gamma = encoding(slices=1), 0.95
    matrix, truth, xhat = dense(A), normal(1, 6, 8), normal(1, 6, 8, seed=2)
    y = A(truth)
    left = torch.eye(48, dtype=COMPLEX) + gamma * matrix.mH @ matrix
    right = gamma * (matrix.mH @ y.flatten())
    moved = LeastSquaresStep(A, y, cg_steps=60, damping=1 / gamma)(xhat).flatten()
    expected = torch.linalg.solve(left, xhat.flatten() + right)
    published = torch.linalg.solve(left, xhat.flatten() + (1 + 1j) * right)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)
    assert float((moved - published).norm() / expected.norm()) > 0.1


def test_slices_approach_along_the_line_between_their_complex_values() -> None:
    """min |x1 - a|^2 / 2 + |x2 - b|^2 / 2 + w |x2 - x1|: each moves by w towards the other, whatever its phase."""
    maps = torch.ones(1, 2, 4, 4, dtype=COMPLEX)
    A, y = CartesianEncoding(maps), normal(2, 4, 4, seed=4)
    weight = 0.3
    tv = SliceTV(A, A(y), weight=weight, rho=1.0, cg_steps=20, cg_rtol=1e-12)
    x = y
    for _ in range(200):
        x = tv(x)
    gap = y[1] - y[0]
    step = torch.where(gap.abs() > 2 * weight, weight * gap / gap.abs(), gap / 2)
    torch.testing.assert_close(x, torch.stack([y[0] + step, y[1] - step]), rtol=0, atol=1e-6)


# Exact priors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", ["lambda", "vp"])
@pytest.mark.parametrize(
    "settings", [{"data": "cg"}, {"data": "proximal", "gamma": 0.95}, {"data": "admm_tv", "threshold": 0.0}]
)
@pytest.mark.parametrize("eta", [0.0, 0.85])
def test_a_perfect_denoiser_gives_the_truth_with_its_energy_and_phase(grid: str, settings: dict, eta: float) -> None:
    A, truth = encoding(), normal(5, 6, 8)
    found = solve_exactly(A, A(truth), PerfectDenoiser(truth).denoise, grid=grid, eta=eta, steps=7, **settings)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-10)


def test_chains_follow_the_complex_gaussian_recursion() -> None:
    """Section 11 of the derivation with real and imaginary parts as two variables: noise has unit variance in each."""
    chains, n, gamma, eta, T = 4096, 4, 2.0, 0.85, 20
    root = torch.randn(2 * n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / math.sqrt(n)
    mu, C = normal(n, seed=6), root[:n] @ root[:n].T
    matrix = normal(3, n, seed=7)
    matrix = matrix / torch.linalg.matrix_norm(matrix, 2)
    y = matrix @ normal(n, seed=8)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        parts = [DenseGaussian(m, C).denoise(v.flatten(-2), sigma) for m, v in ((mu.real, x.real), (mu.imag, x.imag))]
        return torch.complex(*parts).reshape(x.shape)

    many = Alike(matrix, (chains, 2, 2))
    found = solve_exactly(many, y.expand(chains, -1).contiguous(), denoise, grid="vp", final="public", sigma_max=1e3,
                          steps=T, eta=eta, data="proximal", cg_steps=2 * n, gamma=gamma)  # fmt: skip
    strength = many.norm()  # what DDS divides by
    samples = torch.view_as_real(found.reshape(chains, n)).movedim(-1, 1).reshape(chains, 2 * n)

    A = torch.cat([torch.cat([matrix.real, -matrix.imag], 1), torch.cat([matrix.imag, matrix.real], 1)])
    A = A / strength
    data = torch.cat([y.real, y.imag]) / strength
    m, V = torch.zeros(2 * n, dtype=torch.float64), torch.eye(2 * n, dtype=torch.float64)
    mean, cov = torch.cat([mu.real, mu.imag]), torch.block_diag(C, C)
    P = torch.linalg.inv(torch.eye(2 * n, dtype=torch.float64) + gamma * A.T @ A)
    abar, times = vp_alpha_bar(), list(range(0, 1000, 1000 // T))[::-1]
    for t, after in zip(times, [*times[1:], -1], strict=True):
        a, b = math.sqrt(abar[t]), math.sqrt(1 - abar[t])
        a1, b1 = (1.0, 0.0) if after <= 0 else (math.sqrt(abar[after]), math.sqrt(1 - abar[after]))
        inverse = torch.linalg.inv(a * a * cov + b * b * torch.eye(2 * n, dtype=torch.float64))
        gain, kept = a * cov @ inverse, b * b1 * math.sqrt(1 - eta**2) * inverse
        F, away = a1 * P @ gain + kept, m - a * mean
        m = a1 * P @ (mean + gain @ away + gamma * A.T @ data) + kept @ away
        V = F @ V @ F.T + (b1 * eta) ** 2 * torch.eye(2 * n, dtype=torch.float64)
    assert float(((samples.mean(0) - m).abs() / (V.diagonal() / chains).sqrt()).max()) < 4.5
    expected = math.sqrt((float(V.trace()) ** 2 + float(V.square().sum())) / chains)
    assert float((samples.T.cov() - V).norm()) < 3 * expected


# Networks, slices, coils ----------------------------------------------------------------------------------------------


def network() -> Model:
    """A random network of complex images; not equivariant to phase."""
    architecture = {"kind": "unet2d", "channels": [8, 16], "patch": 1, "image_channels": 2, "embedding": 16}
    inner = build_network(architecture)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in inner.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    card = Card(name="random", modality="MRI", units="1", scale=2.0, sigma_min=0.01, sigma_max=5.0, sigma_data=0.2,
                voxel_mm=(0.5, 4.0), complex_image=True, architecture=architecture, licence="none")  # fmt: skip
    return Model(card, EDMDenoiser(inner, 0.2).eval().requires_grad_(False), half=False)


@pytest.fixture(scope="module")
def scan() -> Scan:
    """Smooth objects before four smooth coils, undersampled twice, with noise."""
    shape, rng = OBJECT.shape, np.random.default_rng(0)
    coils = np.stack([np.exp(-((X - a) ** 2) - (Y - b) ** 2 + 1j * (a + b * X)) for a in (-1, 1) for b in (-1, 1)])
    images = coils[:, None] * OBJECT
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes=(2, 3)), norm="ortho"), axes=(2, 3))
    k = k + 0.01 * (rng.standard_normal(k.shape) + 1j * rng.standard_normal(k.shape))
    data = np.where(column_mask(32, 2.0, 0.3, seed=1), k, 0).astype(np.complex64)
    return Scan("mri", data, ("coil", "kz", "ky", "kx"), {}, AffineGrid.centred(shape, (4, 2, 2)), {"std": 0.01})


@pytest.mark.parametrize("data", ["cg", "proximal"])
def test_a_slab_gives_the_bits_of_the_whole(scan: Scan, data: str) -> None:
    problem, prior = problem_for(scan), network()
    whole = solve(problem, prior, SilentRun(micro_batch=4), steps=3, data=data)
    for start, stop in ((0, 2), (2, 5)):
        part = solve(problem.slab(start, stop), prior, SilentRun(micro_batch=4), steps=3, data=data)
        assert torch.equal(part, whole[start:stop])


@pytest.mark.parametrize("data", ["proximal", "admm_tv"])
def test_a_phase_common_to_all_coils_and_a_unit_change_nothing(scan: Scan, data: str) -> None:
    """Where there is signal: without it the low-resolution image that turns the maps is rounding and noise."""
    prior, inside = network(), torch.from_numpy(np.abs(OBJECT) > 0.5)

    def magnitude(scan: Scan) -> Tensor:
        return solve(problem_for(scan), prior, steps=6, data=data, noise_weight=1.0).abs()[inside]

    one = magnitude(scan)
    two = magnitude(replace(scan, data=(scan.data * np.exp(0.7j)).astype(np.complex64)))
    assert float((one - two).abs().max()) < 1e-4 * float(one.max())
    three = magnitude(replace(scan, data=(scan.data * 1e-5).astype(np.complex64), noise={"std": 1e-7}))
    assert float((1e5 * three - one).abs().max()) < 1e-3 * float(one.max())


def test_the_prior_sees_nearly_real_images_in_its_range(scan: Scan) -> None:
    """The scale rule puts the bright parts near one half, the phase rule leaves little that is imaginary."""
    problem, seen = problem_for(scan), []
    prior = network()

    class Watching:
        card, normalization = prior.card, prior.normalization

        def denoise(self, x: Tensor, sigma: float) -> Tensor:
            seen.append(x)
            return 0.9 * x

    solve(problem, Watching(), steps=8, eta=0.0, start="cgls", sigma_start=0.02, sigma_min=0.01)
    bright = seen[-1].abs() > 0.3
    assert 0.35 < float(seen[-1].abs().quantile(0.99)) < 1.0
    assert float(seen[-1].imag[bright].abs().mean()) < 0.15 * float(seen[-1].real[bright].abs().mean())
