"""Methods compute the same on a GPU as on the CPU, and their loops do not make it wait."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import recon3d
from operators.seismic import trace_mask
from recon3d.grid import AffineGrid
from recon3d.priors import load_model
from recon3d.run import SilentRun
from recon3d.sampling.noise import counter_noise
from recon3d.scan import Scan
from recon3d.synthetic.dynamic import draw_series
from recon3d.synthetic.dynamic_scans import simulate_ct_series, simulate_mri_series
from recon3d.synthetic.mri import simulate_mri
from recon3d.synthetic.phantoms import shepp_logan
from recon3d.synthetic.seismic import layered_cube
from recon3d.synthetic.seismic_masks import masked
from recon3d.synthetic.simulate import simulate_ct
from recon3d.volume import Volume


@functools.cache
def ct(beam: str, side: int = 32) -> Scan:
    head = shepp_logan((2, side, side), (4.0, 256 / side, 256 / side))
    return simulate_ct(Volume(1000 * head.data - 1000, head.grid, units="HU"), views=12, beam=beam, photons=1e5)  # type: ignore[arg-type]


@functools.cache
def mri(side: int = 48, acceleration: int = 3, centre_fraction: float = 0.2) -> Scan:
    data = np.zeros((2, side, side), np.float32)
    low, high = side // 4, side - side // 4
    data[:, side // 5 : -side // 5, low:high] = np.linspace(1, 2, high - low, dtype=np.float32)
    volume = Volume(data, AffineGrid.centred(data.shape, 2.0))
    return simulate_mri(volume, coils=4, acceleration=acceleration, centre_fraction=centre_fraction)


@functools.cache
def series(kind: str) -> Scan:
    volume = draw_series(kind, seed=3, shape=(1, 32, 32), frames=16)
    if kind == "walnut":
        return simulate_ct_series(volume, noise_std=5e-3, seed=1)
    return simulate_mri_series(volume, coils=3, acceleration=4, centre_lines=4)


@functools.cache
def traces(family: str = "random") -> Scan:
    cube = layered_cube((16, 16, 32), 4, family="folded")
    return masked(cube, trace_mask(family, (16, 16), 0.5, np.random.default_rng(0)))


CASES: dict[str, tuple[Callable[[], Scan], str, dict[str, Any], dict[str, str]]] = {
    "parallel fbp": (lambda: ct("parallel"), "fbp", {}, {}),
    "parallel sirt": (lambda: ct("parallel"), "sirt", {"iterations": 4}, {}),
    "fan tv": (lambda: ct("fan"), "tv", {"weight": 1e-3, "iterations": 4}, {}),
    "cone cgls": (lambda: ct("cone"), "cgls", {"iterations": 4}, {}),
    "cone tv": (lambda: ct("cone"), "tv", {"weight": 1e-3, "iterations": 4}, {}),
    "parallel dds": (lambda: ct("parallel", 64), "dds", {"steps": 3}, {"prior": "ct-axial"}),
    "cone dds": (lambda: ct("cone", 64), "dds", {"steps": 3}, {"prior": "ct-axial"}),
    "parallel diffusion mbir": (lambda: ct("parallel", 64), "diffusion_mbir", {"steps": 3}, {"prior": "ct-axial"}),
    "mri zero filled": (mri, "zero_filled", {}, {}),
    "mri cg sense": (mri, "cg_sense", {"weight": 1e-2, "iterations": 4}, {}),
    "mri l1 wavelet": (mri, "l1_wavelet", {"weight": 1e-3, "iterations": 4}, {}),
    "mri tv": (mri, "tv", {"weight": 1e-3, "iterations": 4}, {}),
    "mri dds": (lambda: mri(96), "dds", {"steps": 3, "data": "cg"}, {"prior": "mri-head-knee"}),
    "mri dds admm": (lambda: mri(96), "dds", {"steps": 3, "data": "admm_tv"}, {"prior": "mri-head-knee"}),
    "mri supervised": (lambda: mri(96, 4, 0.08), "supervised", {}, {"reconstructor": "mri-recurrent-varnet"}),
    "walnut psm": (lambda: series("walnut"), "psm", {"iterations": 3}, {}),
    "walnut red-psm": (lambda: series("walnut"), "red_psm", {"iterations": 2}, {"prior": "ct-axial"}),
    "walnut prosep": (lambda: series("walnut"), "psm", {"iterations": 1, "start": "prosep"}, {}),
    "walnut window": (lambda: series("walnut"), "sliding_window", {}, {}),
    "walnut temporal tv": (lambda: series("walnut"), "temporal_tv", {"iterations": 3}, {}),
    "heart psm": (lambda: series("heart"), "psm", {"iterations": 3}, {}),
    "heart lps": (lambda: series("heart"), "lps", {"iterations": 3}, {}),
    "pocs": (traces, "pocs", {"iterations": 3}, {}),
    "mssa": (traces, "mssa", {"iterations": 3}, {}),
    "f-x prediction": (lambda: traces("regular"), "fx_prediction", {}, {}),
    "seisfusion": (traces, "seisfusion", {"steps": 2}, {"interpolator": "seismic-cubes"}),
}


def computed(name: str, device: Any) -> np.ndarray:
    scan, method, settings, models = CASES[name]
    made = scan()
    with device if device is not None else nullcontext():
        place = "cpu" if device is None else device.name
        loaded = {role: load_model(model, place, half=False) for role, model in models.items()}
        problem = recon3d.problem_for(made, device=place)
        return recon3d.reconstruct(problem, method, models=loaded, **settings).volume.data


class Stopped(SilentRun):
    """Keeps the state after an iteration, and can start from one that was kept."""

    def __init__(self, start: tuple[int, dict[str, Any]] | None = None, stop: int | None = None) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def begin(self, total: int, state: dict[str, object]) -> tuple[int, dict[str, object]]:
        return self.start or (0, state)

    def step(self, index: int, state: Any, metrics: Any) -> bool:
        self.kept = index + 1, {name: value.cpu() for name, value in state.items()}
        return index + 1 != self.stop


@pytest.mark.parametrize("name", ["mri dds", "parallel diffusion mbir"])
def test_a_run_that_the_device_began_ends_on_the_cpu(name: str, gpu: Any) -> None:
    scan, method, settings, models = CASES[name]
    settings = {**settings, "steps": 4}
    loaded = {role: load_model(model, half=False) for role, model in models.items()}
    there = Stopped(stop=2)
    with gpu:
        moved = {role: load_model(model, gpu.name, half=False) for role, model in models.items()}
        problem = recon3d.problem_for(scan(), device=gpu.name)
        recon3d.reconstruct(problem, method, models=moved, run=there, **settings)
    problem = recon3d.problem_for(scan())
    whole = recon3d.reconstruct(problem, method, models=loaded, **settings).volume.data
    resumed = recon3d.reconstruct(problem, method, models=loaded, run=Stopped(there.kept), **settings).volume.data
    assert np.abs(resumed - whole).max() <= 1e-3 * np.abs(whole).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_noise_is_drawn_on_the_device_and_is_that_of_the_cpu(dtype: torch.dtype, gpu: Any) -> None:
    key = {"seed": 5, "sample": 1, "step": 3, "first_slice": 2}
    expected = counter_noise((2, 3, 9, 11), **key, dtype=dtype)
    with gpu:
        there = counter_noise((2, 3, 9, 11), **key, dtype=dtype, device=gpu.name)
        assert there.device.type == torch.device(gpu.name).type
        found = there.cpu()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


WAITS = {"parallel sirt": 1, "cone cgls": 6, "cone tv": 4, "parallel dds": 1, "cone dds": 1} | {
    "parallel diffusion mbir": 1, "mri cg sense": 2, "mri l1 wavelet": 0, "mri tv": 4, "mri dds": 1, "mri dds admm": 1
}  # fmt: skip
"""How often an iteration may read a number from the device: what it reports, and what it stops by."""


@pytest.mark.parametrize("name", CASES)
def test_a_method_gives_the_same_as_on_the_cpu(name: str, gpu: Any) -> None:
    expected, found = computed(name, None), computed(name, gpu)
    assert found.dtype == expected.dtype
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("name", WAITS)
def test_a_loop_reads_no_more_than_it_reports(name: str, pretended: Any) -> None:
    scan, method, settings, models = CASES[name]
    counter = "steps" if "steps" in settings else "iterations"
    counts = []
    for iterations in (2, 5):
        with pretended:
            loaded = {role: load_model(model, pretended.name, half=False) for role, model in models.items()}
            problem = recon3d.problem_for(scan(), device=pretended.name)
            pretended.waits.clear()
            recon3d.reconstruct(problem, method, models=loaded, **{**settings, counter: iterations})
        counts.append(pretended.waits.total())
    assert counts[1] - counts[0] <= 3 * WAITS[name]


def test_the_pretended_device_refuses_what_a_gpu_refuses(pretended: Any) -> None:
    with pretended:
        there = torch.ones(3, device=pretended.name)
        assert float((2 * there).sum()) == 6
        assert pretended.waits.total() == 1
        with pytest.raises(RuntimeError, match="of the CPU and of the accelerator"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
