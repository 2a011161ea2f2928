"""The method supervised: what it is given, what it refuses, and that its result is the network's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from operators.mri.sampling import column_mask
from recon3d.errors import ModelError
from recon3d.grid import AffineGrid
from recon3d.methods import reconstruct
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem, problem_for
from recon3d.synthetic.mri import simulate_mri
from recon3d.volume import Volume


@pytest.fixture
def model(share_network: Callable[..., Reconstructor]) -> Callable[..., Reconstructor]:
    return partial(share_network, 0.5, name="half", voxel_mm=(0.5, 5.0))


def test_the_image_is_the_networks(mri_problem: Problem, model: Callable[..., Reconstructor]) -> None:
    plain = reconstruct(mri_problem, "zero_filled").volume.data
    summed = reconstruct(mri_problem, "zero_filled", combine="rss").volume.data
    found = reconstruct(mri_problem, "supervised", models={"reconstructor": model()}, combine="sense")
    np.testing.assert_allclose(found.volume.data, plain / 2, atol=1e-5)
    by_rss = reconstruct(mri_problem, "supervised", models={"reconstructor": model()}).volume.data
    np.testing.assert_allclose(np.abs(by_rss), np.abs(summed) / 2, atol=1e-5)
    assert 0.4 < float(found.facts["residual"]) < 0.6
    slabs = [reconstruct(mri_problem.slab(z, z + 1), "supervised", models={"reconstructor": model()}) for z in range(2)]
    assert np.array_equal(np.concatenate([slab.volume.data for slab in slabs]), by_rss)


def test_scans_and_models_that_do_not_fit(mri_problem: Problem, model: Callable[..., Reconstructor]) -> None:
    with pytest.raises(ModelError, match=r"trained on random sampling, that of the scan is equispaced"):
        reconstruct(mri_problem, "supervised", models={"reconstructor": model(patterns=("random",))})
    with pytest.raises(ModelError, match=r"models.reconstructor is for a reconstructor .*, ct-axial is a denoiser"):
        reconstruct(mri_problem, "supervised", models={"reconstructor": "ct-axial"})
    with pytest.raises(ModelError, match=r"models.prior is for a denoiser .*, half is a reconstructor"):
        reconstruct(mri_problem, "dds", models={"prior": model()})
    with pytest.raises(ModelError, match=r"needs a reconstructor: give models"):
        reconstruct(mri_problem, "supervised", models={"reconstructor": object()})


def test_a_mask_is_told_apart_by_its_columns(model: Callable[..., Reconstructor]) -> None:
    scan = simulate_mri(
        Volume(np.ones((1, 48, 48), np.float32), AffineGrid.centred((1, 48, 48), 2.0)), coils=4, acceleration=1
    )
    mask = column_mask(48, 3, 0.2, "random", seed=4)
    random = problem_for(replace(scan, data=np.where(mask, scan.data, 0), acquisition={"mask": mask}))
    with pytest.raises(ModelError, match="that of the scan is random"):
        reconstruct(random, "supervised", models={"reconstructor": model()})
