"""SigPy's side: its MRI applications, as its tutorials call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import sigpy.mri
from peers_child import serve

Data = Mapping[str, Any]


def _undersampled(data: Data) -> tuple[Any, Any]:
    mask = np.broadcast_to(data["mask"], data["kspace"].shape[-2:])
    return data["kspace"] * mask, mask


def espirit(data: Data) -> Callable[[], Any]:
    return lambda: sigpy.mri.app.EspiritCalib(data["kspace"], calib_width=24, show_pbar=False).run()


def sense(data: Data) -> Callable[[], Any]:
    y, mask = _undersampled(data)

    def run() -> Any:
        app = sigpy.mri.app.SenseRecon(y, data["maps"], lamda=1e-3, weights=mask, max_iter=30, show_pbar=False)
        return app.run()

    return run


def wavelet(data: Data) -> Callable[[], Any]:
    y, mask = _undersampled(data)

    def run() -> Any:
        app = sigpy.mri.app.L1WaveletRecon(
            y, data["maps"], float(data["lamda"]), weights=mask, max_iter=60, show_pbar=False
        )
        return app.run()

    return run


if __name__ == "__main__":
    serve({"ESPIRiT": espirit, "SENSE-CG": sense, "L1-wavelet": wavelet}, f"SigPy {version('sigpy')}")
