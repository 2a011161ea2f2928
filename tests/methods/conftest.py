"""What the tests of methods with networks on MRI share: a small scan, and networks whose image is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recon3d.grid import AffineGrid
from recon3d.priors.cards import ReconstructorCard
from recon3d.priors.reconstructor import Reconstructor
from recon3d.problem import Problem, problem_for
from recon3d.synthetic.mri import simulate_mri
from recon3d.volume import Volume


class Share(nn.Module):
    """A share of what was measured, and nothing else: an image that can be told from all others."""

    centred = True
    bytes_per_pixel = 8

    def __init__(self, share: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(share))

    def forward(self, kspace: Tensor, mask: Tensor, calibration: Tensor) -> Tensor:
        return self.weight * kspace


@pytest.fixture(scope="session")
def mri_problem() -> Problem:
    """Two slices of a shaded box, four coils, each third column."""
    data = np.zeros((2, 48, 48), np.float32)
    data[:, 10:38, 14:34] = np.linspace(1, 2, 20, dtype=np.float32)
    volume = Volume(data, AffineGrid.centred(data.shape, 2.0))
    return problem_for(simulate_mri(volume, coils=4, acceleration=3, centre_fraction=0.2))


@pytest.fixture(scope="session")
def share_network() -> Callable[..., Reconstructor]:
    """``share_network(0.5, voxel_mm=...)``: a reconstructor that gives this share of the zero-filled image."""

    def make(share: float, **changes: Any) -> Reconstructor:
        card = {
            "name": "share", "modality": "MRI", "voxel_mm": None, "architecture": {}, "licence": "Apache-2.0",
            "patterns": ("equispaced",), "acceleration": (2, 5), "centre": (0.05, 0.3), "coils": (2, 8), **changes,
        }  # fmt: skip
        return Reconstructor(ReconstructorCard(**card), Share(share), half=False)

    return make
