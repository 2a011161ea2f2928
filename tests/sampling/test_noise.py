from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from recon3d.sampling import noise
from recon3d.sampling.noise import _CENTRE, _central_normal, _tail_normal, counter_noise


def test_moments_and_independence_of_neighbours_slices_and_steps() -> None:
    a = counter_noise((16, 64, 64), seed=3, step=1, dtype=torch.float64)
    b = counter_noise((16, 64, 64), seed=3, step=2, dtype=torch.float64)
    bound = 5 / math.sqrt(a.numel())
    assert abs(float(a.mean())) < bound
    assert abs(float(a.square().mean()) - 1) < bound * math.sqrt(2)
    assert abs(float(a.pow(4).mean()) - 3) < bound * math.sqrt(96)
    for other, this in ((a[1:], a[:-1]), (a[..., 1:], a[..., :-1]), (a[:, 1:], a[:, :-1]), (a, b)):
        assert abs(float((this * other).mean())) < 1.1 * bound


def test_a_slice_does_not_depend_on_its_slab() -> None:
    whole = counter_noise((7, 5, 3), seed=1, sample=2, step=3)
    assert torch.equal(counter_noise((3, 5, 3), seed=1, sample=2, step=3, first_slice=2), whole[2:5])
    frames = counter_noise((2, 7, 5, 3), seed=1, sample=2, step=3)
    assert torch.equal(frames[0], whole)
    assert not torch.equal(frames[1], whole)


def test_every_part_of_the_key_counts_and_parts_do_not_trade_places() -> None:
    keys = [
        {"seed": s, "sample": a, "step": k, "stage": g, "first_slice": z}
        for s in (0, 1, -1)
        for a in (0, 1)
        for k in (-1, 0, 1)
        for g in (0, 1)
        for z in (0, 1)
    ]
    first = {float(counter_noise((1, 1, 1), **key, dtype=torch.float64)) for key in keys}  # type: ignore[arg-type]
    assert len(first) == len(keys)


def test_precisions_share_the_numbers_and_complex_noise_has_unit_variance_per_part() -> None:
    wide = counter_noise((4, 32, 32), seed=5, dtype=torch.complex128)
    narrow = counter_noise((4, 32, 32), seed=5, dtype=torch.complex64)
    assert torch.equal(wide.to(torch.complex64), narrow)
    assert float(wide.real.var()) == pytest.approx(1, abs=0.08)
    assert float(wide.imag.var()) == pytest.approx(1, abs=0.08)
    assert abs(float((wide.real * wide.imag).mean())) < 0.08


def test_the_quantile_function_in_its_middle_and_both_tails() -> None:
    for u in (1e-16, 1e-12, 1e-8, 0.01, 0.07, 0.3, 0.6, 0.93, 0.999, 1 - 1e-9):
        quantile = _central_normal if abs(u - 0.5) <= _CENTRE else _tail_normal
        assert quantile(u) == pytest.approx(ndtri(u), rel=1e-13)


@pytest.mark.parametrize("at_once", [1 << 22, 1000])
def test_an_accelerator_draws_the_numbers_of_the_cpu(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its form of the generator, run on the CPU: the same bits, and quantiles that differ by rounding at most."""
    monkeypatch.setattr(noise, "_AT_ONCE", at_once)
    keys = np.array([noise._mix(k) for k in range(4)], np.uint64)
    wide, narrow = np.empty((4, 30_001)), np.empty((4, 30_001), np.float32)
    for expected in (wide, narrow):
        noise._fill(keys, expected)
        found = noise._drawn_on(torch.from_numpy(keys.view(np.int64)), 30_001, torch.from_numpy(expected).dtype)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-13 if expected is wide else 1e-6)
    assert np.abs(wide).max() > 4  # tails are among them
