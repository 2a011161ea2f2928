"""The end-to-end variational network, made of MONAI's blocks (Sriram et al., arXiv:2004.06688)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from operators.fourier import centred_ifft
from recon3d.priors.networks.kspace import unit_maps


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
        from monai.apps.reconstruction.networks.blocks.varnetblock import VarNetBlock
        from monai.apps.reconstruction.networks.nets.complex_unet import ComplexUnet

        self.map_network = ComplexUnet(features=tuple(map_features))
        self.cascades = nn.ModuleList(VarNetBlock(ComplexUnet(features=tuple(features))) for _ in range(cascades))
        self.smallest_side = 32
        self.bytes_per_pixel = 4 * 14 * features[0]

    def forward(self, kspace: Tensor, mask: Tensor, calibration: Tensor) -> Tensor:
        """Completed k-space (batch, coil, ky, kx); see `RecurrentVarNet.forward`."""
        batch, coils, *shape = kspace.shape
        with torch.autocast(kspace.device.type, enabled=False):
            images = torch.view_as_real(centred_ifft(kspace * calibration)).reshape(batch * coils, 1, *shape, 2)
            maps = torch.view_as_complex(self.map_network(images).reshape(batch, coils, *shape, 2).contiguous())
        given, sampled = torch.view_as_real(kspace), mask[..., None]
        sensitivities = torch.view_as_real(unit_maps(maps))
        found = given
        for cascade in self.cascades:
            found = cascade(found, given, sampled, sensitivities).to(given.dtype)
        return torch.view_as_complex(found.contiguous())
