"""fastMRI scores against the official package, where it is installed, and against the formulas written out."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.fastmri import Scores, centre_crop, foreground_mask, score, scored_size

NEEDS_FASTMRI = (
    "needs the package fastmri: `pip install --no-deps fastmri==0.3.0; pip install runstats pandas requests`"
)


def pair(shape: tuple[int, int, int], seed: int, smooth: float = 0.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """A result and a target in the tiny intensities of fastMRI files."""
    rng = np.random.default_rng(seed)
    target = rng.gamma(2.0, 1e-5, shape)
    if smooth:
        target = ndimage.gaussian_filter(target, (0, smooth, smooth))
    result = np.abs(target + rng.normal(0, 0.1 * target.std(), shape))
    return result.astype(np.float32), target.astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "smooth"), [((3, 24, 24), 0.0), ((4, 40, 33), 2.0), ((1, 64, 64), 6.0), ((2, 320, 320), 3.0)]
)
def test_equal_to_the_official_package(shape: tuple[int, int, int], smooth: float, tmp_path: Path) -> None:
    official = pytest.importorskip("fastmri.evaluate", reason=NEEDS_FASTMRI)
    for seed in range(3):
        result, target = pair(shape, seed, smooth)
        for folder, name, data in (("t", "reconstruction_rss", target), ("r", "reconstruction", result)):
            (tmp_path / folder).mkdir(exist_ok=True)
            with h5py.File(tmp_path / folder / "file1.h5", "w") as file:
                file[name] = data
        paths = Namespace(
            target_path=tmp_path / "t", predictions_path=tmp_path / "r", acquisition=None, acceleration=None
        )
        means = official.evaluate(paths, "reconstruction_rss").means()
        expected = {name: float(np.ravel(value)[0]) for name, value in means.items()}
        ours = score(result, target).official
        assert ours.mse == pytest.approx(expected["MSE"], rel=1e-6)
        assert ours.nmse == pytest.approx(expected["NMSE"], rel=1e-6)
        assert ours.psnr_db == pytest.approx(expected["PSNR"], abs=1e-6)
        assert ours.ssim == pytest.approx(expected["SSIM"], abs=1e-6)


def slow_ssim(result: NDArray[Any], target: NDArray[Any], span: float) -> NDArray[Any]:
    """The similarity map of one slice, window by window."""
    view = np.lib.stride_tricks.sliding_window_view
    windows = [view(data.astype(float), (7, 7)).reshape(-1, 49) for data in (result, target)]
    (mx, my), (vx, vy) = ([w.mean(1) for w in windows], [w.var(1, ddof=1) for w in windows])
    cov = ((windows[0] - mx[:, None]) * (windows[1] - my[:, None])).sum(1) / 48
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    values = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return values.reshape(result.shape[0] - 6, result.shape[1] - 6)


def test_formulas_written_out() -> None:
    result, target = pair((3, 30, 21), 5, 1.5)
    found = score(result, target)
    a, b = (d[:, 4:25].astype(float) for d in (result, target))  # (30 - 21) // 2 = 4
    span = b.max()
    maps = np.stack([slow_ssim(x, y, span) for x, y in zip(a, b, strict=True)])
    assert found.official.mse == pytest.approx(np.mean((a - b) ** 2), rel=1e-12)
    assert found.official.nmse == pytest.approx(np.sum((a - b) ** 2) / np.sum(b**2), rel=1e-12)
    assert found.official.psnr_db == pytest.approx(10 * math.log10(span**2 / np.mean((a - b) ** 2)), abs=1e-9)
    assert found.official.ssim == pytest.approx(maps.mean(), abs=1e-6)
    inside = foreground_mask(b)
    error = (a - b)[inside]
    assert found.foreground.nmse == pytest.approx(np.sum(error**2) / np.sum(b[inside] ** 2), rel=1e-12)
    assert found.foreground.psnr_db == pytest.approx(10 * math.log10(span**2 / np.mean(error**2)), abs=1e-9)
    inner = inside[:, 3:-3, 3:-3]
    expected = np.mean([m[i].mean() for m, i in zip(maps, inner, strict=True) if i.any()])
    assert found.foreground.ssim == pytest.approx(expected, abs=1e-6)


def test_background_counts_in_the_official_number_only() -> None:
    """A dark background loses official SSIM, not foreground SSIM; the anatomy is the same."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 32
    disc = (y**2 + x**2 < 18**2)[None]
    speck = np.zeros_like(disc)
    speck[0, 2:4, 2:4] = True
    target = np.where(disc, 1.0, 0.0) + 0.02 * rng.random((1, 64, 64)) + 0.5 * speck
    grown = foreground_mask(target)
    assert grown[0, 32, 32 - 20]
    assert not grown[0, 2, 2]
    assert not grown[0, 32, 32 - 22]
    dark = np.where(ndimage.binary_dilation(disc, iterations=9), target, 0.0)
    found = score(dark, target)
    assert found.official.ssim < 0.95
    assert found.foreground == Scores(0.0, 0.0, math.inf, pytest.approx(1.0, abs=1e-12))  # type: ignore[arg-type]


def test_already_cropped_results_score_the_same() -> None:
    result, target = pair((2, 30, 21), 1)
    assert score(centre_crop(result, (21, 21)), target) == score(result, target)
    assert scored_size((320, 340)) == (320, 340)  # fewer rows than columns: nothing to cut


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r[:-1], "has 2 slices, the target 3"),
        (lambda r: r[:, :, :-1], "wrong crop"),
        (lambda r: np.pad(r, ((0, 0), (5, 5), (0, 0))), "wrong crop"),
        (lambda r: r[0], r"shape \(slice, y, x\)"),
        (lambda r: np.where(np.arange(20) == 3, np.nan, r), "180 NaN or infinite|NaN"),
        (lambda r: r + 0j, "real magnitudes"),
    ],
)
def test_results_that_cannot_be_scored(change: Any, said: str) -> None:
    result, target = pair((3, 30, 20), 0)
    with pytest.raises((ShapeError, InputError), match=said) as caught:
        score(change(result), target)
    assert "\n" not in str(caught.value)


def test_another_intensity_scale_is_noted_and_scored_as_it_is() -> None:
    result, target = pair((2, 20, 20), 0)
    assert score(result, target).note == ""
    found = score(result / result.max(), target)
    assert "another intensity scale" in found.note
    assert found.official.ssim < 0.01
    assert score(0 * result, target).note == "the result is empty"
    with pytest.raises(InputError, match="no metric is defined"):
        score(result, 0 * target)
