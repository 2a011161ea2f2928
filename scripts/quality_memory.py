"""Forecast of memory against the measured peak of the process: CT, MRI and DDS at three sizes, and one large TV.

python scripts/quality_memory.py FOLDER [--only tv] [--large]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import recon3d
from recon3d.grid import AffineGrid
from recon3d.volume import Volume

SIZES = {
    "tv": [(32, 128, 128), (64, 192, 192), (128, 256, 256)],
    "cg_sense": [(16, 128, 128), (32, 192, 192), (64, 256, 256)],
    "dds": [(16, 128, 128), (32, 192, 192), (64, 256, 256)],
}
SETTINGS = {
    "tv": ["--config", "ct-parallel-tv", "method.iterations=2"],
    "cg_sense": ["--config", "mri-cg-sense", "method.iterations=3"],
    "dds": [
        *("--config", "ct-8view-dds", "method.steps=2", "force_prior=true"),
        "evidence={classical: none, residual: false, null_space: false}",
    ],
}
LARGE = (256, 512, 512)


def make_scan(path: Path, shape: tuple[int, int, int], *, mri: bool, views: int = 16) -> None:
    """The scan of an ellipsoid of water, or of a bright one."""
    if path.exists():
        return
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    inside = axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 < 0.8
    data = np.where(inside, np.float32(1.0 if mri else 0.0), np.float32(0.0 if mri else -1000.0))
    volume = Volume(data, AffineGrid.centred(shape, 2.0), units="1" if mri else "HU")
    if mri:
        scan = recon3d.simulate(volume, {"kind": "mri", "coils": 4}, noise={"snr": 40.0}, finer=1)
    else:
        scan = recon3d.simulate(volume, {"views": views}, noise={"photons": 1e5}, finer=1)
    recon3d.save(scan, path)


def measured(scan: Path, name: str, settings: list[str]) -> dict[str, object]:
    """One run in a process of its own: forecast, peak and their ratio."""
    output = scan.with_name(f"{scan.stem}-{name}.h5")
    command = [sys.executable, "-m", "recon3d", "reconstruct", str(scan), str(output), *settings, "--force", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    record = json.loads(output.with_suffix(".recon.json").read_text())
    peak, host = record["peak_memory"], record["plan"]["host"]
    return {
        "case": scan.stem,
        "method": name,
        "forecast MiB": round(host / 2**20),
        "peak MiB": round(peak / 2**20),
        "peak / forecast": round(peak / host, 3),
        "on disk": record["plan"]["on_disk"],
        "seconds": record["seconds"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=list(SIZES))
    parser.add_argument("--large", action="store_true", help="TV on 512 x 512 x 256 voxels with 4 and with 2 GiB")
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    for name in [given.only] if given.only else [] if given.large else SIZES:
        for shape in SIZES[name]:
            scan = given.folder / f"{'mri' if name == 'cg_sense' else 'ct'}-{'x'.join(map(str, shape))}.h5"
            make_scan(scan, shape, mri=name == "cg_sense")
            print(json.dumps(measured(scan, name, SETTINGS[name])), flush=True)
    if given.large:
        scan = given.folder / "large.h5"
        make_scan(scan, LARGE, mri=False)
        for limit in ("4G", "2G"):
            print(json.dumps(measured(scan, "tv", [*SETTINGS["tv"], "--max-memory", limit])), flush=True)
