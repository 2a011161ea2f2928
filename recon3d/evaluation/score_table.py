"""ScoreTable: what several methods scored on the volumes of one reference, with intervals and paired tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recon3d.evaluation.fastmri import METRICS, VolumeScores
from recon3d.evaluation.statistics import CONFIDENCE, Pair, Summary, compare_pairs, summarise

FEW = 6
"""Fewer volumes than this cannot reach p = 0.05."""
REGIONS = ("official", "foreground")


@dataclass(frozen=True)
class CaseScore:
    """One volume by one method.

    Parameters
    ----------
    method, volume : names; the volume's is that of its file without suffix
    acquisition : contrast, e.g. "CORPD_FBK"; empty where the files do not say
    acceleration : nominal; 0 where the files do not say
    slices : number of slices
    scores : the numbers
    """

    method: str
    volume: str
    acquisition: str
    acceleration: int
    slices: int
    scores: VolumeScores

    @property
    def group(self) -> str:
        """Contrast and acceleration, the strata in which fastMRI numbers are published."""
        parts = [self.acquisition, f"R {self.acceleration}" if self.acceleration else ""]
        return " ".join(part for part in parts if part) or "unstated"

    def value(self, metric: str, region: str) -> float:
        """One number, by its name in tables."""
        return float(getattr(getattr(self.scores, region), METRICS[metric]))


@dataclass(frozen=True)
class SummaryRow:
    """Mean over the volumes of a group ("all" or contrast and acceleration) by one method."""

    method: str
    group: str
    region: str
    metric: str
    summary: Summary


@dataclass(frozen=True)
class PairRow:
    """Two methods on the same volumes."""

    region: str
    metric: str
    pair: Pair


@dataclass(frozen=True)
class ScoreTable:
    """All scores and all faults.

    Parameters
    ----------
    methods : in the order in which they were given
    cases : scored volumes
    faults : one sentence for each volume that could not be scored
    patients : number of patients among the scored volumes, where all files say; volumes of one are not independent
    """

    methods: Sequence[str]
    cases: Sequence[CaseScore]
    faults: Sequence[str] = ()
    patients: int | None = None

    def groups(self) -> list[str]:
        """ "all", then each contrast and acceleration where there are several."""
        found = sorted({case.group for case in self.cases})
        return ["all", *(found if len(found) > 1 else [])]

    def summaries(self) -> list[SummaryRow]:
        """Means and intervals per method, group, region and metric."""
        rows = []
        for group in self.groups():
            for method in self.methods:
                chosen = [c for c in self.cases if c.method == method and group in ("all", c.group)]
                if not chosen:
                    continue
                rows += [
                    SummaryRow(method, group, region, metric, summarise([c.value(metric, region) for c in chosen]))
                    for region in REGIONS
                    for metric in METRICS
                ]
        return rows

    def pairs(self) -> list[PairRow]:
        """Paired comparisons of all methods over all volumes, p-values adjusted within each metric."""
        return [
            PairRow(region, metric, pair)
            for region in REGIONS
            for metric in METRICS
            if metric != "MSE"  # in units of the volume: its mean is that of the brightest files
            for pair in compare_pairs(
                {m: {c.volume: c.value(metric, region) for c in self.cases if c.method == m} for m in self.methods}
            )
        ]

    def remarks(self) -> list[str]:
        """What must be known to read the numbers."""
        volumes = len({case.volume for case in self.cases})
        said = [
            "official: the whole volume, cropped to squares of the target's width; range: its maximum",
            "foreground: above 5 % of the volume's maximum, largest part, grown by 3 pixels; same range",
            f"intervals: {CONFIDENCE:.0%}, Student's, over volumes; p: sign flips of paired differences, after Holm",
        ]
        if volumes == 1:
            said.append("one volume gives no interval")
        elif volumes < FEW:
            said.append(f"{volumes} volumes are few: no p can be below {2.0 ** (1 - volumes):g}, intervals are wide")
        if self.patients is not None and self.patients < volumes:
            said.append(f"{volumes} volumes come from {self.patients} patients: intervals over volumes are too narrow")
        return said

    def records(self) -> list[dict[str, Any]]:
        """One flat row per volume and method, for CSV and for a person."""
        return [
            {
                "method": c.method,
                "volume": c.volume,
                "acquisition": c.acquisition,
                "acceleration": c.acceleration or "",
                "slices": c.slices,
                **{metric: c.value(metric, "official") for metric in METRICS},
                **{f"{metric} foreground": c.value(metric, "foreground") for metric in METRICS},
                "note": c.scores.note,
            }
            for c in self.cases
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file; what is not finite is None."""
        return {
            "remarks": self.remarks(),
            "volumes": [
                {
                    "method": c.method,
                    "volume": c.volume,
                    "acquisition": c.acquisition or None,
                    "acceleration": c.acceleration or None,
                    "slices": c.slices,
                    "official": c.scores.official.to_dict(),
                    "foreground": c.scores.foreground.to_dict(),
                    "note": c.scores.note,
                }
                for c in self.cases
            ],
            "summary": [_plain({**asdict(row), **asdict(row.summary)}, "summary") for row in self.summaries()],
            "pairs": [
                _plain({**asdict(row), **asdict(row.pair), "difference": _plain(asdict(row.pair.difference))}, "pair")
                for row in self.pairs()
            ],
            "faults": list(self.faults),
        }


def _plain(values: dict[str, Any], without: str = "") -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
        if key != without
    }
