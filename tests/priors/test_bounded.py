"""A denoiser that knows where nothing is."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from operators.normalization import Normalization
from recon3d.priors.bounded import Bounded


def test_outside_is_the_vacuum_whatever_the_prior_says() -> None:
    prior = SimpleNamespace(denoise=lambda x, sigma: 2 * x, card="card", normalization=Normalization(scale=4.0))
    inside = torch.tensor([[True, False], [False, True]])
    found = Bounded(prior, inside, 0.25)
    x = torch.arange(8.0).reshape(2, 2, 2)
    assert found.denoise(x, 1.0).tolist() == [[[0.0, 0.25], [0.25, 6.0]], [[8.0, 0.25], [0.25, 14.0]]]
    assert (found.card, found.normalization) == (prior.card, prior.normalization)
    waves = torch.full((1, 2, 2), 1 + 1j)
    assert Bounded(prior, inside, 0.0).denoise(waves, 1.0).tolist() == [[[2 + 2j, 0j], [0j, 2 + 2j]]]
