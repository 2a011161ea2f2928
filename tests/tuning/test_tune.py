"""Tuning on problems whose best weight is known in closed form: (A^H A + w) x = A^H y with A the identity."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from operators.linear import Diagonal
from operators.space import Space
from recon3d.acquisitions.image import image_scan
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.methods import make_method
from recon3d.methods.base import Method
from recon3d.noise import NoiseModel
from recon3d.problem import Problem, problem_for
from recon3d.tuning.criteria import against, discrepancy, with_noise
from recon3d.tuning.tune import ranges_of, tune
from recon3d.volume import Volume

SIGMA = 0.5
TRUTH = np.random.default_rng(0).standard_normal((4, 24, 24)).astype(np.float32)
NOISY = TRUTH + SIGMA * np.random.default_rng(1).standard_normal(TRUTH.shape).astype(np.float32)
GRID = AffineGrid.centred(TRUTH.shape, 1.0)


def problem(noise_std: float = SIGMA) -> Problem:
    return problem_for(image_scan(Volume(NOISY, GRID), noise_std=noise_std))


def tikhonov() -> Method:
    return make_method("cg_sense", {"iterations": 50})


def test_the_weight_closest_to_a_reference_is_that_of_the_normal_equation() -> None:
    found = tune(problem(), tikhonov(), against(Volume(TRUTH, GRID)))
    scale = float((NOISY * TRUTH).sum() / (NOISY**2).sum())  # x = y / (1 + w) is closest to the truth there
    assert found.settings["weight"] == pytest.approx(1 / scale - 1, rel=0.15)
    assert (found.method.weight, found.at_end) == (found.settings["weight"], ())  # type: ignore[attr-defined]
    assert found.score == min(trial.score for trial in found.trials)
    worse = tune(problem(), tikhonov(), against(Volume(-TRUTH, GRID)))
    assert worse.at_end == ("weight",)


def test_the_weight_of_the_discrepancy_principle_leaves_the_noise() -> None:
    task = problem()
    found = tune(task, tikhonov(), discrepancy(task))
    share = SIGMA * math.sqrt(NOISY.size) / float(np.linalg.norm(NOISY))  # |y - y / (1 + w)| = sigma sqrt(n)
    assert found.settings["weight"] == pytest.approx(share / (1 - share), rel=0.15)
    assert found.score < 0.1


def test_noise_that_is_not_stated_is_read_in_the_data() -> None:
    smooth = np.broadcast_to(np.linspace(0, 50, 240, dtype=np.float32), (4, 24, 240))
    data = smooth + 0.5 * np.random.default_rng(2).standard_normal(smooth.shape).astype(np.float32)
    scan = image_scan(Volume(data, AffineGrid.centred(data.shape, 1.0)), noise_std=0.0)
    known, told = with_noise(problem_for(scan))
    assert known.noise.std == pytest.approx(0.5, rel=0.03)
    assert "estimated from the finest details" in told
    assert with_noise(known) == (known, "")
    with pytest.raises(ConfigError, match="The noise of 'image' is not known: state"):
        discrepancy(problem_for(scan))
    silent = image_scan(Volume(np.ones((1, 4, 8), np.float32), AffineGrid.centred((1, 4, 8), 1.0)), noise_std=0.0)
    with pytest.raises(InputError, match="show no noise"):
        with_noise(problem_for(silent))


def test_the_noise_of_complex_data_is_that_of_each_part() -> None:
    space = Space(("z", "y", "x"), (4, 24, 64), torch.complex64)
    y = torch.randn(space.shape, dtype=space.dtype, generator=torch.Generator().manual_seed(0)) * math.sqrt(2) * 0.3
    task = Problem(y, Diagonal(torch.ones(space.shape), space), NoiseModel(), AffineGrid.centred(space.shape, 1.0))
    assert with_noise(task)[0].noise.std == pytest.approx(0.3, rel=0.1)
    zero = Volume(np.zeros(space.shape, np.complex64), task.grid)
    assert discrepancy(with_noise(task)[0])(zero) == pytest.approx(0.0, abs=0.1)


def test_what_cannot_be_tuned_is_said() -> None:
    with pytest.raises(ConfigError, match="Method 'fbp' declares no setting to tune"):
        ranges_of(make_method("fbp", {}))
    with pytest.raises(ConfigError, match=r"'weigth' is not declared .* did you mean 'weight'"):
        ranges_of(tikhonov(), ["weigth"])
    assert list(ranges_of(make_method("dds", {}))) == ["threshold", "rho"]
    assert list(ranges_of(make_method("dds", {"data": "proximal"}))) == ["gamma"]


@pytest.mark.parametrize("name", ["tv", "l1_wavelet", "cg_sense", "sirt", "cgls", "lps", "dds", "pocs", "mssa"])
def test_every_declared_range_holds_the_default(name: str) -> None:
    method = make_method(name, {})
    for setting, range_ in ranges_of(method).items():
        assert range_.low <= getattr(method, setting) <= range_.high
        assert range_.whole == isinstance(getattr(method, setting), int)
