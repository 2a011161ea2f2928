"""Peers: the same data and one thread for ours and theirs, in processes that alternate; medians, errors and versions.

`scripts/benchmark peers` runs the peers that this environment has; `--python deepinv=PATH` names the interpreter of
another. A row is a line of Markdown: CPU seconds of both, their ratio, and the relative error of both results where a
truth is known. Losses are lines like wins.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PEERS = {
    "astra": ("CT forward", "CT back", "FBP"),
    "skimage": ("CT forward", "FBP", "TV denoising"),
    "sigpy": ("ESPIRiT", "SENSE-CG", "L1-wavelet"),
    "deepinv": ("CT forward", "CT back", "FBP", "DDS and DiffPIR", "DDS and DPS"),
    "mrpro": ("SENSE-CG",),
    "zea": ("DAS",),
    "fastmri": ("fastMRI metrics",),
    "dicom2nifti": ("DICOM to NIfTI",),
    "dcm2niix": ("DICOM to NIfTI",),
}
"""The rows of each peer, as `peers_NAME.py` names them."""
TRUTH = {
    "FBP": "image", "TV denoising": "image", "SENSE-CG": "object", "L1-wavelet": "object",
    "DICOM to NIfTI": "stored",
}  # fmt: skip
"""What a result is compared with, by the name of its array."""
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def shared_data(side: int, slices: int, views: int) -> dict[str, Any]:
    """One object as CT slices with an exact-geometry sinogram and noise, and as multi-coil k-space."""
    import torch

    from operators.fourier import centred_fft
    from operators.mri.sampling import column_mask
    from operators.tomography import ImageGrid, Projector, TomographyGeometry
    from recon3d.synthetic.mri import coil_sensitivities
    from recon3d.synthetic.phantoms import shepp_logan

    rng = np.random.default_rng(0)
    image = np.ascontiguousarray(shepp_logan((slices, side, side), (1.0, 1.0, 1.0)).data, dtype=np.float32)
    columns = int(np.ceil(side * np.sqrt(2))) | 1
    angles = np.arange(views) * np.pi / views
    A = Projector(
        TomographyGeometry.parallel(angles, columns, n_rows=slices),
        ImageGrid(image.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
    )
    maps = coil_sensitivities(8, (1, side, side), rng)[:, 0]
    maps = (maps / np.sqrt((np.abs(maps) ** 2).sum(0))).astype(np.complex64)
    middle = image[slices // 2].astype(np.complex64)
    kspace = centred_fft(torch.from_numpy(maps * middle)).numpy()
    noise = rng.standard_normal((2, *kspace.shape)) * 0.01
    return {
        "image": image,
        "angles": angles,
        "columns": columns,
        "sinogram": A(torch.from_numpy(image)).numpy(),
        "noisy": image + 0.1 * rng.standard_normal(image.shape).astype(np.float32),
        "weight": 0.1,
        "kspace": (kspace + noise[0] + 1j * noise[1]).astype(np.complex64),
        "maps": maps,
        "mask": column_mask(side, 4, 0.08).astype(np.float32),
        "object": middle,
        "lamda": 4e-3,  # of 5e-4 to 1.6e-2 the best for SigPy, with the truth in hand
        "target": image,
        "guess": image + 0.05 * rng.standard_normal(image.shape).astype(np.float32),
        **body(),
        **channels(rng),
    }


def body() -> dict[str, Any]:
    """Eight slices of a drawn body in HU, of the generator that no prior was trained on."""
    from recon3d.synthetic.ct_scoring import scoring_ct

    return {"body": scoring_ct((8, 128, 128), 3.0, 11).data}


def channels(rng: Any) -> dict[str, Any]:
    """Baseband data of three plane waves from 12 scatterers, and where the points of the image are (z, x, 3) in mm."""
    import torch

    from operators.ultrasound import BornModel, Transmits, linear_array
    from recon3d.beams import image_grid, points_mm

    grid, angles = image_grid((-19.0, 19.0), (5.0, 45.0), (0.2, 0.3)), np.deg2rad([-8.0, 0.0, 8.0])
    A = BornModel(
        grid.shape, points_mm(grid), linear_array(128, 0.3), Transmits.plane(angles), samples=1400, sampling_hz=20e6,
        first_sample_s=0.0, centre_hz=5e6, demodulation_hz=5e6, slowness_s_mm=1e-3 / 1540, f_number=1.5,
        window="boxcar", interpolation="linear",
    )  # fmt: skip
    there = torch.zeros(grid.shape, dtype=torch.complex64)
    there.view(-1)[rng.choice(there.numel(), 12, replace=False)] = 1.0
    data = A(there).numpy()
    points = np.asarray(points_mm(grid)).reshape(*grid.shape[-2:], 3)
    return {"channels": data, "transmit_angles": angles, "points": points}


def series(folder: Path, rng: Any) -> dict[str, Any]:
    """A CT series of 64 slices of 256 x 256 in a folder, and what it holds, x to the right, y forwards, z upwards."""
    import nibabel

    import recon3d
    from recon3d.grid import AffineGrid
    from recon3d.io.dicom.writer import write_series
    from recon3d.volume import Volume

    values = rng.integers(-1000, 1500, (64, 256, 256)).astype(np.float32)
    volume = Volume(values, AffineGrid.centred(values.shape, (2.0, 0.8, 0.8)), units="HU")
    write_series(volume, folder)
    recon3d.save(volume, folder.with_suffix(".nii"))
    stored = nibabel.as_closest_canonical(nibabel.load(folder.with_suffix(".nii"))).get_fdata()
    return {"series": str(folder), "stored": stored}


def timed(python: str, side: str, rows: Sequence[str], data: Path, repeats: int) -> dict[str, Any]:
    """CPU seconds of each row, or why it has none, and the version, from one process; results lie beside the data."""
    folder = data.parent / side
    folder.mkdir(exist_ok=True)
    command = [python, str(HERE / f"peers_{side}.py"), ",".join(rows), str(data), str(folder), str(repeats)]
    environment = {**os.environ, **THREADS, "PYTHONPATH": str(HERE.parent) if side == "ours" else ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return dict.fromkeys(rows, done.stderr.strip().splitlines()[-1])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def quality(row: str, found: Any, data: dict[str, Any], calls: int | None) -> str:
    """The row's own measure: PSNR and calls of samplers, the numbers of metrics, else a relative error.

    The error is against the truth after the best factor and flip: peers scale and turn images differently.
    """
    if row.startswith("DDS"):
        away = np.clip(found, -1000, 1500) - np.clip(data["body"], -1000, 1500)
        return f"{10 * np.log10(2500**2 / np.mean(away[data['body'] > -800] ** 2)):.2f} dB, {calls} calls"
    if row == "fastMRI metrics":
        return " ".join(f"{value:.6g}" for value in found)
    if row == "DAS":  # widths at half of the maximum would hide shifts: the first image is the other's truth
        return f"peak at {np.unravel_index(np.argmax(found), found.shape)}"
    if row not in TRUTH:
        return ""
    truth = np.abs(data[TRUTH[row]])
    found = np.abs(np.squeeze(found)).reshape(truth.shape)

    def away(image: Any) -> float:
        factor = float((image * truth).sum() / (image**2).sum())
        return float(np.linalg.norm(factor * image - truth) / np.linalg.norm(truth))

    flips = (found, found[..., ::-1], found[..., ::-1, :], found[..., ::-1, ::-1])
    return f"{min(map(away, flips)):.4f}"


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmark peers", description=__doc__)
    parser.add_argument("peers", nargs="*", choices=[*PEERS, []], help="which; all by default")
    parser.add_argument("--row", action="append", help="only this row; may be given again")
    parser.add_argument("--python", action="append", default=[], metavar="PEER=PATH", help="interpreter of a peer")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--views", type=int, default=180)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, in turn")
    options = parser.parse_args(arguments)
    pythons = dict(given.split("=", 1) for given in options.python)
    print(
        f"{options.slices} x {options.side} x {options.side}, {options.views} views; MRI: one slice, 8 coils, R = 4\n"
    )
    print("| row | peer | ours CPU s | theirs CPU s | theirs / ours | quality ours | quality theirs |")
    print("|---|---|---|---|---|---|---|")
    told: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data, path = shared_data(options.side, options.slices, options.views), Path(folder) / "data.npz"
        data |= series(Path(folder) / "series", np.random.default_rng(1))
        np.savez(path, **data)
        for peer in options.peers or PEERS:
            rows = [row for row in PEERS[peer] if row in (options.row or PEERS[peer])]
            if not rows:
                continue
            pairs = []
            for _ in range(options.rounds):
                ours = timed(sys.executable, "ours", rows, path, 3)
                pairs.append((ours, timed(pythons.get(peer, sys.executable), peer, rows, path, 3)))
            for row in rows:
                faults = [str(answer[row]) for pair in pairs for answer in pair if not isinstance(answer[row], dict)]
                if faults:
                    told.append(f"{row} by {peer}: not measured ({faults[0]})")
                    continue
                mine, other = (statistics.median(pair[k][row]["seconds"] for pair in pairs) for k in (0, 1))
                good = " | ".join(
                    quality(row, np.load(path.parent / side / f"{row}.npy"), data, answer[row]["calls"])
                    for side, answer in zip(("ours", peer), pairs[-1], strict=True)
                )
                version = pairs[-1][1]["version"]
                print(f"| {row} | {version} | {mine:.3g} | {other:.3g} | {other / mine:.2f} | {good} |", flush=True)
    print("\n" + "\n".join(told))


if __name__ == "__main__":
    main(sys.argv[1:])
