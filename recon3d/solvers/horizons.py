"""Wide gaps filled along horizons: a chain of lags matches the traces on both sides, and is averaged over, not chosen.

Between the traces L and R on the two sides of a gap of width G a reflection moves by some lag l. What lag it is at
each time is a hidden Markov chain along time: traces that agree at a lag make it likely, dips seen outside the gap say
which to expect, and lags change slowly. A sample in the gap is the mean over all lags of the two traces' values on the
path with that lag, so where the sides do not tell, the answer is small. Beyond the edge of a survey the path has the
dip of the edge. Dynamic warping (Hale, Geophysics 78 (2013) S105) takes the best chain; this is its forward-backward
form (Rabiner, Proc. IEEE 77 (1989) 257).
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["horizon_fill"]

STEEPEST = 2.5
"""Dip, in samples a trace, beyond which nothing is followed."""
MISMATCH = 1.2
"""Variance of what two sides of a gap differ by, in units of the mean square of the traces."""
EDGE_MISMATCH = 0.3
"""The same of two traces that are at most `REACH` apart."""
BEND = 1.0
"""Cost of a change of lag by one step within one sample, in nats."""
SPREAD = 0.35
"""Standard deviation of the mean dip across a gap about that of its edges, in samples a trace."""
FLAT = 1.0
"""Standard deviation of dips where no edge says more."""
PRIOR = 0.15
"""Weight of what is expected of one sample: neighbours in time are no independent evidence."""
REACH = 3
"""Traces from an edge inwards over which its dip is measured."""
DRIFT = 0.05
"""Growth of the uncertainty of a dip beyond an edge, in samples a trace and root of traces."""
CURVED = 8.0
"""Most samples by which a path leaves the straight line."""
UP = 4
"""Samples of a resampled trace per sample; between them values are interpolated linearly."""
LINES = 32
"""Lines that are matched at a time, which bounds the memory."""


def horizon_fill(cube: Tensor, live: Tensor) -> Tensor:
    """A cube whose unknown traces continue those on both sides, along both axes, the surer of the two weighing more.

    Parameters
    ----------
    cube, live : known traces, (x, y, t) and (x, y), bool; what stands elsewhere is not read
    """
    if live.all() or not live.any():
        return cube
    scale = cube[live].square().mean().sqrt().clamp(min=1e-30)
    out, known = cube / scale, live
    while not known.all():
        ways = [_along(out, known), _along(out.transpose(0, 1), known.T)]
        ways[1] = (ways[1][0].transpose(0, 1), ways[1][1].transpose(0, 1))
        weights = [torch.where(variance.isinf(), 0.0, 1 / (variance + 0.05)) for _, variance in ways]
        total = weights[0] + weights[1]
        reached = ~known & (total[..., 0] > 0)
        blend = (weights[0] * ways[0][0] + weights[1] * ways[1][0]) / total.clamp(min=1e-30)
        out = torch.where(reached[..., None], blend, out)
        known = known | reached
    return torch.where(live[..., None], cube, scale * out)


def _along(cube: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
    """The gaps along the first axis: values, and the variance over lags; infinite where no trace is in the line."""
    values, variance = torch.zeros_like(cube), torch.full_like(cube, torch.inf)
    for (before, after), lines in _gaps(live).items():
        for some in lines.split(LINES):
            left = None if before < 0 else _Edge(cube, live, before, -1, some)
            right = None if after >= len(cube) else _Edge(cube, live, after, 1, some)
            if left is not None and right is not None:
                found = _between(left, right, after - before)
            elif left is not None:
                found = _beyond(left, after - before - 1)
            else:
                assert right is not None
                mean, spread = _beyond(right, after - before - 1)
                found = mean.flip(1), spread.flip(1)
            values[before + 1 : after, some] = found[0].transpose(0, 1)
            variance[before + 1 : after, some] = _calm(found[1]).transpose(0, 1)
    return values, variance


def _gaps(live: Tensor) -> dict[tuple[int, int], Tensor]:
    """The lines with a gap between two places of the first axis; -1 or the end where it has no trace on that side."""
    found = defaultdict(list)
    for line in torch.nonzero(live.any(0)).flatten().tolist():
        places = [-1, *torch.nonzero(live[:, line]).flatten().tolist(), len(live)]
        for before, after in pairwise(places):
            if after - before > 1:
                found[before, after].append(line)
    return {gap: torch.tensor(lines) for gap, lines in found.items()}


class _Edge:
    """The traces on one side of a gap, and what dips they have towards it, (line, dip, sample)."""

    def __init__(self, cube: Tensor, live: Tensor, place: int, outwards: int, lines: Tensor) -> None:
        self.samples = cube.shape[2]
        self.trace = _resampled(cube[place, lines])
        self.chances: Tensor | None = None
        reach = 0
        while reach < REACH:
            further = place + outwards * (reach + 1)
            if not 0 <= further < len(cube) or not live[further, lines].all():
                break
            reach += 1
        steps = math.ceil(2 * STEEPEST * max(reach, 1))
        lags = torch.arange(-steps, steps + 1, dtype=cube.dtype, device=cube.device) / 2
        self.dips = lags / max(reach, 1)
        if reach:
            outer = _resampled(cube[place + outwards * reach, lines])
            expected = PRIOR * (self.dips[:, None] / FLAT).square() / 2
            chances = _chances(outer, self.trace, lags, expected, EDGE_MISMATCH, lines=1.0)
            self.chances = _normal(_nearest(chances, self.time() - lags[:, None] / 2))

    def time(self) -> Tensor:
        """Numbers of the samples."""
        return torch.arange(self.samples, dtype=self.trace.dtype, device=self.trace.device)

    def dip(self) -> Tensor:
        """Expected dip towards the gap, (line, sample); only where `chances` are known."""
        assert self.chances is not None
        return (self.chances * self.dips[:, None]).sum(1)


def _between(left: _Edge, right: _Edge, width: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of the traces between two edges `width` traces apart, (line, trace, sample)."""
    t = left.time()
    most = math.ceil(min(STEEPEST * width, left.samples / 2))
    lags = torch.arange(-most, most + 1, dtype=t.dtype, device=t.device)
    lag = lags[:, None]
    dips = [
        (side, sign * edge.dip()) for side, sign, edge in ((-1, 1, left), (1, -1, right)) if edge.chances is not None
    ]
    if dips:
        mean = sum(_nearest(dip[:, None], t + side * lag / 2) for side, dip in dips) / len(dips)
        expected = ((lag / width - mean) / SPREAD).square()
    else:
        expected = (lag / width / FLAT).square()
    chances = _chances(left.trace, right.trace, lags, PRIOR * expected / 2, MISMATCH, lines=1.5)
    found = []
    for k in range(1, width):
        u = k / width
        start = t - lag * u  # of the path that is at t here
        if len(dips) == 2:  # a cubic (Hermite) path with the dips of both edges
            ends = (start, start + lag)
            bends = [_nearest(dip[:, None], end) - lag / width for (_, dip), end in zip(dips, ends, strict=True)]
            start = start - (width * u * (1 - u) * ((1 - u) * bends[0] - u * bends[1])).clamp(-CURVED, CURVED)
        weights = _normal(_nearest(chances, start + lag / 2))
        found.append(_moments(weights, (1 - u) * _at(left.trace, start) + u * _at(right.trace, start + lag)))
    means, variances = zip(*found, strict=True)
    return torch.stack(means, 1), torch.stack(variances, 1)


def _beyond(edge: _Edge, count: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of `count` traces outside an edge, nearest first; zero where nothing is known of its dip."""
    shape = (len(edge.trace), count, edge.samples)
    if edge.chances is None:
        return edge.trace.new_zeros(shape), edge.trace.new_ones(shape)
    dips, found = edge.dips, []
    for k in range(1, count + 1):
        blur = torch.exp(-(dips[:, None] - dips).square() / (2 * k * DRIFT**2))
        chances = torch.einsum("ab,nbt->nat", blur / blur.sum(0), edge.chances)
        start = edge.time() - k * dips[:, None]
        found.append(_moments(_normal(_nearest(chances, start)), _at(edge.trace, start)))
    means, variances = zip(*found, strict=True)
    return torch.stack(means, 1), torch.stack(variances, 1)


def _chances(left: Tensor, right: Tensor, lags: Tensor, expected: Tensor, mismatch: float, *, lines: float) -> Tensor:
    """How likely each lag is at each mid-time, (line, lag, sample), given all of the two traces.

    Parameters
    ----------
    expected : costs of lags before the traces are seen, in nats
    lines : neighbouring lines that are likely to share a lag, standard deviation of a Gaussian
    """
    count, samples = len(left), left.shape[1] // UP
    t = torch.arange(samples, dtype=left.dtype, device=left.device)
    first, last = t - lags[:, None] / 2, t + lags[:, None] / 2
    outside = (torch.minimum(first, last) < 0) | (torch.maximum(first, last) > samples - 1)
    error = (_at(left, first) - _at(right, last)).square()
    error = torch.where(outside, left.square().mean(), error)
    place = torch.arange(count, dtype=left.dtype, device=left.device)
    near = torch.exp(-((place[:, None] - place) / lines).square() / 2)
    error = torch.einsum("ab,blt->alt", near / near.sum(1, keepdim=True), error)
    return _marginals(error / (2 * mismatch) + expected)


def _marginals(cost: Tensor) -> Tensor:
    """Chances of the states of a chain at each time, (line, state, time), whose state moves by at most one a step."""

    def moved(score: Tensor) -> Tensor:
        beside = F.pad(score, (1, 1), value=-torch.inf)
        return torch.logsumexp(torch.stack([beside[:, :-2] - BEND, score, beside[:, 2:] - BEND]), 0)

    count = cost.shape[2]
    forward, backward = torch.empty_like(cost), torch.zeros_like(cost)
    forward[..., 0] = -cost[..., 0]
    for k in range(1, count):
        score = moved(forward[..., k - 1]) - cost[..., k]
        forward[..., k] = score - score.amax(1, keepdim=True)
    for k in range(count - 2, -1, -1):
        score = moved(backward[..., k + 1] - cost[..., k + 1])
        backward[..., k] = score - score.amax(1, keepdim=True)
    return torch.softmax(forward + backward, dim=1)


def _resampled(traces: Tensor) -> Tensor:
    """(line, sample) at `UP` times the rate, by zeros in the spectrum of the trace and its mirror image."""
    samples = traces.shape[1]
    spectrum = torch.fft.rfft(torch.cat([traces, traces.flip(1)], 1))
    return UP * torch.fft.irfft(spectrum, 2 * UP * samples)[:, : UP * samples]


def _at(traces: Tensor, time: Tensor) -> Tensor:
    """Values of resampled traces (line, UP * sample) at times (line, ...) or (...) in samples; zero outside."""
    time = time.expand(len(traces), *time.shape[-2:])
    position, last = UP * time, traces.shape[1] - UP
    inside = (position >= 0) & (position <= last)
    position = position.clamp(0, last)
    below = position.long()
    a, b = (traces.gather(1, (below + k).flatten(1)).view_as(position) for k in (0, 1))
    return torch.where(inside, a + (b - a) * (position - below), 0.0)


def _nearest(values: Tensor, time: Tensor) -> Tensor:
    """Values (line, lag or 1, sample) at the nearest samples of times (line, lag, sample) or (lag, sample)."""
    lines, _, samples = values.shape
    index = time.round().long().clamp(0, samples - 1).expand(lines, *time.shape[-2:])
    return values.expand(-1, index.shape[1], -1).gather(2, index)


def _normal(weights: Tensor) -> Tensor:
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)


def _moments(weights: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    mean = (weights * values).sum(1)
    return mean, (weights * values.square()).sum(1) - mean.square()


def _calm(variance: Tensor) -> Tensor:
    """The mean over 15 samples around each."""
    return F.avg_pool1d(F.pad(variance, (7, 7), mode="replicate"), 15, stride=1)
