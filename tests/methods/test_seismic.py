"""The classical interpolators: reference values of the sheet, exact traces, regular decimation, errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import recon3d
from operators.linear import Identity
from operators.seismic import trace_mask
from operators.space import Space
from recon3d.errors import InputError
from recon3d.evaluation.seismic import snr_db
from recon3d.grid import AffineGrid
from recon3d.methods.base import Reconstruction
from recon3d.noise import NoiseModel
from recon3d.problem import Problem, problem_for
from recon3d.run import SilentRun
from recon3d.synthetic.seismic import survey
from recon3d.synthetic.seismic_masks import masked
from recon3d.synthetic.seismic_scoring import scoring_cube
from recon3d.volume import Volume

SHAPE = (20, 20, 48)
LINEAR = scoring_cube("linear", SHAPE, 3)


def filled(cube: Volume, live: np.ndarray, method: str, **settings: Any) -> tuple[Reconstruction, float]:
    result = recon3d.reconstruct(problem_for(masked(cube, live)), method, **settings)
    return result, snr_db(cube.data, result.volume.data, ~live)


def half(family: str, seed: int = 0) -> np.ndarray:
    return trace_mask(family, SHAPE[:2], 0.5, np.random.default_rng(seed))


def test_pocs_gains_nothing_on_regular_decimation() -> None:
    """The alias copies have equal amplitude, so no threshold tells them apart: 0.00 dB, whatever the settings."""
    _, snr = filled(LINEAR, half("regular"), "pocs", iterations=30, pad=0)
    assert abs(snr) < 0.01


def test_pocs_padding_pays() -> None:
    """Linear events, random half missing: on a larger cube the sheet has 21 dB without padding and 40 with."""
    live = half("random")
    plain, padded = (filled(LINEAR, live, "pocs", pad=pad)[1] for pad in (0, 8))
    assert padded > 20
    assert padded > plain + 4


def test_mssa_is_exact_on_three_plane_waves() -> None:
    """The sheet: above 60 dB, noise-free, random 50 %. No event leaves the cube, so that slices have rank 3."""
    x, y, t = np.meshgrid(np.arange(12), np.arange(12), np.arange(32), indexing="ij")
    cube = np.zeros(x.shape)
    for delay, p, q in ((10, 0.2, -0.1), (15, -0.2, 0.15), (20, 0.1, 0.2)):
        b = (np.pi * 0.17 * (t - delay - p * x - q * y)) ** 2
        cube += (1 - 2 * b) * np.exp(-b)
    live = trace_mask("random", (12, 12), 0.5, np.random.default_rng(0))
    volume = Volume(cube.astype(np.float32), survey(cube.shape))  # type: ignore[arg-type]
    _, snr = filled(volume, live, "mssa", rank=3, iterations=60, window=None)
    assert snr > 60


def test_fx_prediction_unfolds_what_pocs_cannot() -> None:
    live = half("regular")
    _, snr = filled(LINEAR, live, "fx_prediction", length=4, window=(20, 20, 48))
    assert snr > 25


def test_fx_prediction_on_both_axes() -> None:
    live = np.zeros(SHAPE[:2], bool)
    live[::2, ::2] = True
    _, snr = filled(LINEAR, live, "fx_prediction", length=4, window=(20, 20, 48))
    assert snr > 12


@pytest.mark.parametrize(
    ("method", "settings"),
    [("pocs", {"iterations": 3}), ("mssa", {"iterations": 1, "rank": 2}), ("fx_prediction", {"window": (20, 20, 48)})],
)
def test_recorded_traces_stay_bit_for_bit_and_amplitudes_scale(method: str, settings: dict[str, Any]) -> None:
    live = half("regular")
    result, _ = filled(LINEAR, live, method, **settings)
    np.testing.assert_array_equal(result.volume.data[live], LINEAR.data[live])
    louder, _ = filled(LINEAR.with_data(LINEAR.data * 1000), live, method, **settings)
    np.testing.assert_allclose(louder.volume.data, 1000 * result.volume.data, atol=2e-2 * 1000 * 1e-2)


def test_noise_on_recorded_traces_may_go() -> None:
    rng = np.random.default_rng(5)
    noisy = LINEAR.with_data(LINEAR.data + 0.3 * rng.standard_normal(SHAPE).astype(np.float32))
    live = half("random")
    kept, soft = (
        filled(noisy, live, "mssa", rank=3, window=None, alpha=alpha, damping=3.0)[0].volume.data
        for alpha in (1.0, 0.4)
    )
    error = [float(np.square(x - LINEAR.data)[live].mean()) for x in (kept, soft)]
    assert error[1] < 0.5 * error[0]


def test_windows_are_independent_of_a_resume() -> None:
    class Stopped(SilentRun):
        saved: dict[str, object]

        def step(self, index: int, state: Any, metrics: Any) -> bool:
            self.saved = {name: value.clone() for name, value in state.items()}
            return index < 1

    class Resumed(SilentRun):
        def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
            return 2, first.saved

    settings = {"iterations": 4, "window": (12, 12, 48)}
    problem = problem_for(masked(LINEAR, half("random")))
    whole = recon3d.reconstruct(problem, "pocs", **settings).volume.data
    first = Stopped()
    recon3d.reconstruct(problem, "pocs", run=first, **settings)
    np.testing.assert_array_equal(recon3d.reconstruct(problem, "pocs", run=Resumed(), **settings).volume.data, whole)


def test_irregular_gaps_are_not_for_fx_prediction() -> None:
    with pytest.raises(InputError, match="choose pocs, mssa or seisfusion"):
        filled(LINEAR, half("random"), "fx_prediction")


@pytest.mark.parametrize("method", ["pocs", "mssa", "fx_prediction"])
def test_silent_traces_and_other_scans_are_one_sentence(method: str) -> None:
    silent = LINEAR.with_data(np.zeros(SHAPE, np.float32))
    with pytest.raises(InputError, match=r"Every recorded trace .* is zero"):
        filled(silent, half("regular"), method)
    A = Identity(Space(("z", "y", "x"), (2, 3, 4)))
    other = Problem(torch.ones(2, 3, 4), A, NoiseModel(), AffineGrid.centred((2, 3, 4), 1.0), name="knee")
    with pytest.raises(InputError, match=f"'{method}' is for seismic traces, 'knee' is another scan"):
        recon3d.reconstruct(other, method)


def test_noise_free_traces_need_not_lie_in_order() -> None:
    live = half("random")
    scan = masked(LINEAR, live)
    assert isinstance(scan.data, np.ndarray)
    order = np.random.default_rng(1).permutation(len(scan.data))
    bins = {name: np.asarray(value)[order] for name, value in scan.acquisition.items()}
    mixed = replace(scan, data=scan.data[order], acquisition=bins)
    a, b = (recon3d.reconstruct(problem_for(s), "pocs", iterations=3).volume.data for s in (scan, mixed))
    assert torch.equal(torch.from_numpy(a), torch.from_numpy(b))
