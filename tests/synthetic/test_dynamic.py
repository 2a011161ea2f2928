"""Drawn series and their simulated scans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import recon3d
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.problem import problem_for
from recon3d.synthetic.dynamic import OBJECTS, STYLES, draw_series
from recon3d.synthetic.dynamic_scans import simulate_ct_series, simulate_mri_series
from recon3d.volume import Volume

SMALL = (1, 24, 24)


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("style", STYLES)
def test_a_series_moves_smoothly_and_again(kind: Any, style: Any) -> None:
    volume = draw_series(kind, seed=1, style=style, shape=SMALL, frames=12)
    assert volume.data.shape == (12, *SMALL)
    assert volume.units == ("HU" if kind == "walnut" else "1")
    assert volume.times_s is not None
    assert volume.times_s[1] == pytest.approx(1.0 if kind == "walnut" else 0.9 / 12)
    step = np.abs(np.diff(volume.data, axis=0)).mean()
    far = np.abs(volume.data[6] - volume.data[0]).mean()
    assert 0 < step < far
    np.testing.assert_array_equal(draw_series(kind, seed=1, style=style, shape=SMALL, frames=12).data, volume.data)
    assert np.abs(draw_series(kind, seed=2, style=style, shape=SMALL, frames=2).data[0] - volume.data[0]).mean() > 0


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", [4, 10, 11])
def test_a_heart_is_a_magnitude(seed: int, style: Any) -> None:
    """Air in the lungs has nearly no signal, and its texture must not make it less than none."""
    assert draw_series("heart", seed=seed, style=style, shape=SMALL, frames=1).data.min() >= 0


def test_instants_do_not_depend_on_the_number_of_frames() -> None:
    few, many = (draw_series("heart", seed=1, shape=SMALL, frames=n) for n in (4, 8))
    np.testing.assert_array_equal(few.data, many.data[::2])


def test_each_view_sees_its_own_frame() -> None:
    """Against the scan of each frame at rest, by the operator that problems get."""
    volume = draw_series("walnut", seed=1, shape=(2, 24, 24), frames=8)
    scan = simulate_ct_series(volume, views_per_frame=2, order="golden", finer=1)
    problem = problem_for(scan)
    assert problem.domain.shape == (8, 2, 24, 24)
    image = problem.image(volume)
    assert float((problem.A(image) - problem.y).abs().max()) < 1e-4
    assert problem.times_s == pytest.approx([t + 0.25 for t in range(8)])
    other = replace(volume, data=np.roll(volume.data, 1, axis=0))
    assert float((problem.A(problem.image(other)) - problem.y).abs().max()) > 0.02


def test_noise_of_ct_is_stated() -> None:
    volume = draw_series("walnut", seed=1, shape=SMALL, frames=8)
    clean, noisy = simulate_ct_series(volume), simulate_ct_series(volume, noise_std=0.01, seed=4)
    std = float(noisy.noise["std"])  # type: ignore[arg-type]
    assert std == pytest.approx(0.01 * float(clean.data.max()))  # type: ignore[union-attr]
    assert float(np.std(noisy.data - clean.data)) == pytest.approx(std, rel=0.1)  # type: ignore[operator]
    counted = simulate_ct_series(volume, photons=1e5, seed=4)
    assert counted.noise == {"photons": 1e5}
    first, second = (counted.data[k] - clean.data[k] for k in (0, 1))  # noise differs from view to view
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.9


@pytest.mark.parametrize("sampling", ["cartesian", "radial"])
def test_the_volume_is_the_image_of_a_simulated_cine(sampling: Any) -> None:
    """Fully sampled without noise: the image's magnitude is the volume, in its place to a fraction of a voxel."""
    volume = draw_series("heart", seed=1, shape=(1, 32, 32), frames=3)
    settings: dict[str, Any] = {"acceleration": 1, "centre_lines": 32} if sampling == "cartesian" else {"spokes": 51}
    scan = simulate_mri_series(volume, coils=4, sampling=sampling, snr=None, **settings)
    problem = problem_for(scan)
    assert problem.domain.shape == (3, 1, 32, 32)
    assert problem.times_s is not None
    found = np.abs(recon3d.reconstruct(problem, "sliding_window", window=1, iterations=15).volume.data)
    error = np.sqrt(np.mean((found - volume.data) ** 2)) / np.sqrt(np.mean(volume.data**2))
    moved = np.sqrt(np.mean((found - np.roll(volume.data, 1, -1)) ** 2)) / np.sqrt(np.mean(volume.data**2))
    assert error < 0.12
    assert error < 0.5 * moved


def test_columns_differ_from_frame_to_frame_but_for_the_middle() -> None:
    scan = simulate_mri_series(draw_series("heart", shape=SMALL, frames=6), acceleration=4, centre_lines=2)
    mask = np.asarray(scan.acquisition["mask"]).reshape(6, 24)
    assert (mask.sum(1) == 6).all()
    assert mask[:, 11:13].all()
    assert 2 <= int(mask.all(0).sum()) < 6


def test_simulate_knows_series() -> None:
    volume = draw_series("walnut", shape=SMALL, frames=8)
    scan = recon3d.simulate(volume, {"kind": "ct-series", "order": "linear"}, noise={"noise_std": 0.01})
    assert scan.kind == "ct"
    assert len(np.asarray(scan.acquisition["times_s"])) == 8


def walnut(kind: Any = "walnut") -> Volume:
    return draw_series(kind, shape=SMALL, frames=2)


still = Volume(np.ones(SMALL, np.float32), AffineGrid.centred(SMALL, 1.0))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: draw_series("apple"), ConfigError, "walnut or heart"),  # type: ignore[arg-type]
        (lambda: draw_series(frames=0), ConfigError, "at least one frame"),
        (lambda: simulate_ct_series(still), InputError, "A series .* is needed"),
        (lambda: simulate_ct_series(Volume(still.data[None], still.grid)), InputError, "has no times"),
        (lambda: simulate_ct_series(walnut(), photons=1.0, noise_std=1.0), ConfigError, "once"),
        (lambda: simulate_mri_series(walnut()), InputError, "not negative"),
        (lambda: simulate_mri_series(walnut("heart"), acceleration=12), ConfigError, "2 of 24"),
    ],
)  # fmt: skip
def test_what_cannot_be(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
