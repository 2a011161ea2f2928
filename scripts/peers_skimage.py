"""scikit-image's side: radon, iradon and Chambolle's total variation, slice by slice as its functions take images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import skimage
from peers_child import serve
from skimage.restoration import denoise_tv_chambolle
from skimage.transform import iradon, radon

Data = Mapping[str, Any]


def forward(data: Data) -> Callable[[], Any]:
    degrees = np.rad2deg(data["angles"])
    return lambda: np.stack([radon(image, degrees, circle=True).T for image in data["image"]], 1)


def fbp(data: Data) -> Callable[[], Any]:
    degrees, side = np.rad2deg(data["angles"]), data["image"].shape[-1]
    rows = data["sinogram"].swapaxes(0, 1)
    return lambda: np.stack([iradon(row.T, degrees, output_size=side, circle=False) for row in rows])


def tv(data: Data) -> Callable[[], Any]:
    weight = float(data["weight"])
    return lambda: np.stack([denoise_tv_chambolle(image, weight, eps=0, max_num_iter=100) for image in data["noisy"]])


if __name__ == "__main__":
    serve({"CT forward": forward, "FBP": fbp, "TV denoising": tv}, f"scikit-image {skimage.__version__}")
