"""What of a complex image is written: its magnitude, its phase, or both parts as they are."""

from __future__ import annotations

import numpy as np

from recon3d.volume import Volume


def magnitude(volume: Volume) -> Volume:
    """The modulus of a complex volume; a real one is returned as it is."""
    return volume.with_data(np.abs(volume.data)) if np.iscomplexobj(volume.data) else volume


def phase(volume: Volume) -> Volume:
    """The phase in radians, -pi to pi; 0 where a real volume is positive."""
    return volume.with_data(np.angle(volume.data).astype(np.float32), units="rad")
