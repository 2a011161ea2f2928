"""Slices of fastMRI files: masks drawn anew by (seed, step, part), bands and mirrors of target and data together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from operators.fourier import centred_ifft
from operators.mri.sampling import column_mask
from recon3d.errors import InputError
from recon3d.synthetic.mri_drawing import draw_mri, write_fastmri
from recon3d.training.kspace import Examples, KSpaceSlices, band, mirrored, read_slice, undersampled
from recon3d.training.reconstructor_config import KSpaceData, SamplingChoice

SHAPE = (2, 32, 28)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kspace")
    for seed, coils in ((1, 3), (2, 5)):
        drawn = draw_mri("brain", seed=seed, shape=SHAPE, coils=coils, snr=1e4)
        write_fastmri(folder / f"file{seed}.h5", drawn)
    return folder


def data(folder: Path, **changes: Any) -> KSpaceData:
    choices = [{"acceleration": 4, "centre_fraction": 0.15, "pattern": "random"}]
    return KSpaceData(**{"train": [folder], "validation": [folder], "sampling": choices, **changes})


def rss(kspace: torch.Tensor) -> torch.Tensor:
    return centred_ifft(kspace).abs().square().sum(0).sqrt()


def test_slices_are_counted_through_all_files_and_lie_on_their_targets(folder: Path) -> None:
    slices = KSpaceSlices([folder])
    assert (len(slices), slices.counts) == (4, [2, 2])
    for index, coils in enumerate((3, 3, 5, 5)):
        kspace, target = slices.read(index)
        assert kspace.shape == (coils, *SHAPE[1:])  # without the readout's oversampling
        assert (rss(kspace) - target).abs().max() < 2e-3 * target.max()


def test_examples_are_keyed_and_masks_are_new_each_time(folder: Path) -> None:
    slices = KSpaceSlices([folder])
    first, again = Examples(slices, data(folder), 3), Examples(slices, data(folder), 3)
    a, b, c = first.example(5, 0), again.example(5, 0), first.example(6, 0)
    assert torch.equal(a.kspace, b.kspace)
    assert torch.equal(a.mask, b.mask)
    assert not torch.equal(a.mask, c.mask)
    assert not torch.equal(first.example(5, 1).mask, a.mask)
    assert not a.kspace[..., ~a.mask].any()
    masks = {tuple(first.example(step, 0).mask.tolist()) for step in range(12)}
    assert len(masks) > 9


def test_a_file_name_gives_fastmri_s_mask(folder: Path) -> None:
    kspace, _ = read_slice(folder / "file1.h5", 0)
    choice = SamplingChoice(acceleration=4, centre_fraction=0.15, pattern="random")
    sampled, mask = undersampled(kspace, choice, "file1.h5")
    assert np.array_equal(mask.numpy(), column_mask(28, 4, 0.15, "random", "file1.h5"))
    assert torch.equal(sampled, kspace * mask)
    assert not np.signbit(sampled.real.numpy()[..., ~mask]).any()  # -0.0 would tell of unseen samples


@pytest.mark.parametrize("dim", [-2, -1])
@pytest.mark.parametrize("shape", [(8, 10), (9, 7)])
def test_mirrors_keep_image_and_data_together(dim: int, shape: tuple[int, int]) -> None:
    kspace = torch.randn((2, *shape), dtype=torch.complex128)
    torch.testing.assert_close(centred_ifft(mirrored(kspace, dim)), mirrored(centred_ifft(kspace), dim))
    assert torch.equal(mirrored(mirrored(kspace, dim), dim), kspace)


def test_a_band_is_a_part_of_the_image_and_keeps_its_columns(folder: Path) -> None:
    kspace, target = read_slice(folder / "file1.h5", 1)
    part, rows = band(kspace, target, 12, 7)
    assert torch.equal(rows, target[7:19])
    torch.testing.assert_close(centred_ifft(part), centred_ifft(kspace)[:, 7:19])
    mask = torch.arange(28) % 3 == 0
    torch.testing.assert_close(band(kspace * mask, target, 12, 7)[0], part * mask)  # exact for column masks
    examples = Examples(KSpaceSlices([folder]), data(folder, rows=(12, None)), 0)
    assert {examples.example(step, 0).target.shape[0] for step in range(10)} == {12, 32}


def test_files_that_cannot_be_learnt_from(folder: Path, tmp_path: Path) -> None:
    drawn = draw_mri("brain", seed=1, shape=SHAPE, coils=2)
    write_fastmri(tmp_path / "test.h5", drawn, mask=column_mask(28, 4, 0.2))
    with pytest.raises(InputError, match="undersampled: train on fully sampled"):
        KSpaceSlices([tmp_path]).read(0)
    with pytest.raises(InputError, match="no folder"):
        KSpaceSlices([tmp_path / "nothing"])
