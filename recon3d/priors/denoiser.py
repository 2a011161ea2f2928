"""The Denoiser protocol: the one question a method asks of a prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Denoiser(Protocol):
    """E[x0 | x0 + sigma n].

    x and cond are normalised images (..., slice, y, x), real or complex. sigma is in units of the normalised image, per
    real channel (complex n has E|n|^2 = 2), one number or one per slice. The answer has the shape and dtype of x.
    """

    def denoise(self, x: Tensor, sigma: float | Tensor, cond: Tensor | None = None) -> Tensor: ...
