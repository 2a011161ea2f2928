"""The two networks of SeisFusion's released code, whose answers are added: one sees the noisy cube, one the traces."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recon3d.priors.networks.adm import ADM


class FusedADM(nn.Module):
    """Noisy cube, time and masked traces to the noise and its learned variance: ``g U1(x_t, t) + (1 - g) U2(y, t)``.

    Wang et al., IEEE TGRS 2024 (arXiv 2403.11482), as its code has it. Neither network sees the mask, and the first
    does not see the traces. With the defaults each has 456 M parameters; `fusion` is g, `settings` are of `ADM`.
    """

    allows_half = True

    def __init__(self, fusion: float = 0.5, **settings: Any) -> None:
        super().__init__()
        if not 0 <= fusion <= 1:
            raise ValueError(f"fusion {fusion} is no share between 0 and 1")
        published: dict[str, Any] = {"channels": (128, 128, 256, 256, 512, 512), "blocks": 3, "attention": (3, 4, 5)}
        self.fusion = fusion
        self.noisy = ADM(**{**published, **settings}, image_channels=1, out_channels=2, dims=3)
        self.traces = ADM(**{**published, **settings}, image_channels=1, out_channels=2, dims=3)
        self.multiple = (1, self.noisy.multiple, self.noisy.multiple)
        self.bytes_per_voxel = self.noisy.bytes_per_pixel

    def forward(self, x: Tensor, t: Tensor, traces: Tensor) -> Tensor:
        """Cubes (batch, 1, x, y, t) to (batch, 2, x, y, t): noise, and where between its bounds the log variance is."""
        return self.fusion * self.noisy(x, t) + (1 - self.fusion) * self.traces(traces, t)
