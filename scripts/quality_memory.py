"""Forecast of memory against the measured peak of the process: CT, MRI and DDS at three sizes, and one large TV.

python scripts/quality_memory.py FOLDER [--only tv] [--large] [--streamed] [--disk]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from multiprocessing import Process
from pathlib import Path

import numpy as np

import recon3d
from operators.tomography import TomographyGeometry
from recon3d.grid import AffineGrid
from recon3d.scan import Scan
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
STREAMED = {
    "fbp": ((512, 512, 512), ["--config", "ct-parallel-fbp", "--max-memory", "256M"]),
    "cg_sense": ((128, 320, 320), [*SETTINGS["cg_sense"], "--max-memory", "512M"]),
}
"""Scans of 256 MiB of line integrals (for an image of 512 MiB), and of 600 MiB of k-space."""
ON_DISK = ((128, 256, 256), "192M", [*SETTINGS["dds"], "method.steps=4", "run.micro_batch=1"])
"""DDS on 8 views, whose ten volumes of 32 MiB do not fit into the limit."""


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


def make_large_scan(path: Path, shape: tuple[int, int, int], *, mri: bool) -> None:
    """The scan of a cylinder that is larger than the limits it is reconstructed in, made without a projector."""
    if path.exists():
        return
    slices, rows, columns = shape
    grid = AffineGrid.centred(shape, 1.0)
    rng = np.random.default_rng(0)
    if mri:
        y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
        coils = [np.exp(-((y - b) ** 2) - (x - a) ** 2) * (y**2 + x**2 < 0.6) for a in (-1, 1) for b in (-1, 0, 1)]
        plane = [np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coil), norm="ortho")) for coil in coils]
        data = np.repeat(np.stack(plane)[:, None], slices, axis=1).astype(np.complex64)
        data += rng.standard_normal(data.shape, np.float32) * np.float32(1e-3)
        every = np.arange(columns) % 4 == 0
        every[columns // 2 - 12 : columns // 2 + 12] = True
        data *= every
        scan = Scan("mri", data, ("coil", "kz", "ky", "kx"), {"encoding": "2d", "mask": every[None, None]}, grid)
    else:
        geometry = TomographyGeometry.parallel(
            np.linspace(0, np.pi, columns // 2, endpoint=False), n_columns=columns, n_rows=slices
        )
        s = np.arange(columns) - (columns - 1) / 2
        chord = 0.02 * 2 * np.sqrt(np.maximum((0.4 * columns) ** 2 - s**2, 0))
        data = np.broadcast_to(chord, geometry.shape).astype(np.float32)
        data += rng.standard_normal(data.shape, np.float32) * np.float32(0.01)
        scan = Scan("ct", data, ("view", "row", "column"), geometry.to_dict(), grid, units="1/mm")
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
        "limit MiB": round(record["plan"]["limit"] / 2**20),
        "slab": record["plan"]["slab"],
        "streamed": record["plan"]["streamed"],
        "on disk": record["plan"]["on_disk"],
        "seconds": record["seconds"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=[*SIZES, "fbp"])
    parser.add_argument("--large", action="store_true", help="TV on 512 x 512 x 256 voxels with 4 and with 2 GiB")
    parser.add_argument("--streamed", action="store_true", help="scans that are larger than the limit")
    parser.add_argument("--disk", action="store_true", help="DDS in memory and with its volumes on disk; equal bits")
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    for name in [given.only] if given.only else [] if given.large or given.streamed or given.disk else SIZES:
        for shape in SIZES[name]:
            scan = given.folder / f"{'mri' if name == 'cg_sense' else 'ct'}-{'x'.join(map(str, shape))}.h5"
            make_scan(scan, shape, mri=name == "cg_sense")
            print(json.dumps(measured(scan, name, SETTINGS[name])), flush=True)
    if given.large:
        scan = given.folder / "large.h5"
        make_scan(scan, LARGE, mri=False)
        for limit in ("4G", "2G"):
            print(json.dumps(measured(scan, "tv", [*SETTINGS["tv"], "--max-memory", limit])), flush=True)
    for name, (shape, settings) in STREAMED.items() if given.streamed else ():
        if given.only in (None, name):
            scan = given.folder / f"streamed-{name}.h5"
            make = Process(target=make_large_scan, args=(scan, shape), kwargs={"mri": name == "cg_sense"})
            make.start()  # a process of its own: what it held would count as that of its children
            make.join()
            print(json.dumps(measured(scan, name, settings)), flush=True)
    if given.disk:
        shape, limit, settings = ON_DISK
        scan = given.folder / f"ct-{'x'.join(map(str, shape))}-8.h5"
        make = Process(target=make_scan, args=(scan, shape), kwargs={"mri": False, "views": 8})
        make.start()
        make.join()
        print(json.dumps(measured(scan, "disk", [*settings, "--max-memory", limit])), flush=True)
        print(json.dumps(measured(scan, "memory", settings)), flush=True)
        volumes = [recon3d.load(scan.with_name(f"{scan.stem}-{name}.h5")).data for name in ("disk", "memory")]
        print(json.dumps({"equal bits": bool(np.array_equal(*volumes))}))
