"""A kind of model of its own, with its card, its network and what is made of them; and the folder of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from recon3d.priors import BaseCard
from recon3d.priors.networks import build_network


class CARD(BaseCard):
    """The card of step lengths."""

    kind: Literal["step_lengths"] = "step_lengths"


class StepLengths(nn.Module):
    """The network: one weight a step."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.lengths = nn.Parameter(torch.ones(count))


class Steps:
    """What a method gets."""

    def __init__(self, card: CARD, network: StepLengths, *, micro_batch: int = 8, half: bool = True) -> None:
        self.card = card
        self.lengths = network.lengths.tolist()

    def bytes_per_slice(self, shape: tuple[int, ...]) -> int:
        return 0


def make(card: CARD) -> nn.Module:
    return build_network(card.architecture)


def wrap(card: CARD, network: Any, **options: Any) -> Steps:
    return Steps(card, network, **options)


def folder() -> Path:
    return Path(__file__).with_name("models")
