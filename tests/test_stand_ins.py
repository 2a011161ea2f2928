"""Stand-ins of what comes later pass through the same nouns, files and entries: no special case waits for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor

import recon3d
from operators.linear import Diagonal, FunctionOperator, LinearOperator
from operators.space import Space
from operators.stack import Frames, Stack
from operators.testing import adjoint_error
from recon3d import acquisitions, methods
from recon3d.cli import main
from recon3d.grid import AffineGrid
from recon3d.methods.base import Method, Models, Reconstruction, finish
from recon3d.priors import Card
from recon3d.problem import Problem, problem_for
from recon3d.run import Run, SilentRun
from recon3d.scan import Scan
from recon3d.volume import Volume

SHAPE = (3, 8, 7)
GRID = AffineGrid.centred(SHAPE, (4.0, 1.5, 1.5))


@pytest.fixture(autouse=True)
def in_a_fresh_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own, and what a test registers is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    kinds, known = dict(acquisitions._REGISTRY), dict(methods._REGISTERED)
    yield
    acquisitions._REGISTRY.clear()
    acquisitions._REGISTRY.update(kinds)
    methods._REGISTERED.clear()
    methods._REGISTERED.update(known)


def through_the_house(scan: Scan, method: str, *overrides: str) -> Volume:
    """Save the scan, load it, look at it, plan, reconstruct and record it, compare it: all by the command line."""
    recon3d.save(scan, "scan.h5", overwrite=True)
    Path("method.yaml").write_text(f"method: {method}\n")
    command = ["reconstruct", "scan.h5", "out.h5", "--config", "method.yaml", *overrides]
    assert main(["inspect", "scan.h5"]) == 0
    assert main([*command, "--dry-run"]) == 0
    assert main(command) == 0
    assert main(["inspect", "out.h5"]) == 0
    assert json.loads(Path("out.recon.json").read_text())["method"]["name"] == method
    found = recon3d.load("out.h5")
    assert isinstance(found, Volume)
    return found


def api(scan: Scan, method: str, **settings: Any) -> Volume:
    return recon3d.reconstruct(problem_for(scan), method, **settings).volume


def smooth(*shape: int, seed: int = 0) -> np.ndarray:
    """A smooth positive image."""
    coarse = torch.rand(1, 1, *(max(2, n // 2) for n in shape), generator=torch.Generator().manual_seed(seed))
    return 0.5 + torch.nn.functional.interpolate(coarse, shape, mode="trilinear")[0, 0].numpy()


# Multi-coil MRI: a complex image, coils, an FFT and a sampling mask.


def mri(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    image = Space(("z", "y", "x"), scan.grid.shape, torch.complex64).astype(dtype)
    maps = torch.as_tensor(scan.acquisition["maps"]).to(device, image.dtype)
    seen = Space(("coil", "z", "y", "x"), tuple(maps.shape), image.dtype)
    kspace = Space(("coil", "kz", "ky", "kx"), tuple(maps.shape), image.dtype)
    coils = FunctionOperator(image, seen, lambda x: maps * x.unsqueeze(-4), lambda y: (maps.conj() * y).sum(-4), device)
    options: dict[str, Any] = {"dim": (-3, -2, -1), "norm": "ortho"}
    fourier = FunctionOperator(
        seen, kspace, lambda x: torch.fft.fftn(x, **options), lambda y: torch.fft.ifftn(y, **options), device
    )
    mask = Diagonal(torch.as_tensor(scan.acquisition["mask"]).to(device), kspace)
    return mask @ fourier @ coils


def mri_scan() -> tuple[Scan, np.ndarray]:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((4, *SHAPE)) + 1j * rng.standard_normal((4, *SHAPE))
    maps /= np.sqrt((np.abs(maps) ** 2).sum(0))
    mask = (np.arange(SHAPE[1]) % 2 == 0)[:, None]
    truth = smooth(*SHAPE) * np.exp(0.5j)
    empty = Scan(
        "stand-in-mri",
        np.zeros((4, *SHAPE), np.complex64),
        ("coil", "kz", "ky", "kx"),
        {"maps": maps, "mask": mask},
        GRID,
    )
    acquisitions.register("stand-in-mri", mri)
    A = problem_for(empty, dtype=torch.float64).A
    assert adjoint_error(A) < 1e-10
    data = A(torch.from_numpy(truth)).numpy().astype(np.complex64)
    return replace(empty, data=data, noise={"std": 1e-3}), truth


def test_multi_coil_mri() -> None:
    scan, truth = mri_scan()
    image = through_the_house(scan, "cgls", "method.iterations=200", "method.rtol=1e-7", "--complex")
    assert image.data.dtype == np.complex64
    assert np.abs(image.data - truth).max() < 0.02 * np.abs(truth).max()
    np.testing.assert_array_equal(image.data, api(scan, "cgls", iterations=200, rtol=1e-7).data)
    assert np.iscomplexobj(through_the_house(scan, "tv", "method.iterations=3", "--force", "--complex").data)


# A dynamic series: one operator per frame, ragged data, a volume in time.


def dynamic(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """Each frame measures another number of mixtures along x."""
    image = Space(("z", "y", "x"), scan.grid.shape, dtype)

    def frame(count: int) -> LinearOperator:
        seen = Space(("z", "y", "sample"), (*image.shape[:2], count), dtype)
        mixture = torch.rand(count, image.shape[2], generator=torch.Generator().manual_seed(count))
        weights = (torch.eye(count, image.shape[2]) + 0.1 * mixture).to(dtype)
        return FunctionOperator(image, seen, lambda x: x @ weights.T, lambda y: y @ weights, device)

    return Frames([frame(int(n)) for n in np.asarray(scan.acquisition["samples"])])


def test_dynamic_series() -> None:
    acquisitions.register("dynamic", dynamic)
    samples, times = np.array([7, 9, 8]), np.array([0.0, 0.5, 2.0])
    truth = np.stack([smooth(*SHAPE, seed=k) for k in range(3)])
    blocks = tuple(np.zeros((*SHAPE[:2], n)) for n in samples)
    scan = Scan("dynamic", blocks, ("z", "y", "sample"), {"samples": samples, "times_s": times}, GRID, units="mmol/l")
    A = problem_for(scan, dtype=torch.float64).A
    assert adjoint_error(A) < 1e-10
    scan = replace(scan, data=tuple(b.numpy() for b in A(torch.from_numpy(truth).double())), noise={"std": 0.01})
    series = through_the_house(scan, "cgls", "method.iterations=300", "method.rtol=1e-8")
    assert series.shape == (3, *SHAPE)
    assert series.times_s == (0.0, 0.5, 2.0)
    assert (series.units, series.grid) == ("mmol/l", GRID)
    assert np.abs(series.data - truth).max() < 0.1
    np.testing.assert_array_equal(series.data, api(scan, "cgls", iterations=300, rtol=1e-8).data)


# Ragged blocks: one object, several measurements of differing shapes.


def ragged(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    image = Space(("z", "y", "x"), scan.grid.shape, dtype)

    def sums(group: int) -> LinearOperator:
        """Means over groups of neighbours along x."""
        count = image.shape[2] - group + 1
        seen = Space(("z", "y", "ray"), (*image.shape[:2], count), dtype)
        matrix = torch.stack([torch.eye(image.shape[2], dtype=dtype)[k : k + group].sum(0) for k in range(count)])
        return FunctionOperator(image, seen, lambda x: x @ matrix.T, lambda y: y @ matrix, device)

    return Stack([sums(int(g)) for g in np.asarray(scan.acquisition["groups"])])


@pytest.mark.parametrize("method", ["sirt", "cgls", "tv"])
def test_ragged_blocks(method: str) -> None:
    acquisitions.register("ragged", ragged)
    groups = np.array([1, 2, 4])
    blocks = tuple(np.zeros((*SHAPE[:2], SHAPE[2] - g + 1)) for g in groups)
    scan = Scan("ragged", blocks, ("z", "y", "ray"), {"groups": groups}, GRID)
    A = problem_for(scan, dtype=torch.float64).A
    assert adjoint_error(A) < 1e-10
    truth = smooth(*SHAPE)
    scan = replace(scan, data=tuple(b.numpy() for b in A(torch.from_numpy(truth).double())))
    image = through_the_house(scan, method, "method.iterations=60")
    assert np.abs(image.data - truth).max() < 0.1
    np.testing.assert_array_equal(image.data, api(scan, method, iterations=60).data)


# A method of two models.


class Dehaze(Method):
    """Splits an image into tissue and haze, each pulled towards its own prior."""

    name: ClassVar[str] = "stand-in-dehaze"
    summary: ClassVar[str] = "two models in turn"
    roles: ClassVar[dict[str, str]] = {"tissue": "denoiser of tissue", "haze": "denoiser of haze"}

    rounds: int = Field(3, ge=1, description="alternations")

    def reconstruct(self, problem: Problem, models: Models, run: Run) -> Reconstruction:
        tissue, haze = models["tissue"], models["haze"]
        task = problem.normalised()
        first, state = run.begin(self.rounds, {"t": task.A.H(task.y), "h": task.A.H(task.y) * 0})
        t, h = (v for k, v in sorted(state.items(), reverse=True) if isinstance(v, Tensor))
        for i in range(first, self.rounds):
            whole = task.A.H(task.y) - task.A.gram(t + h) + t + h
            t, h = tissue.denoise(whole - h, 0.1), haze.denoise(whole - t, 0.1)
            if not run.step(i, {"t": t, "h": h}, {"residual": task.residual(t + h)}):
                break
        return finish(problem, task.physical(t), task.physical(h.abs()), haze=float(h.mean()))


@dataclass(frozen=True)
class Shrink:
    """A model of one number: D(x, sigma) = keep x."""

    keep: float
    card: ClassVar[Card] = Card(
        name="shrink", modality="direct", units="1", scale=1.0, sigma_min=0.01, sigma_max=1.0, sigma_data=0.5,
        voxel_mm=(0.1, 10.0), smallest_side=4, architecture={}, licence="Apache-2.0",
    )  # fmt: skip

    def bytes_per_slice(self, shape: tuple[int, ...]) -> int:
        return 0

    def denoise(self, x: Tensor, sigma: float, cond: Tensor | None = None) -> Tensor:
        return self.keep * x


def identity(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """Every sample is measured, with weights."""
    space = Space(("z", "y", "x"), scan.grid.shape, dtype)
    return Diagonal(torch.as_tensor(scan.acquisition["weights"]).to(device), space)


def test_two_model_method(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    methods.register(Dehaze)
    acquisitions.register("direct", identity)
    scan = Scan("direct", smooth(*SHAPE), ("z", "y", "x"), {"weights": np.ones(SHAPE)}, GRID)
    run = SilentRun()
    models = {"tissue": Shrink(0.9), "haze": Shrink(0.1)}
    result = recon3d.reconstruct(problem_for(scan), "stand-in-dehaze", models=models, run=run, rounds=4)
    assert len(run.trace) == 4
    assert result.uncertainty is not None
    assert result.uncertainty.grid == result.volume.grid == GRID

    assert main(["methods"]) == 0
    assert "stand-in-dehaze" in capfd.readouterr().out
    recon3d.save(scan, "scan.h5")
    Path("m.yaml").write_text("method: {name: stand-in-dehaze, rounds: 4}\n")
    command = ["reconstruct", "scan.h5", "out.h5", "--config", "m.yaml"]
    assert main(command) == 2  # no models given: the role and what it is for are named
    assert "tissue (denoiser of tissue)" in capfd.readouterr().err
    assert main([*command, "models.tisue=a"]) == 2
    assert "models.tisue: method 'stand-in-dehaze' has the roles" in capfd.readouterr().err

    from recon3d.methods import roles

    monkeypatch.setattr(roles, "models_for", lambda *arguments, **options: models)
    assert main(command) == 0
    found, spread = recon3d.load("out.h5"), recon3d.load("out.uncertainty.h5")
    np.testing.assert_array_equal(found.data, result.volume.data)
    np.testing.assert_array_equal(spread.data, result.uncertainty.data)


# Active sampling: a source is asked for one unit after another.


class Lines:
    """A measurement source: `units` that can be acquired, one at a time; an ordinary scan is one that is exhausted."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self.units = list(range(SHAPE[1]))

    def acquire(self, unit: int) -> np.ndarray:
        self.units.remove(unit)
        return self._scan.data[:, :, unit : unit + 1]  # type: ignore[call-overload, no-any-return]


def test_active_sampling() -> None:
    """Each round the line with most energy left is measured; the problem grows, the nouns stay."""
    full, truth = mri_scan()
    A = problem_for(full).A
    everything = {**full.acquisition, "mask": np.ones((SHAPE[1], 1), bool)}
    data = problem_for(replace(full, acquisition=everything)).A(torch.from_numpy(truth).to(A.domain.dtype)).numpy()
    source = Lines(replace(full, data=data))
    measured, mask = np.zeros_like(data), np.zeros((SHAPE[1], 1), bool)
    errors = []
    for wanted in (0, 1, 7, 2, 6, 3, 5):
        assert wanted in source.units
        measured[:, :, wanted : wanted + 1] = source.acquire(wanted)
        mask[wanted] = True
        scan = replace(full, data=measured.copy(), acquisition={**full.acquisition, "mask": mask.copy()})
        errors.append(float(np.abs(api(scan, "cgls", iterations=60).data - truth).max()))
    assert source.units == [4]
    assert errors[-1] < 0.2 * errors[0]
    assert through_the_house(scan, "cgls", "method.iterations=10").shape == SHAPE
