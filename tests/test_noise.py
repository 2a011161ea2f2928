"""Noise of scans: what is stated, what is impossible, and data that are white once it is taken into account."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from operators.tomography import TomographyGeometry
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.noise import MODEL_ERROR, slice_energies
from recon3d.problem import problem_for
from recon3d.scan import Scan

SHAPE = (4, 9, 11)


def truth() -> torch.Tensor:
    return torch.rand(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def ct_scan() -> Scan:
    """Line integrals of about one, without noise."""
    geometry = TomographyGeometry.parallel(np.linspace(0, np.pi, 24, endpoint=False), 15, 1.0, n_rows=4, row_mm=2.0)
    data = np.random.default_rng(0).uniform(0, 2, geometry.shape)
    return Scan("ct", data, ("view", "row", "column"), geometry.to_dict(), AffineGrid.centred(SHAPE, (2.0, 1.0, 1.0)))


def test_whitening_makes_the_noise_one() -> None:
    """With the noise itself as data, the whitened data have standard deviation 1."""
    scan = ct_scan()
    rng = np.random.default_rng(0)
    std = rng.uniform(0.1, 3.0, scan.data.shape)  # type: ignore[union-attr]
    noise = rng.standard_normal(std.shape) * std
    for stated in ({"std": std}, {"weights": std**-2.0}):
        problem = problem_for(replace(scan, data=noise, noise=stated), dtype=torch.float64)
        A, y = problem.noise.whiten(problem.A, problem.y)
        np.testing.assert_allclose(y.numpy(), noise / std)
        np.testing.assert_allclose(A(truth()).numpy(), problem.A(truth()).numpy() / std)
        assert float(y.std()) == pytest.approx(1.0, abs=0.03)


def test_photons_give_the_variance_of_line_integrals() -> None:
    scan = replace(ct_scan(), noise={"photons": 1e4})
    noise = problem_for(scan, dtype=torch.float64).noise
    assert isinstance(noise.std, torch.Tensor)
    expected = np.exp(scan.data) / 1e4 + (MODEL_ERROR * np.sqrt(np.mean(scan.data**2))) ** 2
    np.testing.assert_allclose(noise.std.numpy() ** 2, expected)


def test_one_number_and_weights_of_zero() -> None:
    problem = problem_for(replace(ct_scan(), noise={"std": 0.5}), dtype=torch.float64)
    torch.testing.assert_close(problem.noise.whiten(problem.A, problem.y)[1], 2 * problem.y)
    weights = np.ones(problem.y.shape)
    weights[3] = 0
    masked = problem_for(replace(ct_scan(), noise={"weights": weights}), dtype=torch.float64)
    A, y = masked.noise.whiten(masked.A, masked.y)
    assert not y[3].any()
    assert not A(truth())[3].any()
    assert torch.isfinite(y).all()


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ({"std": 0.0}, "positive everywhere"),
        ({"std": float("nan")}, "positive everywhere"),
        ({"weights": np.array([-1.0, 1.0])}, "inverse variances"),
        ({"weights": np.zeros(3)}, "inverse variances"),
        ({"photons": 0.0}, "positive counts"),
        ({"std": 1.0, "photons": 1e4}, "stated once"),
    ],
)
def test_impossible_noise(noise: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        problem_for(replace(ct_scan(), noise=noise))


def test_data_that_may_not_be_written_are_read() -> None:
    """As those of a mapped file are; one row, so that its slices lie in the file as they are wanted."""
    scan = ct_scan()
    data = np.ascontiguousarray(np.asarray(scan.data)[:, :1])
    expected = slice_energies(data, -2)
    data.flags.writeable = False
    assert torch.equal(slice_energies(data, -2), expected)
    assert float(expected[0]) == pytest.approx(float((data**2).sum()))
