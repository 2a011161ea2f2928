"""SSIM as a loss, as fastMRI defines the metric."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 7


def ssim(image: Tensor, target: Tensor, data_range: Tensor) -> Tensor:
    """Mean structural similarity of images (batch, y, x) of at least 7 x 7: uniform 7 x 7 window, valid region.

    K1 = 0.01, K2 = 0.03, sample covariance (49/48). Equals scikit-image's default (Wang et al. 2004).
    """
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    x, y = image[:, None], target[:, None]
    maps = torch.cat([x, y, x * x, y * y, x * y], dim=1)
    mean_x, mean_y, xx, yy, xy = F.avg_pool2d(maps, WINDOW, stride=1).unbind(1)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    var_x, var_y, covariance = (
        sample * (a - b) for a, b in ((xx, mean_x * mean_x), (yy, mean_y * mean_y), (xy, mean_x * mean_y))
    )
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2)
    return (above / below).mean()
