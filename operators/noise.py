"""The level of white noise in a stack of images, from its finest details."""

from __future__ import annotations

from torch import Tensor

__all__ = ["noise_level"]


def noise_level(x: Tensor, above: float | None = None) -> float:
    """Standard deviation of white noise, from the diagonal details of 2 x 2 pixels of each slice.

    The median ignores edges (Donoho and Johnstone, Biometrika 81 (1994) 425); exact zeros, as padding makes them, are
    left out, and none but zeros give 0. Noise that a reconstruction kernel has smoothed is underestimated.

    Parameters
    ----------
    x : real tensor (..., y, x)
    above : only blocks with a mean above this value count, where there are any
    """
    a, b, c, d = (x[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
    rows, columns = d.shape[-2:]
    a, b, c = (part[..., :rows, :columns] for part in (a, b, c))
    details = (a - b - c + d) / 2
    used = details != 0
    if above is not None:
        inside = used & (a + b + c + d > 4 * above)
        used = inside if bool(inside.any()) else used
    return float(details[used].abs().median()) / 0.6745 if bool(used.any()) else 0.0
