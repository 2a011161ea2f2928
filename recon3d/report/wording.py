"""Numbers as our pages write them."""

from __future__ import annotations

import math
from typing import Any

DASH, MINUS, TIMES = "\N{EN DASH}", "\N{MINUS SIGN}", " \N{MULTIPLICATION SIGN} "


def number(value: Any) -> float | None:
    """A finite number of a record, or None for anything else."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def signed(value: float) -> str:
    """Four digits with a typographic minus."""
    return f"{value:.4g}".replace("-", MINUS)


def figure(value: float, form: str) -> str:
    """A number in a format; a dash where there is none."""
    return format(value, form) if math.isfinite(value) else "\N{INFINITY}" if value == math.inf else DASH


def memory(count: float | None) -> str:
    """Bytes as MiB or GiB; a dash where unknown."""
    if count is None:
        return DASH
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
