"""Classical methods on CT through a problem: closed forms and two ways to one answer."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import recon3d
from operators.normalization import Normalization
from operators.tomography import TomographyGeometry
from operators.wavelet import inverse_wavelet, wavelet
from recon3d.acquisitions.ct_checks import field_of_view
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.methods.dds import DDS
from recon3d.methods.sirt import _scattered
from recon3d.problem import Problem, problem_for
from recon3d.run import SilentRun
from recon3d.scan import Scan

GRID = AffineGrid.centred((2, 12, 12), (1.0, 1.0, 1.0))


def truth(grid: AffineGrid = GRID) -> torch.Tensor:
    x = torch.zeros(grid.shape, dtype=torch.float64)
    x[:, 3:8, 4:9] = 0.02
    x[1, 5:7, 6:8] = 0.04
    return x


def c_arm(views: int) -> TomographyGeometry:
    """Sources on a tilted circle, detectors turned about the central ray: one row of numbers per view."""
    vectors = TomographyGeometry.cone(
        np.arange(views) * 2 * math.pi / views, 60.0, 120.0, 40, 2.0, 15, 2.0, tilt_rad=0.15
    ).vectors
    lean = np.array([[1.0, 0.0, 0.0], [0.0, math.cos(0.1), -math.sin(0.1)], [0.0, math.sin(0.1), math.cos(0.1)]])
    return TomographyGeometry.from_vectors((vectors.reshape(views, 4, 3) @ lean.T).reshape(views, 12), 15, 40)


def scanner(beam: str, views: int) -> TomographyGeometry:
    turn = np.arange(views) * 2 * math.pi / views
    distances = (60.0, 120.0, 40, 2.0)
    return {
        "parallel": lambda: TomographyGeometry.parallel(turn / 2, 17, n_rows=2),
        "fan": lambda: TomographyGeometry.fan(turn, *distances, 2),
        "curved fan": lambda: TomographyGeometry.fan(turn, *distances, 2, detector="curved"),
        "cone": lambda: TomographyGeometry.cone(turn, *distances, 9, 2.0),
        "curved cone": lambda: TomographyGeometry.cone(turn, *distances, 9, 2.0, detector="curved"),
        "helix": lambda: TomographyGeometry.cone(2 * turn, *distances, 9, 2.0, advance_mm=1.5),
        "C-arm": lambda: c_arm(views),
    }[beam]()


BEAMS = ("parallel", "fan", "curved fan", "cone", "curved cone", "helix", "C-arm")


def ct_problem(
    views: int = 16, beam: str = "parallel", noise: float = 0.0, photons: float | None = None, **kwargs
) -> Problem:
    geometry = scanner(beam, views)
    scan = Scan("ct", np.zeros(geometry.shape), ("view", "row", "column"), geometry.to_dict(), GRID, units="1/mm")
    y = problem_for(scan, dtype=torch.float64).A(truth())
    y += noise * torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    stated = {} if photons is None else {"photons": photons}
    return problem_for(replace(scan, data=y.numpy(), noise=stated), dtype=torch.float64, **kwargs)


def dense(problem: Problem) -> torch.Tensor:
    basis = torch.eye(problem.domain.size, dtype=torch.float64).reshape(-1, *problem.domain.shape)
    return problem.A(basis).flatten(1).T


@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_subsets_of_views_are_the_rows_of_the_whole(beam: str) -> None:
    problem = ct_problem(views=7, beam=beam, photons=1e4)
    A = problem.noise.whiten(problem.A, problem.y)[0]
    part = A.subset("view", [5, 0, 3])
    assert part is not None
    torch.testing.assert_close((2.0 * part)(truth()), 2.0 * A(truth())[[5, 0, 3]])
    assert A.subset("row", [0]) is None


def smoothed(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """A denoiser that knows nothing but that neighbours agree: the mean of 3 x 3 pixels, the more the noisier."""
    mean = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(x[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return ((x + 4 * sigma * mean) / (1 + 4 * sigma)).clamp(0, 2)


@pytest.mark.parametrize("beam", BEAMS)
def test_tv_and_dds_run_on_every_geometry(beam: str) -> None:
    """From enough views TV finds the image, and DDS one near it that fits the data."""
    problem = ct_problem(views=30, beam=beam)
    x = truth().numpy()
    tv = recon3d.reconstruct(problem, "tv", weight=1e-5, iterations=100).volume.data
    assert np.linalg.norm(tv - x) < 0.03 * np.linalg.norm(x)
    card = SimpleNamespace(units="1/mm", mean=0.5, sigma_data=0.5, sigma_min=1e-3, sigma_max=1.0)
    prior: Any = SimpleNamespace(denoise=smoothed, normalization=Normalization(0.02), card=card)
    dds = DDS(steps=12, threshold=0.001, cg_steps=20).reconstruct(problem, {"prior": prior}, SilentRun())
    assert float(dds.facts["residual"]) < 0.01
    assert np.linalg.norm(dds.volume.data - x) < 0.2 * np.linalg.norm(x)


@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_os_sirt_is_ahead_of_sirt_and_keeps_its_fixed_point(beam: str) -> None:
    problem = ct_problem(beam=beam)
    found = [recon3d.reconstruct(problem, "sirt", subsets=n, iterations=5).volume.data for n in (16, 4, 1)]
    gaps = [float(np.linalg.norm(x - truth().numpy())) for x in found]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.8 * gaps[2]
    exact = recon3d.reconstruct(problem, "sirt", subsets=4, iterations=200)
    assert float(exact.facts["residual"]) < 2e-3
    order = _scattered(9)
    assert sorted(order) == list(range(9))
    assert min(abs(a - b) for a, b in pairwise(order)) > 1


def test_os_sirt_in_slabs_is_the_whole() -> None:
    problem = ct_problem()
    whole = recon3d.reconstruct(problem, "sirt", subsets=4, iterations=3).volume.data
    part = recon3d.reconstruct(problem.slab(1, 2), "sirt", subsets=4, iterations=3).volume.data
    np.testing.assert_array_equal(whole[1:], part)


def test_subsets_need_views() -> None:
    with pytest.raises(ConfigError, match="more than the 16 views"):
        recon3d.reconstruct(ct_problem(), "sirt", subsets=17)
    from recon3d.acquisitions.image import image_scan

    volume = recon3d.Volume(truth().numpy(), GRID, units="1/mm")
    with pytest.raises(ConfigError, match="this scan has none"):
        recon3d.reconstruct(problem_for(image_scan(volume)), "sirt", subsets=2)


def test_cgls_solves_the_normal_equations_with_poisson_weights() -> None:
    problem = ct_problem(views=20, noise=0.01, photons=2e3)
    A, y, w = dense(problem), problem.y.reshape(-1), problem.noise.std.reshape(-1) ** -2.0  # type: ignore[union-attr]
    assert float(w.max() / w.min()) > 1.1
    expected = torch.linalg.solve(A.T @ (w[:, None] * A), A.T @ (w * y))
    found = recon3d.reconstruct(problem, "cgls", iterations=2000, rtol=1e-12).volume.data
    np.testing.assert_allclose(found.ravel(), expected.numpy(), atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("huber", [0.0, 0.05])
def test_tv_has_one_minimum_whatever_the_solver(huber: float) -> None:
    problem = ct_problem(views=8, noise=0.005, photons=1e4)
    settings = {"weight": 3e-3, "huber": huber, "rtol": 1e-8}
    fista = recon3d.reconstruct(problem, "tv", iterations=800, **settings).volume.data
    pdhg = recon3d.reconstruct(problem, "tv", solver="pdhg", iterations=1500, **settings).volume.data
    assert np.linalg.norm(fista - pdhg) < 2e-3 * np.linalg.norm(fista)
    assert np.linalg.norm(fista - truth().numpy()) < 0.3 * np.linalg.norm(truth().numpy())


def test_one_step_of_l1_wavelet_shrinks_the_backprojection() -> None:
    problem = ct_problem()
    task = problem.normalised()
    found = recon3d.reconstruct(problem, "l1_wavelet", wavelet="haar", levels=1, weight=0.05, iterations=1).volume.data
    coefficients = wavelet(task.A.H(task.y), 1, "haar")
    coarse = coefficients[:, :6, :6].clone()
    shrunk = coefficients.sign() * (coefficients.abs() - 0.05).clamp(min=0)
    shrunk[:, :6, :6] = coarse
    expected = task.physical(inverse_wavelet(shrunk, 1, "haar"))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-10, atol=1e-12)


def test_l1_wavelet_beats_its_start_on_few_noisy_views() -> None:
    problem = ct_problem(views=12, noise=0.02)
    plain, sparse = (
        recon3d.reconstruct(problem, "l1_wavelet", wavelet="haar", iterations=200, weight=w).volume.data
        for w in (0, 5e-3)
    )
    errors = [np.linalg.norm(x - truth().numpy()) for x in (plain, sparse)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("method", ["sirt", "cgls", "tv", "fbp"])
def test_nothing_is_outside_the_support(method: str) -> None:
    mask = np.zeros(GRID.shape, np.float32)
    mask[:, 2:10, 3:11] = 1.0
    result = recon3d.reconstruct(ct_problem(views=6, noise=0.01, support=mask), method).volume.data
    assert not result[mask == 0].any()
    assert result[mask == 1].any()


def test_a_support_is_an_unknown_less() -> None:
    """With the support the least squares solution is that of the columns inside it."""
    mask = np.zeros(GRID.shape, np.float32)
    mask[:, 3:8, 4:9] = 1.0
    problem = ct_problem(views=6, noise=0.01, support=mask)
    inside = torch.from_numpy(mask).reshape(-1) > 0
    expected = torch.linalg.lstsq(dense(problem)[:, inside], problem.y.reshape(-1, 1)).solution[:, 0]
    found = recon3d.reconstruct(problem, "cgls", iterations=500, rtol=1e-12).volume.data.ravel()[inside.numpy()]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-7)
    assert problem.normalised().A.norm(rtol=1e-8) == pytest.approx(1.0, rel=1e-3)
    with pytest.raises(InputError, match="not all 0, on the grid"):
        ct_problem(support=np.zeros(GRID.shape))


def test_the_field_of_view_is_the_disc_that_the_detector_sees() -> None:
    geometry = TomographyGeometry.parallel(np.arange(8) * math.pi / 8, 9, n_rows=2)
    scan = Scan("ct", np.zeros(geometry.shape), ("view", "row", "column"), geometry.to_dict(), GRID, units="1/mm")
    y, x = np.mgrid[-5.5:6, -5.5:6]
    np.testing.assert_array_equal(field_of_view(scan)[1], np.hypot(y, x) <= 4.0)
    moved = replace(scan, acquisition={**scan.acquisition, "grid_centre_mm": (0.0, 0.0, 3.0)})
    np.testing.assert_array_equal(field_of_view(moved)[0], np.hypot(y, x + 3.0) <= 4.0)
    cone = TomographyGeometry.cone(np.arange(8) * math.pi / 4, 60.0, 120.0, 17, 1.0, 3, 2.0)
    reach = 60.0 * math.sin(math.atan(8 / 120.0))
    seen = field_of_view(replace(scan, acquisition=cone.to_dict()))
    np.testing.assert_array_equal(seen[0], np.hypot(y, x) <= reach)
    with pytest.raises(InputError, match="is for CT"):
        field_of_view(replace(scan, kind="mri"))
