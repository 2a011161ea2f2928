"""What has been measured so far by a method that chooses: data, order, budget, and the problem they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from operators.linear import LinearOperator
from operators.mri import CartesianEncoding, Encoding
from operators.normalization import Normalization
from recon3d.errors import ConfigError
from recon3d.problem import Normalised, Problem
from recon3d.sensing.source import MeasurementSource, measure
from recon3d.sensing.units import Unit, Units, measured_by

__all__ = ["Acquiring", "quota"]

LOW_LINES, LOW_SHARE = 4, 0.04
"""Lines in the middle of k-space that fix the scale of the image (`Encoding.image_scale`)."""


class Acquiring:
    """The measured part of a problem; grows by `take`, up to the budget exactly.

    Parameters
    ----------
    problem : operator, noise and grid; of its data nothing is read but `truth`
    source : who measures
    budget : units in all for each slice, or below 1 their share of those within reach
    start : units measured first; by default those that fix the scale, but at most a third of the budget
    prior : whose range the image gets

    Attributes
    ----------
    state : tensors that a resumed run goes on from
    """

    def __init__(
        self, problem: Problem, source: MeasurementSource, budget: float, start: int | None, prior: Any
    ) -> None:
        self.problem, self.source, self.units = problem, source, source.units
        if self.units.space != problem.A.range:
            raise ConfigError(f"The source measures {self.units.space}, the problem needs {problem.A.range}.")
        reach = _within_reach(problem.A, self.units)
        self._out_of_reach = ~reach
        most = int(reach.sum(1).min())
        self.budget = _whole(budget, most)
        wanted = _default_start(problem.A, self.units) if start is None else start
        self._first = min(wanted, max(1, self.budget // 3)) if start is None else wanted
        if self._first > self.budget:
            raise ConfigError(f"method.start is {self._first} units, the budget {self.budget}: raise method.budget.")
        self._prior = prior
        shape, device = problem.domain.shape, problem.A.device
        self.state: dict[str, Tensor] = {
            "y": torch.zeros(self.units.space.shape, dtype=self.units.space.dtype, device=device),
            "taken": torch.zeros(self.units.slices, self.units.count, dtype=torch.bool, device=device),
            "order": torch.full((self.units.slices * self.budget, 3), -1, dtype=torch.int64),
            "history": torch.zeros(0, *shape[-2:]),
            "range": torch.zeros(2, dtype=torch.float64),
        }

    def begin(self) -> None:
        """Measure the first units: the middle of k-space, or spread evenly where there is no such thing."""
        units, slices = self.units, range(self.units.slices)
        chosen = units.centre(self._first) if isinstance(self.problem.A, Encoding) else units.even(self._first)
        self.take([Unit(index, s if units.slice_axis else None) for s in slices for index in chosen])
        # The image's range follows from these alone, so that it depends on nothing that is not measured yet.
        part = replace(self.problem, A=measured_by(self.problem.A, units, self.state["taken"]), y=self.state["y"])
        found = part.normalization_from(self._prior.normalization, self._prior.card.units)
        self.state["range"] = torch.tensor([found.scale, found.offset], dtype=torch.float64)

    def take(self, chosen: Sequence[Unit], step: int = -1) -> None:
        """Measure units after a step (-1: before the first) and keep their data; each is asked for once."""
        y, taken, order = (self.state[name].clone() for name in ("y", "taken", "order"))
        row = int((order[:, 2] >= 0).sum())
        for unit in chosen:
            y[self.units.where(unit)] = measure(self.source, unit, y)
            taken[unit.slice or 0, unit.index] = True
            order[row] = torch.tensor([step, -1 if unit.slice is None else unit.slice, unit.index])
            row += 1
        self.state |= {"y": y, "taken": taken, "order": order}
        self.__dict__.pop("task", None)

    @property
    def closed(self) -> Tensor:
        """Units that cannot be chosen any more, (slices, units)."""
        return self.state["taken"] | self._out_of_reach

    @property
    def measured(self) -> int:
        """Units measured so far in each slice."""
        return int(self.state["taken"][0].sum())

    @property
    def left(self) -> int:
        return self.budget - self.measured

    @cached_property
    def task(self) -> Normalised:
        """The normalised problem of what was measured; its scales do not change as more is."""
        return self._part(self.state["taken"], self.state["y"])

    @property
    def truth(self) -> Tensor:
        """All data, normalised."""
        return self._part(torch.ones_like(self.state["taken"]), self.problem.y).y  # type: ignore[no-any-return]

    def predict(self, x: Tensor) -> Tensor:
        """The data of all units that particles expect, (particle, *data)."""
        return self._whole_operator(x)  # type: ignore[no-any-return]

    def quota(self, first: int, last: int) -> Callable[[int], int]:
        """How many units each step chooses so that exactly the budget is measured; see `quota`."""
        return quota(self.budget - self._first, first, last) if self.left else lambda step: 0

    def remember(self, x: Tensor) -> None:
        """Keep what the middle slice of the particles' mean looks like now."""
        image = x.abs().mean(0).reshape(-1, *x.shape[-3:])[0]
        self.state["history"] = torch.cat([self.state["history"], image[len(image) // 2][None].float().cpu()])

    def trace(self) -> dict[str, Any]:
        """The order of acquisition, for the record: rows of step (-1: before the first), slice or None, unit."""
        rows = [[a, None if s < 0 else s, u] for a, s, u in self.state["order"].tolist() if u >= 0]
        return {"axes": list(self.units.axes), "shape": list(self.units.shape), "budget": self.budget, "order": rows}

    @cached_property
    def _whole_operator(self) -> LinearOperator:
        return self._part(torch.ones_like(self.state["taken"]), self.state["y"]).A

    def _part(self, taken: Tensor, y: Tensor) -> Normalised:
        part = replace(self.problem, A=measured_by(self.problem.A, self.units, taken), y=y, whole=self.problem)
        scale, offset = self.state["range"].tolist()
        return part.normalised(Normalization(scale=scale, offset=offset))


def quota(count: int, first: int, last: int) -> Callable[[int], int]:
    """Step -> units to choose after it, `count` in all in the steps first .. last - 1, as evenly as can be.

    With count <= last - first it is one in each of the steps first + floor(k (last - first) / count).
    """
    length = last - first

    def due(step: int) -> int:
        done = min(max(step - first, 0), length)
        return -(-done * count // length)

    return lambda step: due(step + 1) - due(step)


def _whole(budget: float, most: int) -> int:
    count = round(budget * most) if budget < 1 else int(budget)
    if budget >= 1 and count != budget:
        raise ConfigError(f"method.budget is a whole number of units or a share below 1, got {budget:g}.")
    if count > most:
        raise ConfigError(f"method.budget asks for {count} units, {most} are within reach: lower it.")
    if count < 1:
        raise ConfigError(f"method.budget of {budget:g} is less than one unit of {most}: raise it.")
    return count


def _default_start(A: LinearOperator, units: Units) -> int:
    if not isinstance(A, Encoding):
        return 2
    count = 1
    for length in units.shape:
        count *= min(length, max(LOW_LINES, round(LOW_SHARE * length)))
    return count


def _within_reach(A: LinearOperator, units: Units) -> Tensor:
    """Units that a finished scan holds: an undersampled one cannot give more than it measured."""
    if not isinstance(A, CartesianEncoding):
        return torch.ones(units.slices, units.count, dtype=torch.bool, device=A.device)
    return units.sum(A._range_mask.expand(units.space.shape)) > 0
