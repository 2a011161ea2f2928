"""zea's side: its beamforming pipeline, compiled by JAX, on the points of our image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np
import zea
from peers_child import serve

Data = Mapping[str, Any]


def das(data: Data) -> Callable[[], Any]:
    elements, speed = 128, 1540.0
    x = (np.arange(elements) - (elements - 1) / 2) * 0.3e-3
    delays = x * np.sin(data["transmit_angles"])[:, None] / speed
    first = -delays.min(axis=1)
    points = data["points"] / 1e3
    y = data["channels"].transpose(0, 2, 1)
    count = len(y)
    parameters = zea.Parameters(
        n_el=elements, n_tx=count, n_ax=y.shape[1], n_ch=2, center_frequency=5e6, demodulation_frequency=5e6,
        sampling_frequency=20e6, sound_speed=speed, f_number=1.5,
        probe_geometry=np.stack([x, 0 * x, 0 * x], axis=1).astype(np.float32),
        t0_delays=(delays + first[:, None]).astype(np.float32), initial_times=first.astype(np.float32),
        t_peak=np.zeros(count, np.float32), polar_angles=data["transmit_angles"].astype(np.float32),
        focus_distances=np.full(count, np.inf, np.float32), transmit_origins=np.zeros((count, 3), np.float32),
        tx_apodizations=np.ones((count, elements), np.float32),
        xlims=(points[0, 0, 0], points[0, -1, 0]), zlims=(points[0, 0, 2], points[-1, 0, 2]), ylims=(0.0, 0.0),
        grid_size_z=points.shape[0], grid_size_x=points.shape[1],
    )  # fmt: skip
    pipeline = zea.Pipeline([zea.ops.Beamform(), zea.ops.EnvelopeDetect()], with_batch_dim=False)
    inputs = pipeline.prepare_parameters(parameters)
    channels = np.stack([y.real, y.imag], axis=-1).astype(np.float32)
    return lambda: np.asarray(pipeline(data=channels, **inputs)["data"])


if __name__ == "__main__":
    serve({"DAS": das}, f"zea {version('zea')} (JAX)")
