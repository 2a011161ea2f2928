"""Banks that go on where they stopped, and patches that depend on (seed, step, item) alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from operators.normalization import Normalization
from recon3d.errors import ConfigError, InputError
from recon3d.grid import AffineGrid
from recon3d.training.config import Data, FolderSource, SyntheticSource
from recon3d.training.data import GENERATORS, STEP, Patches, _draw, held_out_slices, prepare_bank
from recon3d.volume import Volume

NORMALIZATION = Normalization(scale=2000.0, offset=-1000.0)


@pytest.fixture(autouse=True)
def _generators(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generators of this file by name, as a plug-in would bring them."""
    monkeypatch.setitem(GENERATORS, "discs", f"{__name__}:discs")
    monkeypatch.setitem(GENERATORS, "in-mm", f"{__name__}:in_mm")


def discs(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    """A generator for tests: noise-free discs, another one in each slice."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    data = np.full(shape, -1000.0, np.float32)
    for image in data:
        for _ in range(6):
            centre_y, centre_x = random.uniform(0, shape[1]), random.uniform(0, shape[2])
            image[(y - centre_y) ** 2 + (x - centre_x) ** 2 < random.uniform(3, 12) ** 2] = random.uniform(-200, 900)
    return Volume(data, AffineGrid.centred(shape, voxel_mm), "HU")


def in_mm(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    return Volume(np.zeros(shape, np.float32), AffineGrid.centred(shape, voxel_mm), "1/mm")


def _data(count: int = 4, **changes: Any) -> Data:
    source = SyntheticSource(generator="discs", count=count, shape=(3, 40, 48))
    return Data(**{"sources": (source,), "held_out": 1, "patches": ((16, 4),), **changes})


def _bank(tmp_path: Path, data: Data) -> list[list[Path]]:
    return prepare_bank(data, NORMALIZATION, "HU", tmp_path, lambda message: None)


def test_bank_holds_normalised_volumes_and_is_made_once(tmp_path: Path) -> None:
    (files,) = _bank(tmp_path, _data(2))
    times = [path.stat().st_mtime_ns for path in files]
    (longer,) = _bank(tmp_path, _data(3))
    assert longer[:2] == files
    assert [path.stat().st_mtime_ns for path in files] == times
    assert np.load(longer[2]).shape == (3, 40, 48)
    stored = np.load(files[0]).astype(np.float32) * STEP
    assert stored.min() == 0.0
    assert 0.4 < stored.max() < 0.95
    longer[1].unlink()
    _bank(tmp_path, _data(3))
    assert longer[1].exists()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow  # each worker process imports torch
def test_bank_in_worker_processes_is_the_same(tmp_path: Path) -> None:
    sources = (SyntheticSource(generator="anatomical-ct", count=3, shape=(2, 24, 20)),)
    (one,) = _bank(tmp_path / "one", _data(sources=sources))
    (two,) = _bank(tmp_path / "two", _data(sources=sources, workers=2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(np.load(a), np.load(b))


def test_changed_settings_get_another_bank(tmp_path: Path) -> None:
    source = SyntheticSource(generator="discs", count=1, shape=(3, 40, 48), voxel_mm=(1.0, 1.5))
    (first,), (second,) = _bank(tmp_path, _data(1)), _bank(tmp_path, _data(1, sources=(source,)))
    assert first[0].parent != second[0].parent


def test_folders_of_files_make_a_bank(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    for seed in range(2):
        data = discs((3, 20, 24), (1.0, 1.0, 1.0), seed).data
        image = nibabel.Nifti1Image(np.rint(data.T).astype(np.int16), np.eye(4))
        image.header.set_xyzt_units("mm")
        (tmp_path / str(seed)).mkdir()
        nibabel.save(image, tmp_path / str(seed) / "ct.nii.gz")
    source = FolderSource(kind="folder", path=tmp_path, pattern="*.nii.gz")
    (files,) = _bank(tmp_path / "bank", _data(sources=(source,)))
    for seed, path in enumerate(files):
        expected = NORMALIZATION.apply(np.rint(discs((3, 20, 24), (1.0, 1.0, 1.0), seed).data))
        np.testing.assert_allclose(np.sort(np.load(path) * STEP, axis=None), np.sort(expected, axis=None), atol=STEP)


def test_patches_are_keyed(tmp_path: Path) -> None:
    data = _data()
    sources = _bank(tmp_path, data)
    first, again = Patches(sources, data, seed=3), Patches(sources, data, seed=3)
    batches = [first.batch(step) for step in range(3)]
    assert torch.equal(again.batch(2), batches[2])
    assert not torch.equal(batches[0], batches[1])
    assert not torch.equal(Patches(sources, data, seed=4).batch(2), batches[2])
    # The second part of a step (another rank, or accumulation) are the next items of the same sequence.
    assert torch.equal(first.batch(1, part=1)[0], first.item(1, 4, 16))


def test_patches_are_crops_when_nothing_is_augmented(tmp_path: Path) -> None:
    data = _data(zoom_share=0.0, scale=(1.0, 1.0), flip_rows=False, flip_columns=False, transpose=False)
    sources = _bank(tmp_path, data)
    images = np.concatenate([np.load(path) for path in sources[0]]).astype(np.float32) * STEP
    windows = np.lib.stride_tricks.sliding_window_view(images, (16, 16), axis=(1, 2))
    for patch in Patches(sources, data, seed=0).batch(0)[:, 0].numpy():
        assert (windows == patch).all(axis=(-1, -2)).any()


def test_patch_sizes_mix_and_small_images_are_padded(tmp_path: Path) -> None:
    data = _data(patches=((16, 4), (64, 2)), zoom=(0.5, 2.0), zoom_share=1.0)
    patches = Patches(_bank(tmp_path, data), data, seed=0)
    shapes = {tuple(patches.batch(step).shape) for step in range(12)}
    assert shapes == {(4, 1, 16, 16), (2, 1, 64, 64)}
    assert all(torch.isfinite(patches.batch(step)).all() for step in range(4))


def test_held_out_slices_are_centred_and_spread(tmp_path: Path) -> None:
    (files,) = _bank(tmp_path, _data(2))
    slices = held_out_slices(files, 4, 32)
    volume = np.load(files[0]).astype(np.float32) * STEP
    assert slices.shape == (4, 1, 32, 32)
    assert np.array_equal(slices[0, 0].numpy(), volume[0, 4:36, 8:40])
    assert held_out_slices(files, 2, 64).shape == (2, 1, 64, 64)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere"):
        _bank(tmp_path, _data(sources=(SyntheticSource(generator="nowhere"),)))
    with pytest.raises(InputError, match=r"in HU.*1/mm"):
        _bank(tmp_path, _data(sources=(SyntheticSource(generator="in-mm", count=1, shape=(1, 8, 8)),)))
    with pytest.raises(ConfigError, match=r"found none"):
        _bank(tmp_path, _data(sources=(FolderSource(kind="folder", path=tmp_path / "empty"),)))


# Complex images ------------------------------------------------------------------------------------------------------


def turning(shape: tuple[int, int, int], voxel_mm: tuple[float, float, float], seed: int) -> Volume:
    """A generator for tests: complex noise of its own in each volume."""
    random = np.random.default_rng(seed)
    data = 0.3 * (random.standard_normal(shape) + 1j * random.standard_normal(shape))
    return Volume(data.astype(np.complex64), AffineGrid.centred(shape, voxel_mm), "1")


@pytest.fixture
def complex_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Data, list[list[Path]]]:
    monkeypatch.setitem(GENERATORS, "turning", f"{__name__}:turning")
    source = SyntheticSource(generator="turning", count=3, shape=(2, 24, 20))
    plain = {"zoom_share": 0.0, "scale": (1.0, 1.0), "flip_rows": False, "flip_columns": False, "transpose": False}
    data = _data(sources=(source,), **plain)
    files = prepare_bank(data, Normalization(scale=2.0), "1", tmp_path, lambda message: None, complex_image=True)
    return data, files


def test_complex_volumes_are_kept_in_two_channels(complex_bank: tuple[Data, list[list[Path]]]) -> None:
    data, files = complex_bank
    volume = _draw(data.sources[0], 1).data / 2  # type: ignore[arg-type]
    kept = np.load(files[0][1]).astype(np.float32) * STEP
    np.testing.assert_allclose(kept[:, 0] + 1j * kept[:, 1], volume, atol=STEP)
    slices = held_out_slices(files[0][1:2], 2, 16, channels=2)
    np.testing.assert_allclose(slices[0, 1].numpy(), volume[0, 4:20, 2:18].imag, atol=STEP)


def test_a_global_phase_turns_both_channels_together(complex_bank: tuple[Data, list[list[Path]]]) -> None:
    data, files = complex_bank
    still = Patches(files, data, seed=0, channels=2).batch(0)
    turned = Patches(files, data.model_copy(update={"turned_share": 1.0}), seed=0, channels=2).batch(0)
    a, b = (torch.complex(batch[:, 0], batch[:, 1]) for batch in (still, turned))
    assert still.shape == (4, 2, 16, 16)
    torch.testing.assert_close(a.abs(), b.abs())
    for one, two in zip(a, b, strict=True):
        angles = (two / one).angle()
        assert float(angles.std()) < 1e-3
    assert float((b / a).angle()[:, 0, 0].std()) > 0.3


def test_complex_volumes_are_refused_where_real_ones_are_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(GENERATORS, "turning", f"{__name__}:turning")
    data = _data(sources=(SyntheticSource(generator="turning", count=1, shape=(1, 16, 16)),))
    with pytest.raises(InputError, match=r"real volumes in 1, got complex64"):
        prepare_bank(data, Normalization(), "1", tmp_path, lambda message: None)
