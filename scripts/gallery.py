"""The pictures of the docs, each from a seed and from drawn data alone; truth and results share one grey window."""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
Image = NDArray[np.floating]


def strip(
    name: str, panels: Mapping[str, Image], window: tuple[float, float], caption: str, *, aspect: float = 1.0
) -> None:
    """Images side by side in one window, under it what the window is; written as docs/images/NAME.png.

    Parameters
    ----------
    panels : title -> image; lines of a title are broken by a newline
    window : (black, white) of all of them
    aspect : height of a pixel over its width
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image as Pillow

    rows, columns = next(iter(panels.values())).shape
    width = 9.6 / len(panels)
    figure = Figure(figsize=(9.6, width * aspect * rows / columns + 0.85), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for k, (title, image) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), k + 1)
        axes.imshow(image, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.supxlabel(f"{caption}; window {window[0]:g} to {window[1]:g} for all", fontsize=8)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    IMAGES.mkdir(exist_ok=True)
    Pillow.open(png).convert("L").quantize(64).save(IMAGES / f"{name}.png", optimize=True)
    print(f"{name}.png  {(IMAGES / f'{name}.png').stat().st_size / 1000:.0f} kB", flush=True)


def by_recipe(problem: Any, recipe: str, **changed: Any) -> Any:
    """The volume that the recipe makes of a problem, with some settings changed."""
    import recon3d
    from recon3d.config import read_recipe

    content = read_recipe(recipe)[1]
    settings = {**content["method"], **changed}
    return recon3d.reconstruct(problem, settings.pop("name"), models=content.get("models"), **settings).volume


def scored(name: str, volume: Any, truth: Any) -> str:
    from recon3d.evaluation.metrics import compare

    return f"{name}\n{compare(volume, truth).psnr_db:.1f} dB"


def ct() -> None:
    """Eight views of a drawn patient of the second generator, which no prior was trained on."""
    import recon3d
    from recon3d.synthetic.ct_scoring import scoring_ct

    truth = scoring_ct((8, 128, 128), 3.0, 11)
    problem = recon3d.problem_for(recon3d.simulate(truth, {"views": 8}, noise={"photons": 1e6}, seed=5))
    panels = {"truth\n": truth.data[4]}
    for title, recipe in (
        ("filtered backprojection", "ct-parallel-fbp"),
        ("total variation", "ct-parallel-tv"),
        ("DDS, shipped prior", "ct-8view-dds"),
    ):
        volume = by_recipe(problem, recipe)
        panels[scored(title, volume, truth)] = volume.data[4]
    strip("ct-8views", panels, (-350, 450), "CT from 8 views, drawn patient, HU")


def mri() -> None:
    """Eight coils at R = 4 of a drawn head of the second generator."""
    import recon3d
    from recon3d.synthetic.mri_scoring import scoring_mri

    truth = scoring_mri("brain", (4, 160, 160), (4.0, 1.3, 1.3), 3)
    head = truth.with_data(np.abs(truth.data))
    full = recon3d.simulate(head, {"kind": "mri", "coils": 8, "acceleration": 1.0}, noise={"snr": None}, seed=5)
    truth = by_recipe(recon3d.problem_for(full), "mri-zero-filled")  # as these coils see the head, shading included
    truth = truth.with_data(np.abs(truth.data))
    scan = recon3d.simulate(head, {"kind": "mri", "coils": 8, "acceleration": 4.0}, noise={"snr": 40.0}, seed=5)
    problem = recon3d.problem_for(scan)
    white = float(np.percentile(truth.data, 99.5))
    panels = {"all lines, no noise\n": truth.data[2] / white}
    for title, recipe in (
        ("zero-filled", "mri-zero-filled"),
        ("wavelets", "mri-l1-wavelet"),
        ("DDS, shipped prior", "mri-r4-dds"),
    ):
        volume = by_recipe(problem, recipe)
        volume = volume.with_data(np.abs(volume.data))
        panels[scored(title, volume, truth)] = volume.data[2] / white
    strip("mri-r4", panels, (0, 1), "MRI, 8 coils, a quarter of the lines, drawn head, magnitude")


def series() -> None:
    """One view for each of 64 instants of a drawn object that deforms."""
    import recon3d
    from recon3d.synthetic.dynamic import draw_series

    truth = draw_series("walnut", seed=2, style="scoring", shape=(1, 96, 96), frames=64)
    scan = recon3d.simulate(
        truth, {"kind": "ct-series", "order": "bit-reversed"}, noise={"noise_std": 5e-3}, seed=5, finer=2
    )
    problem = recon3d.problem_for(scan)
    panels = {"truth, frame 40\n": truth.data[40, 0]}
    for title, recipe in (("sliding window, FBP", "dynamic-ct-fbp"), ("basis images and TV", "dynamic-ct-psm-tv")):
        volume = by_recipe(problem, recipe)
        panels[scored(title, volume, truth)] = volume.data[40, 0]
    window = float(truth.data.min()), float(np.percentile(truth.data, 99.5))
    strip("series", panels, (round(window[0]), round(window[1])), "one view an instant, 64 instants, HU")


def ultrasound() -> None:
    """Three points and a dark disc in speckle, five plane waves."""
    import recon3d
    from operators.ultrasound import linear_array
    from recon3d.io import load

    rng = np.random.default_rng(0)
    x = linear_array(96, 0.3)[:, 0] * 1e-3
    c, fs, f0 = 1540.0, 25e6, 5e6
    t = np.arange(1100) / fs
    px, pz = rng.uniform(-13e-3, 13e-3, 4000), rng.uniform(5e-3, 32e-3, 4000)
    strength = rng.standard_normal(4000) * (np.hypot(px, pz - 20e-3) > 4e-3)
    px, pz = np.append(px, [0.0, 8e-3, -8e-3]), np.append(pz, [10e-3, 14e-3, 27e-3])
    strength = np.append(strength, [30.0, 30.0, 30.0])
    angles = np.deg2rad([-10.0, -5.0, 0.0, 5.0, 10.0])
    rf = np.zeros((len(angles), len(x), len(t)), np.float32)
    for a, angle in enumerate(angles):
        for e, element in enumerate(x):
            delay = (px * np.sin(angle) + pz * np.cos(angle) + np.hypot(px - element, pz)) / c
            near = np.rint(delay * fs).astype(int)[:, None] + np.arange(-14, 15)
            late = near / fs - delay[:, None]
            pulse = strength[:, None] * np.exp(-((late * 3e6) ** 2)) * np.cos(2 * np.pi * f0 * late)
            inside = (near >= 0) & (near < len(t))
            np.add.at(rf[a, e], near[inside], pulse[inside])

    def beamformed(transmits: list[int], recipe: str) -> Any:
        mapping = {
            "kind": "ultrasound", "data": "rf", "axes": ["transmit", "element", "sample"],
            "units": {"length": "m", "angle": "rad"}, "sampling": fs, "centre": f0, "sound_speed": c,
            "first_sample": 0.0, "probe": {"pitch": 3.0e-4},
            "transmit": {"type": "plane", "angles": angles[transmits].tolist()},
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "channels.npz", rf=rf[transmits])
            problem = recon3d.problem_for(load(Path(folder) / "channels.npz", mapping=mapping))
        return by_recipe(problem, recipe, image="decibel")

    images = {
        "one plane wave": beamformed([2], "ultrasound-das"),
        "five plane waves": beamformed([0, 1, 2, 3, 4], "ultrasound-das"),
        "five, with coherence factor": beamformed([0, 1, 2, 3, 4], "ultrasound-coherence"),
    }
    depth_mm, lateral_mm = next(iter(images.values())).grid.voxel_mm[1:]
    panels = {title: volume.data[0] for title, volume in images.items()}
    strip("ultrasound", panels, (-60, 0), "points and a disc in speckle, dB", aspect=depth_mm / lateral_mm)


def seismic() -> None:
    """Half of the traces of a drawn cube missing at random."""
    import recon3d
    from recon3d.synthetic.seismic import layered_cube

    truth = layered_cube((48, 48, 128), seed=5, family="faulted")
    problem = recon3d.problem_for(
        recon3d.simulate(truth, {"kind": "seismic", "mask": "random", "missing": 0.5}, seed=5)
    )
    gappy = problem.A.gridded(problem.y).numpy()
    panels = {"complete\n": truth.data[24].T, "recorded\n": gappy[24].T}
    for title, recipe in (("POCS", "seismic-pocs"), ("MSSA", "seismic-mssa")):
        volume = by_recipe(problem, recipe)
        panels[scored(title, volume, truth)] = volume.data[24].T
    strip("seismic", panels, (-2.5, 2.5), "an inline of a drawn cube, half of the traces missing", aspect=0.5)


PICTURES = {"ct": ct, "mri": mri, "series": series, "ultrasound": ultrasound, "seismic": seismic}


def main() -> None:
    """Draw the pictures that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], help="which; all by default")
    for name in parser.parse_args().names or PICTURES:
        PICTURES[name]()


if __name__ == "__main__":
    main()
