"""The end-to-end variational network with MONAI's U-Nets (Sriram et al., arXiv:2004.06688)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recon3d.priors.networks.kspace import Centring, expand_coils, reduce_coils, to_image, unit_maps


class VarNet(nn.Module):
    """Complete multi-coil k-space: y = y - eta M (y - y~) - E U(R y), `cascades` times, U a U-Net on complex images.

    Parameters
    ----------
    cascades : steps, each with weights of its own
    features : channels of the U-Nets' five levels, and of their last
    map_features : the same for the U-Net that estimates sensitivities, coil by coil, from the calibration lines
    """

    centred = True

    def __init__(
        self,
        cascades: int = 12,
        features: Sequence[int] = (18, 18, 36, 72, 144, 18),
        map_features: Sequence[int] = (8, 8, 16, 32, 64, 8),
    ) -> None:
        super().__init__()
        from monai.apps.reconstruction.networks.nets.complex_unet import ComplexUnet

        self.map_network = ComplexUnet(features=tuple(map_features))
        self.refinements = nn.ModuleList(ComplexUnet(features=tuple(features)) for _ in range(cascades))
        self.data_weights = nn.Parameter(torch.ones(cascades))
        self.smallest_side = 32
        self.bytes_per_pixel = 4 * 14 * features[0]

    def forward(self, kspace: Tensor, mask: Tensor, calibration: Tensor) -> Tensor:
        """Completed k-space (batch, coil, ky, kx); see `RecurrentVarNet.forward`."""
        centring = Centring((kspace.shape[-2], kspace.shape[-1]), self.centred, kspace)
        measured = kspace * centring.kspace.conj()
        with torch.autocast(kspace.device.type, enabled=False):
            images = to_image(measured * calibration) * centring.image.conj()
            maps = unit_maps(_apply(self.map_network, images.flatten(0, 1)).reshape(images.shape)) * centring.image
        found = measured
        for weight, refinement in zip(self.data_weights, self.refinements, strict=True):
            error = torch.where(mask, found - measured, 0.0)
            correction = _apply(refinement, reduce_coils(found, maps))
            found = found - weight * error - expand_coils(correction, maps)
        return found * centring.kspace


def _apply(network: nn.Module, images: Tensor) -> Tensor:
    """A network of MONAI on complex images (batch, y, x)."""
    return torch.view_as_complex(network(torch.view_as_real(images)[:, None])[:, 0].to(images.real.dtype).contiguous())
