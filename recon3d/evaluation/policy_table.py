"""Policies of acquisition compared: similarity against budget, by volume, with intervals and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from recon3d.evaluation.fastmri import score
from recon3d.evaluation.metrics import compare
from recon3d.evaluation.statistics import Pair, Summary, compare_pairs, holm, summarise
from recon3d.volume import Volume

__all__ = ["PolicyScore", "PolicyTable", "similarity"]


@dataclass(frozen=True)
class PolicyScore:
    """One volume acquired by one policy.

    Parameters
    ----------
    budget : as it was asked for, a share or a number of units
    measured : units in each slice
    ssim, psnr_db : against all data, or against the truth where there is one
    seconds : of the run
    calls : of the network, per slice
    """

    policy: str
    budget: float
    volume: str
    measured: int
    ssim: float
    psnr_db: float
    seconds: float
    calls: int


@dataclass(frozen=True)
class PolicyTable:
    """All scores; policies and budgets in the order in which they were asked for."""

    scores: Sequence[PolicyScore]

    @property
    def policies(self) -> list[str]:
        return list(dict.fromkeys(s.policy for s in self.scores))

    @property
    def budgets(self) -> list[float]:
        return list(dict.fromkeys(s.budget for s in self.scores))

    def of(self, policy: str, budget: float, field: str = "ssim") -> dict[str, float]:
        """Volume -> value."""
        return {s.volume: getattr(s, field) for s in self.scores if s.policy == policy and s.budget == budget}

    def mean(self, policy: str, budget: float, field: str = "ssim") -> Summary:
        """Mean over volumes with its interval."""
        return summarise(list(self.of(policy, budget, field).values()))

    def against_first(self, budget: float, field: str = "ssim") -> list[Pair]:
        """The first policy minus each other one, on the same volumes; p-values adjusted over these pairs."""
        first, *others = self.policies
        pairs = [
            pair
            for other in others
            for pair in compare_pairs({name: self.of(name, budget, field) for name in (first, other)})
        ]
        return [replace(pair, p_adjusted=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True)]

    def lines(self) -> list[dict[str, str]]:
        """One row per budget and policy, for a person."""
        rows = []
        for budget in self.budgets:
            against = {pair.second: pair for pair in self.against_first(budget)}
            for policy in self.policies:
                ssim, psnr = self.mean(policy, budget), self.mean(policy, budget, "psnr_db")
                pair = against.get(policy)
                rows.append(
                    {
                        "budget": f"{budget:g}",
                        "policy": policy,
                        "volumes": str(ssim.count),
                        "SSIM [95 %]": f"{ssim.mean:.4f} [{ssim.low:.4f}, {ssim.high:.4f}]",
                        "PSNR dB": f"{psnr.mean:.2f}",
                        f"{self.policies[0]} minus it": _difference(pair) if pair else "",
                        "s": f"{self.mean(policy, budget, 'seconds').mean:.1f}",
                        "calls": f"{self.mean(policy, budget, 'calls').mean:.0f}",
                    }
                )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {"scores": [asdict(s) for s in self.scores], "means": self.lines()}


def _difference(pair: Pair) -> str:
    d = pair.difference
    return f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}], p {pair.p_adjusted:.2g}"


def similarity(result: Volume, target: Volume) -> tuple[float, float]:
    """(SSIM, PSNR in dB): of magnitudes as fastMRI scores them where the image is complex, else as `compare` does."""
    if np.iscomplexobj(result.data):
        found = score(np.abs(result.data).astype(np.float32), np.abs(target.data).astype(np.float32)).official
        return found.ssim, found.psnr_db
    measured = compare(result, target)
    return next(iter(measured.ssim.values())), measured.psnr_db
