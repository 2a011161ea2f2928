"""ASTRA's side: its CPU projectors and FBP, slice by slice, as its documentation shows for 2D."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import astra
import numpy as np
from peers_child import serve

Data = Mapping[str, Any]


def _geometry(data: Data) -> tuple[int, Any, Any]:
    side = data["image"].shape[-1]
    volume = astra.create_vol_geom(side, side)
    views = astra.create_proj_geom("parallel", 1.0, int(data["columns"]), data["angles"])
    return astra.create_projector("linear", views, volume), volume, views


def forward(data: Data) -> Callable[[], Any]:
    projector, _, _ = _geometry(data)
    image = data["image"]
    out = np.empty((len(image), len(data["angles"]), int(data["columns"])), np.float32)

    def run() -> Any:
        for k, slice_ in enumerate(image):
            astra.projector.direct_FP(projector, slice_, out=out[k])
        return out.swapaxes(0, 1)

    return run


def back(data: Data) -> Callable[[], Any]:
    projector, _, _ = _geometry(data)
    rows = np.ascontiguousarray(data["sinogram"].swapaxes(0, 1))
    out = np.empty_like(data["image"])

    def run() -> Any:
        for k, row in enumerate(rows):
            astra.projector.direct_BP(projector, row, out=out[k])
        return out

    return run


def fbp(data: Data) -> Callable[[], Any]:
    projector, volume, views = _geometry(data)
    rows = np.ascontiguousarray(data["sinogram"].swapaxes(0, 1))

    def run() -> Any:
        found = []
        for row in rows:
            sinogram, image = astra.data2d.create("-sino", views, row), astra.data2d.create("-vol", volume)
            config = astra.astra_dict("FBP")
            config |= {"ProjectorId": projector, "ProjectionDataId": sinogram, "ReconstructionDataId": image}
            algorithm = astra.algorithm.create(config)
            astra.algorithm.run(algorithm)
            found.append(astra.data2d.get(image))
            astra.algorithm.delete(algorithm)
            astra.data2d.delete([sinogram, image])
        return np.stack(found)

    return run


if __name__ == "__main__":
    serve({"CT forward": forward, "CT back": back, "FBP": fbp}, f"ASTRA {astra.__version__}")
