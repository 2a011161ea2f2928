"""From a noisy, thick or gappy volume to a better one, by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recon3d.grid import AffineGrid
from recon3d.io import load, save
from recon3d.volume import Volume

Cli = Callable[..., Any]


@pytest.fixture
def noisy(here: Path) -> Volume:
    """`noisy.nii.gz` in the working folder: a body of two tissues with 40 HU of noise; what is returned is without."""
    data = np.full((6, 40, 40), -1000.0, np.float32)
    data[:, 4:36, 6:34] = 40.0
    data[2:, 14:24, 12:22] = 300.0
    grid = AffineGrid.patient(data.shape, (2.0, 2.0, 2.0))
    noise = 40 * np.random.default_rng(0).standard_normal(data.shape).astype(np.float32)
    save(Volume(data + noise, grid, units="HU"), here / "noisy.nii.gz")
    return Volume(data, grid, units="HU")


def error(path: str, truth: Volume) -> float:
    found = load(path)
    assert isinstance(found, Volume)
    assert found.units == "HU"
    np.testing.assert_allclose(found.grid.matrix, truth.grid.matrix, atol=1e-4)  # type: ignore[union-attr]
    return float(np.sqrt(np.mean((found.data - truth.data)[:, 6:34, 8:32] ** 2)))


@pytest.mark.parametrize(("recipe", "left"), [("denoise-tv", 16.0), ("denoise-prior", 16.0)])
def test_noise_is_taken_away(cli: Cli, here: Path, noisy: Volume, recipe: str, left: float) -> None:
    done = cli("reconstruct", "noisy.nii.gz", "clean.nii.gz", "--config", recipe)
    assert done.code == 0, done.err
    assert error("clean.nii.gz", noisy) < left < 40.0
    record = json.loads((here / "clean.recon.json").read_text())
    assert any(note.startswith("noise ") and "HU estimated" in note for note in record["notes"])


def test_thick_slices_become_thin(cli: Cli, here: Path, noisy: Volume) -> None:
    thick = noisy.data.reshape(3, 2, 40, 40).mean(axis=1)
    save(Volume(thick, noisy.grid.resampled((3, 40, 40)), units="HU"), here / "thick.nii.gz")  # type: ignore[union-attr]
    plan = cli(
        "reconstruct", "thick.nii.gz", "thin.nii.gz", "--config", "thin-slices-tv", "scan.image.slice_mm=2", "--dry-run"
    )
    assert "slices are averages over 4 mm (box profile)" in plan.out
    assert "(6, 40, 40) voxels (z, y, x) of 2 x 2 x 2 mm" in plan.out
    for recipe, more in {"thin-slices-tv": [], "thin-slices-dds": ["method.steps=2"]}.items():
        args = ("scan.image.slice_mm=2", *more, "--force")
        assert cli("reconstruct", "thick.nii.gz", "thin.nii.gz", "--config", recipe, *args).code == 0
        assert error("thin.nii.gz", noisy) < 30.0


def test_slices_of_5_mm_become_1_25_mm_as_the_recipe_says(cli: Cli, here: Path) -> None:
    """Four thin slices lie where each thick one lay, and their mean is it."""
    z, _, x = np.meshgrid(np.arange(3.0), np.arange(20.0), np.arange(24.0), indexing="ij")
    thick = Volume((40.0 * z + 5.0 * x).astype(np.float32), AffineGrid.patient((3, 20, 24), (5.0, 2.0, 2.0)), "HU")
    save(thick, here / "thick.nii.gz")
    for recipe, more in {"thin-slices-tv": ["method.iterations=100"], "thin-slices-dds": ["method.steps=2"]}.items():
        done = cli("reconstruct", "thick.nii.gz", "thin.nii.gz", "--config", recipe, *more, "--force")
        assert done.code == 0, done.err
        thin = load(here / "thin.nii.gz")
        assert isinstance(thin, Volume)
        assert isinstance(thin.grid, AffineGrid)
        assert (thin.data.shape, thin.grid.voxel_mm) == ((12, 20, 24), (1.25, 2.0, 2.0))
        np.testing.assert_allclose(thin.grid.centre_mm, thick.grid.centre_mm, atol=1e-4)  # type: ignore[union-attr]
        means = thin.data.reshape(3, 4, 20, 24).mean(axis=1)
        assert np.abs(means - thick.data).max() < 6.0


def test_a_bad_slice_is_filled(cli: Cli, here: Path, noisy: Volume) -> None:
    data = noisy.data.copy()
    data[4] = 3000.0
    save(noisy.with_data(data), here / "bad.nii.gz")
    done = cli("reconstruct", "bad.nii.gz", "whole.nii.gz", "--config", "fill-slices-tv", "scan.image.missing=[4]")
    assert done.code == 0, done.err
    assert error("whole.nii.gz", noisy) < 25.0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("noisy.nii.gz", "x.h5", "-c", "ct-parallel-tv"), "restore it with a recipe such as denoise-tv"),
        (("scan.h5", "x.h5", "-c", "denoise-tv"), "scan.image restores a volume, scan.h5 holds a scan of kind 'ct'"),
        (("noisy.nii.gz", "x.h5", "-c", "denoise-tv", "scan.photons=100"), "photons is for measurements"),
        (("noisy.nii.gz", "x.h5", "-c", "fill-slices-tv", "scan.image.missing=[9]"), "slices from 0 to 5, got 9"),
        (("noisy.nii.gz", "x.h5", "-c", "denoise-prior", "scan.image.missing=[1]"), "with all its slices"),
        (("noisy.nii.gz", "x.h5", "-c", "denoise-tv", "scan.support=noisy.h5"), "There is no file or folder noisy.h5"),
        (("noisy.nii.gz", "x.h5", "-c", "denoise-tv", "scan.support=field-of-view"), "field-of-view is for CT"),
        (("scan.h5", "x.h5", "-c", "ct-parallel-sirt", "scan.support=noisy.nii.gz"), "must be a volume of the"),
        (("scan.h5", "x.h5", "-c", "ct-parallel-sirt", "run.backend=astra"), "does not compute on device 'cpu'"),
        (("scan.h5", "x.h5", "-c", "ct-parallel-sirt", "method.subsets=13"), "more than the 12 views"),
    ],
)  # fmt: skip
def test_faults_are_one_sentence(cli: Cli, here: Path, noisy: Volume, arguments: tuple[str, ...], told: str) -> None:
    done = cli("reconstruct", *arguments)
    assert (done.code, told in done.sentence) == (2, True), done.err
    assert not (here / "x.h5").exists()


def test_a_support_and_the_projector_are_in_the_record(cli: Cli, here: Path) -> None:
    args = ("--config", "ct-parallel-sirt", "method.iterations=3", "method.subsets=3", "scan.support=field-of-view")
    assert cli("reconstruct", "scan.h5", "a.h5", *args).code == 0
    record = json.loads((here / "a.recon.json").read_text())
    assert record["plan"]["projector"].startswith("numba on the CPU, exact adjoint (auto")
    done = cli("reconstruct", "scan.h5", "b.h5", *args, "--dry-run")
    assert "rays     numba on the CPU" in done.out
    truth = load("truth.nii.gz")
    assert isinstance(truth, Volume)
    mask = (truth.data > -900).astype(np.uint8)
    save(Volume(mask, truth.grid), here / "mask.nii.gz")
    assert cli("reconstruct", "scan.h5", "c.h5", *args[:-1], "scan.support=mask.nii.gz").code == 0
    inside = load("c.h5")
    assert isinstance(inside, Volume)
    np.testing.assert_allclose(inside.data[mask == 0], -1000.0, atol=1e-3)
