import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.mri.sampling import column_mask
from recon3d.acquisitions.mri import split_readout
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.io.formats import load
from recon3d.methods import reconstruct
from recon3d.problem import problem_for
from recon3d.scan import Scan
from recon3d.synthetic.mri_drawing import draw_mri

SAMPLES = os.environ.get("RECON3D_SAMPLE_DATA")
with_samples = pytest.mark.skipif(not SAMPLES, reason="RECON3D_SAMPLE_DATA names no folder of sample data")
SHAPE = (2, 64, 64)


@pytest.fixture(scope="module")
def drawn():
    return draw_mri("brain", seed=7, shape=SHAPE, coils=6, contrast="AXT2", snr=60)


def scan_of(drawn, acceleration=2.5, fraction=0.15, **acquisition):
    k = drawn.kspace
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, axes=(2, 3)), norm="ortho"), axes=(2, 3))[:, :, 32:96]
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes=(2, 3)), norm="ortho"), axes=(2, 3))
    data = np.ascontiguousarray(k.transpose(1, 0, 2, 3)).astype(np.complex64)
    mask = column_mask(64, acceleration, fraction, seed=1)
    data = np.where(mask, data, np.complex64(0))
    return Scan(
        "mri", data, ("coil", "kz", "ky", "kx"), acquisition, AffineGrid.centred(SHAPE, (4, 2, 2)), name="drawn"
    )


def nmse(volume, target):
    return float(((np.abs(volume.data) - target) ** 2).sum() / (target**2).sum())


def test_better_than_zero_filling(drawn):
    problem = problem_for(scan_of(drawn))
    plain = nmse(reconstruct(problem, "zero_filled").volume, drawn.target)
    for method, settings in (
        ("cg_sense", {}),
        ("l1_wavelet", {}),
        ("tv", {"axes": "in-plane", "iterations": 60, "weight": 1e-3}),
    ):
        assert nmse(reconstruct(problem, method, **settings).volume, drawn.target) < 0.5 * plain, method


def test_full_data_give_the_target(drawn):
    problem = problem_for(scan_of(drawn, 1.0))
    for settings in ({}, {"combine": "rss"}):
        assert nmse(reconstruct(problem, "zero_filled", **settings).volume, drawn.target) < 0.005


def test_image_scale_is_that_of_any_acceleration(drawn):
    scales = [problem_for(scan_of(drawn, r, f)).image_scale for r, f in ((1.0, 1.0), (4.0, 0.125), (8.0, 0.0625))]
    assert max(scales) < 1.05 * min(scales)
    scan = scan_of(drawn)
    assert problem_for(replace(scan, data=scan.data * 1000)).image_scale == pytest.approx(1000 * scales[1], rel=1e-4)


@pytest.mark.parametrize("method", ["zero_filled", "cg_sense", "l1_wavelet"])
def test_a_global_coil_phase_and_a_unit_change_nothing(drawn, method):
    scan = scan_of(drawn)
    settings = {} if method == "zero_filled" else {"iterations": 8}
    one = np.abs(reconstruct(problem_for(scan), method, **settings).volume.data)
    turned = replace(scan, data=(scan.data * np.exp(0.7j)).astype(np.complex64))
    two = np.abs(reconstruct(problem_for(turned), method, **settings).volume.data)
    assert np.abs(one - two).max() < 1e-4 * one.max()
    scaled = replace(scan, data=(scan.data * 1e-5).astype(np.complex64))
    three = np.abs(reconstruct(problem_for(scaled), method, **settings).volume.data)
    assert np.abs(1e5 * three - one).max() < 1e-3 * one.max()


def test_the_image_is_nearly_real(drawn):
    image = reconstruct(problem_for(scan_of(drawn)), "cg_sense").volume.data
    assert (image.imag**2).sum() < 0.1 * (image.real**2).sum()
    assert np.median(image.real[np.abs(image) > 0.2 * np.abs(image).max()]) > 0


@pytest.mark.parametrize("method", ["zero_filled", "cg_sense", "l1_wavelet"])
def test_slabs_are_the_whole_bit_for_bit(drawn, method):
    problem = problem_for(scan_of(drawn))
    settings = {} if method == "zero_filled" else {"iterations": 5}
    whole = reconstruct(problem, method, **settings).volume.data
    parts = [reconstruct(problem.slab(z, z + 1), method, **settings).volume.data for z in range(2)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("maps", ["walsh", "low-resolution"])
def test_other_sensitivities(drawn, maps):
    problem = problem_for(scan_of(drawn, coil_maps=maps))
    plain = nmse(reconstruct(problem, "zero_filled").volume, drawn.target)
    assert nmse(reconstruct(problem, "cg_sense").volume, drawn.target) < 0.6 * plain


def test_series_and_two_sets(drawn):
    scan = scan_of(drawn)
    series = replace(scan, data=np.stack([scan.data, 2 * scan.data]), axes=("t", *scan.axes))
    image = reconstruct(problem_for(series), "cg_sense", iterations=5).volume.data
    assert image.shape == (2, *SHAPE)
    np.testing.assert_allclose(image[1], 2 * image[0], atol=1e-3 * np.abs(image).max())
    sets = problem_for(replace(scan, acquisition={"map_sets": 2}))
    assert sets.domain.axes == ("set", "z", "y", "x")
    volume = reconstruct(sets, "cg_sense", iterations=10).volume
    assert volume.shape == SHAPE
    assert nmse(volume, drawn.target) < 0.15
    for combine in ("sense", "rss"):
        assert reconstruct(sets, "zero_filled", combine=combine).volume.shape == SHAPE


def test_three_dimensional_encoding(drawn):
    profile = (1 + 0.1 * np.arange(8) ** 1.5)[:, None, None]
    small = scan_of(drawn, 1.0).data[:, :, 16:48, 16:48]
    k = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(np.repeat(small, 4, 1) * profile, axes=1), axis=1, norm="ortho"), axes=1
    )
    mask = np.zeros((8, 32, 1), bool)
    mask[:, ::2] = mask[:, 10:22] = True
    data = np.where(mask, k, 0).astype(np.complex64)
    scan = Scan("mri", data, ("coil", "kz", "ky", "kx"), {"encoding": "3d"}, AffineGrid.centred((8, 32, 32), 2.0))
    problem = problem_for(scan)
    assert problem.A.restrict("z", 0, 1) is None
    full = problem_for(replace(scan, data=k.astype(np.complex64)))
    reference = np.abs(reconstruct(full, "zero_filled").volume.data)
    plain = nmse(reconstruct(problem, "zero_filled").volume, reference)
    assert nmse(reconstruct(problem, "cg_sense").volume, reference) < 0.5 * plain


def test_a_3d_scan_splits_along_its_readout():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(4, 5, 6)) + 1j * rng.normal(size=(4, 5, 6))
    k = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(image), norm="ortho"))[None].astype(np.complex64)
    matrix = [[0, 2, 0, 7], [1, 0, 0, -3], [0, 0, 4, 1], [0, 0, 0, 1]]
    grid = AffineGrid((4, 5, 6), tuple(map(tuple, matrix)))
    maps = np.ones((1, 4, 5, 6))
    scan = Scan("mri", k, ("coil", "kz", "ky", "kx"), {"encoding": "3d"}, grid)
    parts = split_readout(scan)
    assert parts.data.shape == (1, 6, 4, 5)
    assert parts.acquisition["encoding"] == "2d"
    with_maps = replace(parts, acquisition={**parts.acquisition, "sensitivities": np.ones((1, 6, 4, 5))})
    volume = reconstruct(problem_for(with_maps), "zero_filled").volume
    np.testing.assert_allclose(volume.data, image.transpose(2, 0, 1), atol=1e-5)
    here = np.array(scan.grid.affine) @ [5, 2, 1, 1]  # x, y, z of a voxel, before and after
    np.testing.assert_allclose(np.array(volume.grid.affine) @ [2, 1, 5, 1], here)
    with pytest.raises(InputError, match="no 3D-encoded scan"):
        split_readout(parts)
    with pytest.raises(InputError, match="leave them out"):
        split_readout(replace(scan, acquisition={"encoding": "3d", "sensitivities": maps}))
    with pytest.raises(InputError, match="undersampled"):
        split_readout(replace(scan, acquisition={"encoding": "3d", "mask": np.arange(6) % 2}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"acquisition": {"mask": np.ones(60)}}, "must agree in width"),
        ({"grid": AffineGrid.centred((2, 64, 60), 1.0)}, "shape of the grid"),
        ({"acquisition": {"mask": np.arange(64) % 2}}, "no fully sampled centre"),
        ({"acquisition": {"mask": np.zeros(64)}}, "No sample"),
        ({"acquisition": {"sensitivities": np.ones((5, *SHAPE))}}, "sensitivities have shape"),
        ({"acquisition": {"calibration": np.ones((5, 2, 8, 8))}}, "6 coils"),
        ({"acquisition": {"calibration": np.ones((6, 3, 8, 8))}}, "3 slices"),
        ({"acquisition": {"maks": np.ones(64)}}, "no entry 'maks'"),
        ({"data": np.zeros((6, *SHAPE), np.complex64)}, "zero everywhere"),
    ],
)
def test_bad_scans(drawn, change, message):
    with pytest.raises(InputError, match=message):
        problem_for(replace(scan_of(drawn), **change))


def test_dead_coils_nan_and_settings(drawn):
    scan = scan_of(drawn)
    data = scan.data.copy()
    data[2] = 0
    image = reconstruct(problem_for(replace(scan, data=data)), "cg_sense").volume
    assert np.isfinite(image.data).all()
    assert nmse(image, drawn.target) < 0.2
    data[1, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        replace(scan, data=data)
    with pytest.raises(ConfigError, match="weight"):
        reconstruct(problem_for(scan), "cg_sense", weight=-1.0)


def test_no_other_scans():
    from recon3d.synthetic.phantoms import shepp_logan
    from recon3d.synthetic.simulate import simulate

    volume = shepp_logan((2, 16, 16)).with_data(np.ones((2, 16, 16), np.float32), units="1/mm")
    with pytest.raises(InputError, match="is for MRI"):
        reconstruct(problem_for(simulate(volume, {"views": 8})), "zero_filled")


@with_samples
def test_the_brain_of_sixteen_coils():
    full = load(Path(str(SAMPLES)) / "mri" / "sense_tutorial_brain_16ch.mat", mapping="sense-tutorial")
    reference = np.abs(reconstruct(problem_for(full), "zero_filled", combine="rss").volume.data)
    mask = column_mask(96, 4, 0.08)
    problem = problem_for(replace(full, data=np.where(mask, full.data, 0)))
    assert problem.image_scale == pytest.approx(problem_for(full).image_scale, rel=0.05)
    plain = nmse(reconstruct(problem, "zero_filled").volume, reference)
    for method in ("cg_sense", "l1_wavelet"):
        assert nmse(reconstruct(problem, method).volume, reference) <= 0.5 * plain


@with_samples
def test_a_folded_head_needs_two_map_sets():
    scan = load(Path(str(SAMPLES)) / "mri" / "brain_smallfov_8ch.cfl", mapping="mri-kspace")
    mask = np.zeros(168, bool)
    mask[::2] = mask[72:96] = True
    scan = replace(scan, data=np.where(mask, scan.data, 0)[:, :, 120:200])  # fewer readout samples: quicker
    scan = scan.on(AffineGrid.centred((1, 80, 168), 1.0))
    residuals = [
        reconstruct(problem_for(replace(scan, acquisition={"map_sets": n})), "cg_sense", iterations=15).facts[
            "residual"
        ]
        for n in (1, 2)
    ]
    assert residuals[1] < 0.6 * residuals[0]


@with_samples
def test_the_spiral_phantom():
    pytest.importorskip("finufft")
    scan = load(Path(str(SAMPLES)) / "mri" / "spiral_phantom_8ch.mat", mapping="espirit-spiral")
    problem = problem_for(scan)
    gridded = np.abs(reconstruct(problem, "zero_filled").volume.data)
    image = np.abs(reconstruct(problem, "cg_sense", iterations=5).volume.data)
    assert np.corrcoef(gridded.ravel(), image.ravel())[0, 1] > 0.8
    assert torch.isfinite(torch.from_numpy(image)).all()
