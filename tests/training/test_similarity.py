"""SSIM as a loss is SSIM as scikit-image has it."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from recon3d.training.similarity import ssim


def test_it_is_scikit_image_s() -> None:
    random = np.random.default_rng(0)
    target = np.cumsum(random.normal(size=(2, 24, 30)), axis=2)
    image = target + 0.3 * random.normal(size=target.shape)
    expected = np.mean([structural_similarity(g, x, data_range=5.0) for g, x in zip(target, image, strict=True)])
    found = ssim(torch.from_numpy(image), torch.from_numpy(target), torch.tensor(5.0))
    # scikit-image leaves out the rim of three pixels, which is the valid region
    assert float(found) == pytest.approx(float(expected), abs=1e-9)
    assert float(ssim(torch.from_numpy(target), torch.from_numpy(target), torch.tensor(5.0))) == pytest.approx(1.0)
