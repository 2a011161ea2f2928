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
    "deepinv": ("CT forward", "CT back", "FBP"),
}
"""The rows of each peer, as `peers_NAME.py` names them."""
TRUTH = {"FBP": "image", "TV denoising": "image", "SENSE-CG": "object", "L1-wavelet": "object"}
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
        "lamda": 2e-3,
    }


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


def error(row: str, found: Any, data: dict[str, Any]) -> str:
    """Relative error against the truth after the best factor and flip: peers scale and turn images differently."""
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
    print("| row | peer | ours CPU s | theirs CPU s | theirs / ours | error ours | error theirs |")
    print("|---|---|---|---|---|---|---|")
    told: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        data, path = shared_data(options.side, options.slices, options.views), Path(folder) / "data.npz"
        np.savez(path, **data)
        for peer in options.peers or PEERS:
            rows = PEERS[peer]
            pairs = []
            for _ in range(options.rounds):
                ours = timed(sys.executable, "ours", rows, path, 3)
                pairs.append((ours, timed(pythons.get(peer, sys.executable), peer, rows, path, 3)))
            for row in rows:
                faults = [str(answer[row]) for pair in pairs for answer in pair if not isinstance(answer[row], float)]
                if faults:
                    told.append(f"{row} by {peer}: not measured ({faults[0]})")
                    continue
                mine, other = (statistics.median(pair[k][row] for pair in pairs) for k in (0, 1))
                found = [np.load(path.parent / side / f"{row}.npy") for side in ("ours", peer)]
                errors = " | ".join(error(row, result, data) for result in found)
                version = pairs[-1][1]["version"]
                print(f"| {row} | {version} | {mine:.3g} | {other:.3g} | {other / mine:.2f} | {errors} |", flush=True)
    print("\n" + "\n".join(told))


if __name__ == "__main__":
    main(sys.argv[1:])
