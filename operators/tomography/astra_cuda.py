"""The one door to ASTRA's CUDA projectors: without a device ASTRA kills the process or returns zeros."""

from __future__ import annotations

from typing import Any

from operators.errors import DeviceError, MissingPackageError


def require_cuda() -> Any:
    """The module `astra`, once it has said that a CUDA device is at hand; to be called before anything that needs one.

    Without a device ASTRA 2.5 builds 3D projectors all the same and dies with SIGFPE when they are used, and its 2D
    `cuda` projectors return zeros.

    Raises
    ------
    MissingPackageError
        If ASTRA is not installed.
    DeviceError
        If ASTRA finds no CUDA device, or was built without CUDA.
    """
    try:
        import astra
    except ImportError as error:
        raise MissingPackageError(
            "CT on a GPU needs the ASTRA toolbox: install it with `pip install astra-toolbox`, or use device='cpu'."
        ) from error
    if not astra.use_cuda():
        raise DeviceError(
            "ASTRA finds no CUDA device here, so CT cannot be computed on one: use device='cpu', or check the "
            "driver with nvidia-smi and that ASTRA was built with CUDA."
        )
    return astra
