"""Dehazing with the shipped priors, the baselines, beams in and out, resume and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import recon3d
from operators.ultrasound.drawn_rf import BeamSpace, Spectra, haze_rf, tissue_rf
from recon3d.acquisitions.beamformed import beamformed_scan
from recon3d.beams import image_grid
from recon3d.errors import InputError, ModelError
from recon3d.evaluation.ultrasound import gcnr, rf_psnr_db
from recon3d.grid import BeamGrid
from recon3d.methods.beamformed import Beamformed
from recon3d.methods.dehaze import Dehaze, Draw
from recon3d.priors import load_model
from recon3d.problem import Problem, problem_for
from recon3d.run import SilentRun, State
from recon3d.synthetic.ultrasound import grid_of

SPACE = BeamSpace(2.75e6, 0.6, 0.035, 0.4, 20.0, 1.5, first_depth_mm=10.0)
SHAPE = (48, 256)
STRENGTH = 0.6
SHORT: Any = {"patch": (64, 512), "steps": 8}


@pytest.fixture(scope="module")
def priors() -> dict[str, Any]:
    return {role: load_model(f"ultrasound-{role}") for role in ("tissue", "haze")}


def quick() -> SilentRun:
    return SilentRun(micro_batch=1)


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Speckle with a dark disc, haze of the root mean square of the frame, and the distance from the disc in mm."""
    rng = np.random.default_rng(8)
    x = (np.arange(SHAPE[0])[:, None] - SHAPE[0] / 2) * SPACE.pitch_mm
    z = (np.arange(SHAPE[1]) - SHAPE[1] / 2) * SPACE.depth_step_mm
    from_middle = np.hypot(x, z)
    tissue = np.where(from_middle < 3, 0.03, 1.0) * tissue_rf(SPACE, (1, *SHAPE), rng)[0]
    haze = haze_rf(SPACE, (1, *SHAPE), rng)[0]
    return tissue, haze / np.sqrt(np.mean(haze**2)), from_middle


def problem(rf: np.ndarray, **changes: Any) -> Problem:
    """Of one frame (beam, depth), or of a cine of them."""
    frames = rf.ndim == 3
    data = (rf[:, None] if frames else rf[None]).astype(np.complex64 if np.iscomplexobj(rf) else np.float32)
    times = tuple(0.02 * k for k in range(len(rf))) if frames else None
    return problem_for(beamformed_scan(recon3d.Volume(data, grid_of(SPACE, (1, *SHAPE)), times_s=times, **changes)))


def test_haze_goes_and_tissue_stays(priors: dict[str, Any], truth: Any) -> None:
    tissue, haze, from_middle = truth
    hazy = tissue + STRENGTH * haze
    run = quick()
    result = Dehaze(samples=3, **SHORT).reconstruct(problem(hazy), priors, run)
    found = result.volume.data[0]
    assert rf_psnr_db(found, tissue) > rf_psnr_db(hazy, tissue) + 1.0
    dark, bright = from_middle < 2.5, (from_middle > 3.5) & (from_middle < 8)
    before, after = (
        gcnr(*(20 * np.log10(np.abs(Beamformed.of(problem(rf)).analytic[0].numpy())[m]) for m in (dark, bright)))
        for rf in (hazy, found)
    )
    assert after > before + 0.02
    assert np.corrcoef(result.others["haze"].data[0].ravel(), haze.ravel())[0, 1] > 0.6
    assert result.facts["strength"] == pytest.approx(STRENGTH / tissue.std(), rel=0.4)
    assert result.others["b-mode"].units == "dB"
    assert result.uncertainty is not None
    assert 0 < float(result.uncertainty.data.mean()) < tissue.std()
    assert run.trace[-1]["residual"] < 0.02  # nothing is lost: tissue and haze add up to the measurement


def test_without_haze_nothing_changes(priors: dict[str, Any], truth: Any) -> None:
    found = Dehaze(samples=1, strength=0.0, **SHORT).reconstruct(problem(truth[0]), priors, quick())
    assert np.linalg.norm(found.volume.data[0] - truth[0]) < 0.01 * np.linalg.norm(truth[0])


def test_other_guidance(priors: dict[str, Any], truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon3d.methods.dehaze_published.STEPS", 40)
    tissue, haze, _ = truth
    hazy = tissue + STRENGTH * haze
    gained = {}
    for guidance in ("joint", "pigdm", "published"):
        result = Dehaze(samples=1, guidance=guidance, **SHORT).reconstruct(problem(hazy), priors, quick())
        gained[guidance] = rf_psnr_db(result.volume.data[0], tissue) - rf_psnr_db(hazy, tissue)
    assert min(gained.values()) > 0.5, gained
    assert len(set(gained.values())) == 3  # each its own


def test_a_cine_that_was_stopped_goes_on_with_the_same_numbers(priors: dict[str, Any], truth: Any) -> None:
    class Halting(SilentRun):
        saved: tuple[int, dict[str, Any]] | None = None

        def step(self, index: int, state: State, metrics: Any) -> bool:
            if index == 2:
                self.saved = (index + 1, {name: value.clone() for name, value in state.items()})  # type: ignore[attr-defined]
            return super().step(index, state, metrics)

    class Resumed(SilentRun):
        def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
            assert first.saved is not None
            return first.saved

    tissue, haze, _ = truth
    cine = problem(np.stack([tissue + STRENGTH * haze, np.roll(tissue, 1, -1) + STRENGTH * haze]))
    method, first = Dehaze(samples=2, **SHORT), Halting(micro_batch=1)
    whole, again = (method.reconstruct(cine, priors, run).volume for run in (first, Resumed(micro_batch=1)))
    assert np.array_equal(whole.data, again.data)
    assert whole.times_s == (0.0, 0.02)
    apart = Dehaze(samples=2, warm_start=None, **SHORT).reconstruct(cine, priors, quick()).volume
    assert np.array_equal(apart.data[0], whole.data[0])  # the first frame has none before it
    assert not np.array_equal(apart.data[1], whole.data[1])


def test_patches_of_the_frame_are_blended(priors: dict[str, Any], truth: Any) -> None:
    """Priors that answer half of what they see: patches must not show."""
    half = SimpleNamespace(denoise=lambda u, sigma: 0.5 * u, card=SimpleNamespace(sigma_min=0.01, sigma_max=3.0))
    u = torch.from_numpy(truth[0]).float()
    spectra = Spectra.drawn(SPACE, SHAPE, 1)
    for patch in ((64, 512), (20, 70)):
        draw = Draw(Dehaze(patch=patch), [half, half], spectra, 0.5)
        assert torch.allclose(draw.denoised(0, u, 0.3), 0.5 * u, atol=1e-5)


def test_beams_and_pictures_come_back_as_they_were(truth: Any) -> None:
    analytic = Beamformed.of(problem(truth[0])).analytic[0].numpy()
    beams = Beamformed.of(problem(analytic))
    assert beams.rf.shape == (1, *SHAPE)
    assert np.allclose(beams.image(beams.rf, "iq")[0], analytic, atol=2e-3 * np.abs(analytic).max())
    assert np.iscomplexobj(beams.volume(beams.rf, "rf").data)
    assert not np.iscomplexobj(Beamformed.of(problem(truth[0])).volume(beams.rf, "rf").data)
    coarse = analytic[:, ::3]  # 2.7 samples a period, enough for an analytic signal: its RF is made from finer ones
    grid = BeamGrid((1, *coarse.shape), (0.0, 0.0), (10.0, 0.105), pitch_mm=0.4)
    beams = Beamformed.of(problem_for(beamformed_scan(recon3d.Volume(coarse[None], grid))))
    assert 5 < 1 / beams.turns_of_rf < 10
    assert beams.depth_step_mm * beams.rf.shape[-1] == pytest.approx(0.105 * coarse.shape[-1])
    away = np.abs(beams.image(beams.rf, "iq")[0].numpy() - coarse)[:, 4:-4]
    assert away.max() < 0.05 * np.abs(coarse).max()


def test_filters(truth: Any) -> None:
    tissue, haze, _ = truth
    hazy = tissue + STRENGTH * haze
    result = recon3d.reconstruct(problem(hazy), "wiener", draws=4)
    assert rf_psnr_db(result.volume.data[0], tissue) > rf_psnr_db(hazy, tissue) + 1.0
    cine = np.stack([np.roll(tissue, shift, 0) + STRENGTH * haze for shift in (0, 9, 18, 27)])
    moved = recon3d.reconstruct(problem(cine), "svd_clutter")
    assert rf_psnr_db(moved.volume.data[0, 0], tissue) > rf_psnr_db(hazy, tissue)
    smooth = recon3d.reconstruct(problem(hazy), "nonlocal_means", image="decibel")
    assert smooth.volume.units == "dB"
    with pytest.raises(InputError, match="more than 1 frames"):
        recon3d.reconstruct(problem(hazy), "svd_clutter")


def test_what_is_no_rf_is_refused(truth: Any) -> None:
    amplitude = np.abs(truth[0])
    with pytest.raises(InputError, match="swings about zero"):
        problem(amplitude)
    baseband = Beamformed.of(problem(truth[0])).analytic[0].numpy()
    baseband = baseband * np.exp(-2j * np.pi * SPACE.turns * np.arange(SHAPE[1]))
    with pytest.raises(InputError, match="no carrier"):
        recon3d.reconstruct(problem(baseband), "wiener")
    with pytest.raises(InputError, match="everything is zero"):
        recon3d.reconstruct(problem(0j * baseband), "wiener")
    picture = recon3d.Volume(truth[0][None], image_grid((0.0, 47.0), (0.0, 255.0), (1.0, 1.0)).resampled((1, *SHAPE)))
    with pytest.raises(InputError, match="BeamGrid"):
        beamformed_scan(picture)
    with pytest.raises(ModelError, match="trained on CT"):
        recon3d.reconstruct(problem(truth[0]), "dehaze", models={"tissue": "ct-axial"})
    with pytest.raises(ModelError, match="needs a denoiser as tissue"):
        Dehaze().reconstruct(problem(truth[0]), {}, quick())
