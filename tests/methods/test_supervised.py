"""The method supervised: what it is given, what it refuses, and that its result is the network's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from operators.mri.sampling import column_mask
from recon3d.errors import ModelError
from recon3d.grid import AffineGrid
from recon3d.methods import reconstruct
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem, problem_for
from recon3d.synthetic.mri import simulate_mri
from recon3d.volume import Volume


class Half(nn.Module):
    """Half of what was measured, and nothing else."""

    centred = True
    bytes_per_pixel = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, kspace: Tensor, mask: Tensor, calibration: Tensor) -> Tensor:
        return self.weight * kspace


def model(patterns: tuple[str, ...] = ("equispaced",)) -> Reconstructor:
    card = ReconstructorCard(
        name="half", modality="MRI", voxel_mm=(0.5, 5.0), architecture={}, licence="Apache-2.0", patterns=patterns,
        acceleration=(2, 5), centre=(0.05, 0.3), coils=(2, 8),
    )  # fmt: skip
    return Reconstructor(card, Half(), half=False)


@pytest.fixture(scope="module")
def problem() -> Problem:
    data = np.zeros((2, 48, 48), np.float32)
    data[:, 10:38, 14:34] = np.linspace(1, 2, 20, dtype=np.float32)
    volume = Volume(data, AffineGrid.centred(data.shape, 2.0))
    return problem_for(simulate_mri(volume, coils=4, acceleration=3, centre_fraction=0.2))


def test_the_image_is_the_networks(problem: Problem) -> None:
    plain = reconstruct(problem, "zero_filled").volume.data
    summed = reconstruct(problem, "zero_filled", combine="rss").volume.data
    found = reconstruct(problem, "supervised", models={"reconstructor": model()}, combine="sense")
    np.testing.assert_allclose(found.volume.data, plain / 2, atol=1e-5)
    by_rss = reconstruct(problem, "supervised", models={"reconstructor": model()}).volume.data
    np.testing.assert_allclose(np.abs(by_rss), np.abs(summed) / 2, atol=1e-5)
    assert 0.4 < float(found.facts["residual"]) < 0.6
    slabs = [reconstruct(problem.slab(z, z + 1), "supervised", models={"reconstructor": model()}) for z in range(2)]
    assert np.array_equal(np.concatenate([slab.volume.data for slab in slabs]), by_rss)


def test_scans_and_models_that_do_not_fit(problem: Problem) -> None:
    with pytest.raises(ModelError, match=r"trained on random sampling, that of the scan is equispaced"):
        reconstruct(problem, "supervised", models={"reconstructor": model(("random",))})
    with pytest.raises(ModelError, match=r"models.reconstructor is for a reconstructor .*, ct-axial is a denoiser"):
        reconstruct(problem, "supervised", models={"reconstructor": "ct-axial"})
    with pytest.raises(ModelError, match=r"models.prior is for a denoiser .*, half is a reconstructor"):
        reconstruct(problem, "dds", models={"prior": model()})
    with pytest.raises(ModelError, match=r"needs a reconstructor: give models"):
        reconstruct(problem, "supervised", models={"reconstructor": object()})


def test_a_mask_is_told_apart_by_its_columns(problem: Problem) -> None:
    scan = simulate_mri(
        Volume(np.ones((1, 48, 48), np.float32), AffineGrid.centred((1, 48, 48), 2.0)), coils=4, acceleration=1
    )
    mask = column_mask(48, 3, 0.2, "random", seed=4)
    random = problem_for(replace(scan, data=np.where(mask, scan.data, 0), acquisition={"mask": mask}))
    with pytest.raises(ModelError, match="that of the scan is random"):
        reconstruct(random, "supervised", models={"reconstructor": model()})
