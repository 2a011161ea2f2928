"""fastMRI's side: MSE, NMSE, PSNR and SSIM of its evaluation script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from fastmri import evaluate
from peers_child import serve

Data = Mapping[str, Any]


def metrics(data: Data) -> Callable[[], Any]:
    truth, found = data["target"], data["guess"]
    measures = (evaluate.mse, evaluate.nmse, evaluate.psnr, evaluate.ssim)
    return lambda: np.array([float(np.squeeze(measure(truth, found))) for measure in measures])


if __name__ == "__main__":
    serve({"fastMRI metrics": metrics}, f"fastMRI {version('fastmri')}")
