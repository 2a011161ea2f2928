"""The base exceptions: every fault a user can cause ends in one of these, with one clear sentence.

::

    ReconError
    ├── ShapeError            (ValueError)    an array does not have the shape, axes or dtype an operator states
    ├── GeometryError         (ValueError)    an acquisition or grid that cannot exist
    ├── DeviceError           (RuntimeError)  tensors on another device, or a device that is not there
    └── MissingPackageError   (ImportError)   an optional package is needed; the message holds the install line

``recon3d.errors`` continues the tree.
"""

from __future__ import annotations


class ReconError(Exception):
    """A fault with a message meant for the person at the terminal."""


class ShapeError(ReconError, ValueError):
    """An array does not have the shape, the axes or the dtype that were stated."""


class GeometryError(ReconError, ValueError):
    """An acquisition geometry or image grid that is impossible or contradicts itself."""


class DeviceError(ReconError, RuntimeError):
    """Tensors and operators on different devices, or a device that this machine does not have."""


class MissingPackageError(ReconError, ImportError):
    """An optional package is not installed; the message says how to get it."""
