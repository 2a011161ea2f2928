"""Streamed problems: stacks of slices whose scan is larger than the memory and stays in its file, read slab by slab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from operators.linear import LinearOperator
from operators.mri.kspace import corner_samples, noise_of, sampled
from operators.space import AnySpace, Space
from recon3d.acquisitions.ct_checks import field_of_view
from recon3d.config import GridConfig, ReconstructConfig, SeriesConfig
from recon3d.errors import ShapeError
from recon3d.io.stored import StoredScan
from recon3d.methods.base import Method
from recon3d.noise import in_order, slice_energies
from recon3d.problem import Problem, problem_for
from recon3d.runtime.scans import prepared
from recon3d.runtime.scratch import release
from recon3d.runtime.stack import AXIS, is_stack, slab_of
from recon3d.scan import Scan

SHARE = 4
"""A scan is streamed where it and its image would take more than one part in so many of the memory."""
PROBE_SLICES = 16


@dataclass(frozen=True, eq=False)
class StreamedProblem(Problem):
    """A problem without data of its own: its slabs are read when they are asked for.

    Parameters
    ----------
    source : where from
    step : slices that are read at a time to learn what only all slices tell
    """

    source: Slabs = field(kw_only=True)
    step: int = field(kw_only=True)

    def __post_init__(self) -> None:
        """There are no data to check; those of each slab are."""

    @cached_property
    def image_scale(self) -> float:  # type: ignore[override]
        return self._scales[0]

    @cached_property
    def strength(self) -> float:  # type: ignore[override]
        return self._scales[1]

    @cached_property
    def _scales(self) -> tuple[float, float]:
        """Both from one pass over the slabs, whose operators cost more than reading them."""
        parts, strongest, part = [], 0.0, None
        for start in range(0, self.domain.shape[0], self.step):
            part = None
            release()
            part = self.source.problem(start, min(start + self.step, self.domain.shape[0]))
            parts.append(part.scale_parts())
            strongest = max(strongest, part.own_strength())
        assert part is not None
        return part.scale_from(torch.cat(parts)), self.strength_from(strongest)

    @property
    def splits(self) -> bool:
        return True

    def slab(self, start: int, stop: int) -> Problem:
        return replace(self.source.problem(start, stop), first_slice=start, whole=self)


class Slabs:
    """The slabs of a stored scan, as the configuration wants them, with what only the whole scan tells."""

    def __init__(self, stored: StoredScan, config: ReconstructConfig, device: str, step: int) -> None:
        self.stored, self.config, self.device, self.step = stored, config, device, step
        self._noise: dict[str, Any] = {}
        self._acquisition: dict[str, Any] = {}
        self._learn()

    def scan(self, start: int, stop: int) -> Scan:
        """Slices `start` to `stop`."""
        scan = prepared(slab_of(self.stored, start, stop), self.config)
        acquisition = {**scan.acquisition, **self._acquisition}
        return replace(scan, noise={**scan.noise, **self._noise}, acquisition=acquisition)

    def problem(self, start: int, stop: int) -> Problem:
        """Their problem, as if they were all there are."""
        scan = self.scan(start, stop)
        support = field_of_view(scan) if self.config.scan.support else None
        return problem_for(scan, device=self.device, support=support)

    def _learn(self) -> None:
        """One pass through the file: the mean square of line integrals, the noise and the mask of k-space."""
        slices = self.stored.data.shape[AXIS]
        energies, corners, measured, size = [], [], [], 0
        for scan in self._scans(slices):
            data: Any = scan.data
            size += data.size
            if "photons" in scan.noise:
                energies.append(slice_energies(data, AXIS))
            if scan.kind == "mri":
                kspace = torch.from_numpy(np.require(data, requirements=("C", "W")))
                corners.append(corner_samples(kspace).to(torch.complex64))
                measured.append(sampled(kspace))
        if energies:
            self._noise = {"mean_square": in_order(torch.cat(energies)) / size}
        if measured:
            std = noise_of(torch.cat(corners))
            if std is not None and not scan.noise:
                self._noise = {"std": std}
            mask = torch.cat(measured)
            if "mask" not in scan.acquisition and bool((mask == mask[:1]).all()):
                self._acquisition = {"mask": mask[:1].numpy()}

    def _scans(self, slices: int) -> Iterator[Scan]:
        for start in range(0, slices, self.step):
            yield self.scan(start, min(start + self.step, slices))


def can_stream(stored: StoredScan, config: ReconstructConfig, method: Method) -> bool:
    """Whether slabs are enough: of the scan, the settings and the method."""
    scan = config.scan
    needs_all = (
        config.preprocess is not None
        or scan.series != SeriesConfig()
        or scan.mri.split_readout
        or config.grid != GridConfig()
        or scan.support not in (None, "field-of-view")
        or config.evidence.hold_out > 0
    )
    return is_stack(stored) and method.separable and not needs_all and not set(method.kinds) & set(method.needed)


def is_large(stored: StoredScan, limit: int) -> bool:
    """Whether a scan and its image take so much of the memory that slabs are worth reading the file twice."""
    shape = stored.data.shape
    item = 8 if stored.kind == "mri" else 4
    return SHARE * item * (int(np.prod(shape)) + int(np.prod(stored.grid.shape))) > limit


def streamed_problem(stored: StoredScan, config: ReconstructConfig, device: str, limit: int) -> tuple[Problem, Scan]:
    """The problem, and a few slices from the middle of its scan, by which it is described."""
    data, slices = stored.data, stored.grid.shape[0]
    step = max(1, min(slices, limit * data.shape[AXIS] // (SHARE * SHARE * 8 * int(np.prod(data.shape)))))
    source = Slabs(stored, config, device, step)
    middle = slice(max(0, slices // 2 - PROBE_SLICES // 2), min(slices, slices // 2 + PROBE_SLICES // 2))
    scan, probe = source.scan(middle.start, middle.stop), source.problem(middle.start, middle.stop)
    data_space = probe.A.range
    assert isinstance(data_space, Space)
    A = Unread(probe.domain.resized("z", slices), data_space.resized(data_space.axes[AXIS], slices), probe.A)
    known = {name: getattr(probe, name) for name in ("noise", "units", "calibration", "name", "kind", "signed")}
    return StreamedProblem(y=None, A=A, grid=stored.grid, source=source, step=step, **known), scan


class Unread(LinearOperator):
    """The spaces of an operator whose parts are made with the slabs they belong to."""

    def __init__(self, domain: AnySpace, range: AnySpace, like: LinearOperator) -> None:
        super().__init__(domain, range, like.device)
        self.chosen = str(getattr(like, "chosen", ""))

    def _forward(self, x: Any) -> Any:
        raise ShapeError("The scan is read slab by slab: ask `Problem.slab` for the operator of some slices.")

    def _adjoint(self, y: Any) -> Any:
        return self._forward(y)
