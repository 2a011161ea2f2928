"""The least score over a few settings with declared ranges: logarithmic grids, then golden sections, one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

GRID = 7
"""Values tried over a whole range before the search narrows."""
PRECISION = 1.15
"""Factor between neighbouring values at which a search ends: scores are flat around their least value."""
_GOLDEN = (math.sqrt(5) - 1) / 2

Score = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Range:
    """Where a setting is searched, on a logarithmic scale.

    Parameters
    ----------
    low, high : ends, 0 < low < high
    whole : whether the setting is a whole number
    """

    low: float
    high: float
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"a range is searched from a positive number to a larger one, got {self.low}, {self.high}")

    def value(self, exponent: float) -> float:
        """exp(exponent) inside the range, with three digits or whole: what can be written and read again.

        >>> Range(1e-5, 1e-1).value(math.log(0.0123456))
        0.0123
        """
        value = min(max(math.exp(exponent), self.low), self.high)
        return float(round(value)) if self.whole else float(f"{value:.3g}")

    def at_end(self, value: float) -> bool:
        """Whether a value lies at an end, so that a better one may lie beyond."""
        return value in (self.value(math.log(self.low)), self.value(math.log(self.high)))


@dataclass(frozen=True)
class Trial:
    """Settings and the score they got."""

    settings: Mapping[str, float]
    score: float


def minimise(score: Score, ranges: Mapping[str, Range], start: Mapping[str, float]) -> list[Trial]:
    """Every trial of a search for the least score; `best` of them is the result. The same call tries the same values.

    Each setting is searched in turn while the others stay: over its whole range, then between the neighbours of the
    best value by golden sections. With several settings a second round searches around what the first one found.
    That finds the least score where the score of each setting falls and then rises.

    Parameters
    ----------
    score : of settings by name; less is better, NaN counts as the worst
    ranges : by setting, searched in this order
    start : a value for each of them, tried first
    """
    trials: dict[tuple[float, ...], Trial] = {}

    def tried(settings: Mapping[str, float]) -> float:
        key = tuple(settings[name] for name in ranges)
        if key not in trials:
            found = score(settings)
            trials[key] = Trial(dict(settings), math.inf if math.isnan(found) else found)
        return trials[key].score

    here = {name: ranges[name].value(math.log(start[name])) for name in ranges}
    tried(here)
    for whole_range in (True, False) if len(ranges) > 1 else (True,):
        before = dict(here)
        for name, range_ in ranges.items():
            low, high = math.log(range_.low), math.log(range_.high)
            step = (high - low) / (GRID - 1)
            if not whole_range:
                low, high = max(low, math.log(here[name]) - step), min(high, math.log(here[name]) + step)
                step = (high - low) / 2

            def along(exponent: float, name: str = name, range_: Range = range_) -> float:
                return tried({**here, name: range_.value(exponent)})

            points = [low + k * step for k in range(round((high - low) / step) + 1)]
            middle = min(points, key=along)
            found = _golden(along, max(low, middle - step), min(high, middle + step))
            among = [range_.value(found), range_.value(middle), here[name]]
            here[name] = min(among, key=lambda value: tried({**here, name: value}))
        if here == before:
            break
    return list(trials.values())


def best(trials: list[Trial]) -> Trial:
    """The trial with the least score; of equal ones the first."""
    return min(trials, key=lambda trial: trial.score)


def _golden(along: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls and then rises is least between two numbers, to log(PRECISION)."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    while high - low > math.log(PRECISION):
        if along(left) <= along(right):
            high, right = right, left
            left = high - _GOLDEN * (high - low)
        else:
            low, left = left, right
            right = low + _GOLDEN * (high - low)
    return (low + high) / 2
