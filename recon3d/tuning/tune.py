"""Tune: a method with the free settings that score best on a problem."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recon3d.errors import ConfigError
from recon3d.methods import make_method
from recon3d.methods.base import Method
from recon3d.problem import Problem
from recon3d.run import Run, SilentRun
from recon3d.tuning.criteria import Criterion
from recon3d.tuning.search import Range, Trial, best, minimise

Progress = Callable[[Trial], None]


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Parameters
    ----------
    method : with the settings that scored best
    settings : those that were free, with their values
    score : theirs
    trials : all settings that were tried, in order
    at_end : settings whose best value is an end of their range
    """

    method: Method
    settings: Mapping[str, float]
    score: float
    trials: tuple[Trial, ...]
    at_end: tuple[str, ...]


def tune(
    problem: Problem,
    method: Method,
    criterion: Criterion,
    *,
    models: Mapping[str, Any] | None = None,
    run: Run | None = None,
    free: Sequence[str] = (),
    progress: Progress | None = None,
) -> Tuned:
    """Choose settings of a method on one problem, e.g. a slab of a scan.

    Parameters
    ----------
    problem : what is reconstructed for each trial
    method : its other settings stay
    criterion : `recon3d.tuning.criteria.against` a reference, or `discrepancy`
    models : by role, loaded
    run : its seed and micro-batch are those of each trial
    free : settings to choose, by default all that the method declares (`Method.tunable`)
    progress : told each trial

    Raises
    ------
    ConfigError
        For a setting that the method does not declare.
    """
    ranges = ranges_of(method, free)
    seed, micro_batch = (run.seed, run.micro_batch) if run is not None else (0, 8)

    def with_values(values: Mapping[str, float]) -> Method:
        whole = {name: int(value) if ranges[name].whole else value for name, value in values.items()}
        return make_method(method.name, {**method.model_dump(exclude_unset=True), **whole})

    def score(values: Mapping[str, float]) -> float:
        result = with_values(values).reconstruct(problem, models or {}, SilentRun(seed, micro_batch))
        found = criterion(result.volume)
        if progress is not None:
            progress(Trial(dict(values), found))
        return found

    trials = minimise(score, ranges, {name: _start(method, name, ranges[name]) for name in ranges})
    chosen = best(trials)
    at_end = tuple(name for name, value in chosen.settings.items() if ranges[name].at_end(value))
    return Tuned(with_values(chosen.settings), chosen.settings, chosen.score, tuple(trials), at_end)


def ranges_of(method: Method, free: Sequence[str] = ()) -> dict[str, Range]:
    """The declared ranges of the settings that are to be chosen."""
    declared = method.tunable
    if not declared:
        raise ConfigError(f"Method '{method.name}' declares no setting to tune: choose another with method=NAME.")
    for name in free:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"expected some of {', '.join(declared)}."
            raise ConfigError(f"'{name}' is not declared as tunable by method '{method.name}': {hint}")
    return {
        name: Range(low, high, whole=isinstance(low, int) and isinstance(high, int))
        for name, (low, high) in declared.items()
        if not free or name in free
    }


def _start(method: Method, name: str, range_: Range) -> float:
    """The setting as it is, or the middle of its range where it has no number in it."""
    value = getattr(method, name)
    inside = isinstance(value, int | float) and range_.low <= value <= range_.high
    return float(value) if inside else math.sqrt(range_.low * range_.high)
