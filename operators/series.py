"""Series: frames that are each measured in a way of their own, and their images in a subspace of few basis images.

A series f of P frames in the span of K basis images is ``f_t = sum_k psi_tk L_k``. Its data are linear in the basis
images for given time functions, and in the time functions for given basis images; both maps are cheap where the views
of all frames are computed together, so no dense projector and no frame need ever be formed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.linear import Composition, Diagonal, LinearOperator, Scaled, Slab
from operators.reduce import norm
from operators.space import Space

__all__ = ["Expansion", "Series", "ViewSeries", "frame_normals", "series_norm", "series_of", "subspace"]

BASIS = "basis"
"""Name of the axis that counts basis images."""
FINALISTS = 4
"""Frames whose norms are worked out to find that of a series."""


class Series(LinearOperator):
    """An operator on a series, domain (t, ...), whose frames do not share measurements."""

    @property
    def frames(self) -> int:
        return cast(Space, self.domain).shape[0]

    @property
    def frame(self) -> Space:
        """The space of one frame."""
        domain = cast(Space, self.domain)
        return Space(domain.axes[1:], domain.shape[1:], domain.dtype)

    def subspace(self, psi: Tensor) -> LinearOperator:
        """Basis images (basis, ...) to the data of the series they span with time functions `psi` (t, basis)."""
        return self @ Expansion(psi, self.frame, self.device)

    @abstractmethod
    def frame_operator(self, t: int) -> LinearOperator:
        """The operator of frame t alone, to its own data."""

    @abstractmethod
    def frame_data(self, y: Any, t: int) -> Any:
        """The data of frame t, or weights of those data, in `y`: a view."""

    @abstractmethod
    def frame_normals(self, basis: Tensor, y: Any, weights: Any = 1.0) -> tuple[Tensor, Tensor]:
        """The least-squares problems for the time functions of given basis images, one per frame.

        Parameters
        ----------
        basis : (basis, ...)
        y : data
        weights : number or array that broadcasts to the data, as a `Diagonal` after this operator has them

        Returns
        -------
        H (t, basis, basis), b (t, basis) in double precision
            |W A_t L psi - y_t|^2 = psi^H H_t psi - 2 Re psi^H b_t + |y_t|^2.
        """

    @abstractmethod
    def window(self, start: int, stop: int, y: Any) -> tuple[LinearOperator, Any]:
        """Operator and data of one image that is to explain all measurements of the frames start..stop."""


class Expansion(LinearOperator):
    """Basis images to a series: f_t = sum_k psi_tk L_k.

    Parameters
    ----------
    psi : (t, basis), real or complex
    frame : space of a basis image
    """

    def __init__(self, psi: Tensor, frame: Space, device: torch.device | str = "cpu") -> None:
        P, K = psi.shape
        super().__init__(
            Space((BASIS, *frame.axes), (K, *frame.shape), frame.dtype),
            Space(("t", *frame.axes), (P, *frame.shape), frame.dtype),
            device,
        )
        self.psi = psi.to(self.device, frame.dtype)
        self._frame = frame

    def _forward(self, x: Tensor) -> Tensor:
        return (self.psi @ self._flat(x)).reshape(*self._batch(x), *cast(Space, self.range).shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return (self.psi.mH @ self._flat(y)).reshape(*self._batch(y), *cast(Space, self.domain).shape)

    def _flat(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[: x.ndim - len(self._frame.shape)], -1)

    def _batch(self, x: Tensor) -> tuple[int, ...]:
        return tuple(x.shape[: x.ndim - len(self._frame.shape) - 1])

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return Expansion(self.psi, self._frame.astype(dtype), device)


class ViewSeries(Series):
    """A series whose frames are seen by consecutive parts of one axis of the data: CT views, radial spokes.

    Parameters
    ----------
    views : (start, stop) -> the operator of an object at rest for these views alone
    edges : where frames begin and end: frame t is seen by views edges[t]..edges[t + 1]
    axis : the axis of the data that counts views
    """

    def __init__(self, views: Callable[[int, int], LinearOperator], edges: Sequence[int], axis: str) -> None:
        self.edges = tuple(int(e) for e in edges)
        if len(self.edges) < 2 or any(b <= a for a, b in pairwise(self.edges)):
            raise ShapeError(f"Frames hold at least one view each, got the edges {self.edges}.")
        self.views, self.axis = views, axis
        self.still = views(self.edges[0], self.edges[-1])
        """The operator of an object at rest, seen by all views."""
        frame = cast(Space, self.still.domain)
        domain = Space(("t", *frame.axes), (len(self.edges) - 1, *frame.shape), frame.dtype)
        super().__init__(domain, self.still.range, self.still.device)
        self._dim = cast(Space, self.range).axes.index(axis) - len(cast(Space, self.range).axes)

    @cached_property
    def _parts(self) -> list[LinearOperator]:
        return [self.views(a, b) for a, b in pairwise(self.edges)]

    @cached_property
    def _frame_of_view(self) -> Tensor:
        counts = torch.tensor([b - a for a, b in pairwise(self.edges)], device=self.device)
        return torch.arange(self.frames, device=self.device).repeat_interleave(counts)

    def _forward(self, x: Tensor) -> Tensor:
        frames = x.unbind(-len(cast(Space, self.domain).axes))
        return torch.cat([part._forward(f) for part, f in zip(self._parts, frames, strict=True)], dim=self._dim)

    def _adjoint(self, y: Tensor) -> Tensor:
        views = y.split([b - a for a, b in pairwise(self.edges)], dim=self._dim)
        frames = [part.H._forward(v) for part, v in zip(self._parts, views, strict=True)]
        return torch.stack(frames, dim=-len(cast(Space, self.domain).axes))

    def subspace(self, psi: Tensor) -> LinearOperator:
        return _ViewSubspace(self, psi)

    def over_views(self, values: Tensor) -> Tensor:
        """Numbers of each frame (t, ...) as (..., view, 1, 1): to broadcast against the data behind leading axes."""
        spread = values.to(cast(Space, self.range).dtype)[self._frame_of_view].movedim(0, -1)
        return spread.reshape(*spread.shape, *[1] * (-1 - self._dim))

    def frame_normals(self, basis: Tensor, y: Tensor, weights: Any = 1.0) -> tuple[Tensor, Tensor]:
        seen = cast(Tensor, self.still(basis)) * weights
        others = tuple(d for d in range(1, seen.ndim) if d != seen.ndim + self._dim)
        wide = torch.complex128 if seen.is_complex() else torch.float64
        rows = seen.permute(seen.ndim + self._dim, 0, *others).flatten(2).to(wide)  # (view, basis, values)
        data = y.movedim(self._dim, 0).reshape(len(rows), -1, 1).to(wide)
        per_view = rows.conj() @ rows.mT, (rows.conj() @ data)[..., 0]
        H, b = (v.new_zeros((self.frames, *v.shape[1:])).index_add_(0, self._frame_of_view, v) for v in per_view)
        return H, b

    def frame_operator(self, t: int) -> LinearOperator:
        return self.views(self.edges[t], self.edges[t + 1])  # not `_parts`, whose ray tables would stay

    def frame_data(self, y: Tensor, t: int) -> Tensor:
        return y.narrow(self._dim, self.edges[t] - self.edges[0], self.edges[t + 1] - self.edges[t])

    def window(self, start: int, stop: int, y: Tensor) -> tuple[LinearOperator, Tensor]:
        first, last = self.edges[start], self.edges[stop]
        return self.views(first, last), y.narrow(self._dim, first - self.edges[0], last - first)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return ViewSeries(lambda a, b: self.views(a, b).to(device, dtype), self.edges, self.axis)

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        slab = self.still.restrict(axis, start, stop)
        if slab is None:
            return None

        def views(first: int, last: int) -> LinearOperator:
            part = self.views(first, last).restrict(axis, start, stop)
            assert part is not None  # all views split as one does
            return part.operator

        return Slab(ViewSeries(views, self.edges, self.axis), slab.range_axis, slab.start, slab.stop)


class _ViewSubspace(LinearOperator):
    """Basis images to the data of a `ViewSeries`: every view of every basis image at once, then summed over them."""

    def __init__(self, series: ViewSeries, psi: Tensor) -> None:
        domain = cast(Space, series.still.domain)
        K = psi.shape[1]
        super().__init__(Space((BASIS, *domain.axes), (K, *domain.shape), domain.dtype), series.range, series.device)
        self._still = series.still
        lead = [1] * (len(cast(Space, series.range).axes) + series._dim)
        weights = series.over_views(psi)
        self._psi = weights.reshape(K, *lead, *weights.shape[1:])  # (basis, 1.., view, 1..)

    def _forward(self, x: Tensor) -> Tensor:
        return (self._still._forward(x) * self._psi).sum(-len(cast(Space, self.range).axes) - 1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return cast(
            Tensor, self._still.H._forward(y.unsqueeze(-len(cast(Space, self.range).axes) - 1) * self._psi.conj())
        )


def subspace(A: LinearOperator, psi: Tensor) -> LinearOperator:
    """Basis images (basis, ...) to the data of the series that they span with `psi`, whatever scales or weights A."""
    factor, weights, series, support = _unwrapped(A)
    B = series.subspace(psi)
    if support is not None:
        B = B @ Diagonal(support, cast(Space, B.domain))
    if weights is not None:
        B = Diagonal(weights, cast(Space, B.range)) @ B
    return B if factor == 1.0 else factor * B


def frame_normals(A: LinearOperator, basis: Tensor, y: Any) -> tuple[Tensor, Tensor]:
    """`Series.frame_normals` of an operator that may be scaled or weighted."""
    factor, weights, series, support = _unwrapped(A)
    seen = basis if support is None else basis * support
    return series.frame_normals(seen, y, factor if weights is None else factor * weights)


def series_of(A: LinearOperator) -> Series:
    """The series under scales, weights and a support.

    Raises
    ------
    ShapeError
        If there is none.
    """
    return _unwrapped(A)[2]


def series_norm(A: LinearOperator, steps: int = 2, seed: int = 0) -> float:
    """The norm of an operator on a series, from below: the largest norm of its frames, in the memory of one frame.

    Frames share no data, so nothing is gained by iterating on all of them. Each gets `steps` power steps from where the
    last one ended, for frames see alike; the `FINALISTS` that then look largest are followed to the end.
    """
    factor, weights, series, support = _unwrapped(A)

    def frame(t: int) -> LinearOperator:
        part = series.frame_operator(t)
        if support is not None:
            part = part @ Diagonal(support, cast(Space, part.domain))
        if weights is None:
            return part
        space = cast(Space, series.range)
        return Diagonal(series.frame_data(weights.expand(space.shape), t), cast(Space, part.range)) @ part

    x = series.frame.random(torch.Generator().manual_seed(seed)).to(series.device)
    lengths = []
    for t in range(series.frames):
        x, length = _power_steps(frame(t), x, steps)
        lengths.append(length)
    finalists = sorted(range(series.frames), key=lambda t: -lengths[t])[:FINALISTS]
    return abs(factor) * max(frame(t).norm(seed) for t in finalists)


def _power_steps(A: LinearOperator, x: Tensor, steps: int) -> tuple[Tensor, float]:
    """An image nearer to the largest singular vector of A, and |A^H A x| / |x| of the last step."""
    start, length = x, 0.0
    for _ in range(steps):
        x = A.gram(x)
        length = float(norm(x))
        if length == 0.0:  # this frame sees nothing of x
            return start, 0.0
        x = x / length
    return x, length


def _unwrapped(A: LinearOperator) -> tuple[complex, Tensor | None, Series, Tensor | None]:
    """(factor, weights, series, support) of `factor * weights @ series @ support`, in whatever order they were put on.

    Weights multiply the data; a support multiplies every frame alike.
    """
    factor: complex = 1.0
    weights = support = None
    while not isinstance(A, Series):
        if isinstance(A, Scaled):
            factor, A = factor * A.factor, A.operator
        elif isinstance(A, Composition) and isinstance(A.outer, Diagonal):
            weights, A = A.outer.weights if weights is None else weights * A.outer.weights, A.inner
        elif isinstance(A, Composition) and isinstance(A.inner, Diagonal) and A.inner.weights.ndim < 4:
            support, A = A.inner.weights if support is None else support * A.inner.weights, A.outer
        else:
            raise ShapeError(f"Expected an operator on a series, got {A!r}.")
    return factor, weights, A, support
