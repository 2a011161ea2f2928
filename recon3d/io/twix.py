"""Siemens raw data (twix .dat) through the optional package twixtools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.errors import InputError, MissingPackageError
from recon3d.io.readouts import Readouts
from recon3d.scan import Scan

UNDERSTOOD = "Siemens twix (.dat)"

_COUNTERS = {"slice": "Slc", "contrast": "Eco", "phase": "Phs", "repetition": "Rep", "set": "Set", "average": "Ave"}


def matches(path: Path) -> bool:
    """Whether the name ends in .dat and the first words are those of a raw file of the VB or VD/VE/XA family."""
    if not path.is_file() or path.suffix.lower() != ".dat":
        return False
    with path.open("rb") as stream:
        first = np.frombuffer(stream.read(8), np.uint32)
    if len(first) < 2:
        return False
    several = first[0] < 10_000 and 0 < first[1] <= 64
    return bool(several or 32 < first[0] < 10_000_000)


def read(
    path: Path, *, prewhiten: bool = False, select: Mapping[str, int] | None = None, measurement: int = -1
) -> Scan:
    """Read Cartesian raw data.

    Parameters
    ----------
    path : .dat
    prewhiten : make the coils' noise white by the noise readouts of the file
    select : as for ISMRMRD
    measurement : which one of the file; the last is the scan itself

    Raises
    ------
    MissingPackageError
        Without twixtools.
    """
    try:
        import twixtools
    except ImportError:
        raise MissingPackageError('Siemens raw data need twixtools: pip install "recon3d[twix]".') from None
    try:
        measurements = twixtools.read_twix(str(path), verbose=False, parse_prot=True)
        chosen = measurements[measurement]
        blocks = [block for block in chosen["mdb"] if not block.is_flag_set("ACQEND")]
    except (OSError, ValueError, IndexError, KeyError, EOFError) as error:
        raise InputError(f"{path} is no whole Siemens raw file, or has no measurement {measurement}.") from error
    imaging = [block for block in blocks if block.is_image_scan()]
    if not imaging:
        raise InputError(f"{path} holds no imaging readout in measurement {measurement}: choose another one.")
    return _readouts(chosen, blocks, imaging, path).scan(prewhiten=prewhiten, select=select)


def _readouts(chosen: Any, blocks: list[Any], imaging: list[Any], path: Path) -> Readouts:
    shapes = {block.data.shape for block in imaging}
    if len(shapes) > 1:
        raise InputError(f"{path} has readouts of differing shapes {sorted(shapes)}: select one measurement.")
    samples = np.stack([block.data for block in imaging]).astype(np.complex64)
    reflected = np.array([block.is_flag_set("REFLECT") for block in imaging])
    samples[reflected] = samples[reflected][..., ::-1]
    columns = samples.shape[2]
    echo = int(imaging[0].mdh.CenterCol)
    if 0 < echo < columns // 2:  # asymmetric echo: the missing start is zero
        wide = np.zeros((*samples.shape[:2], 2 * (columns - echo)), np.complex64)
        wide[..., wide.shape[2] // 2 - echo :][..., :columns] = samples
        samples, columns = wide, wide.shape[2]
    settings = chosen["hdr"].get("MeasYaps", {})
    kspace, position = settings.get("sKSpace", {}), settings.get("sSliceArray", {}).get("asSlice", [{}])[0]
    line = np.array([block.cLin for block in imaging], np.int64)
    partition = np.array([block.cPar for block in imaging], np.int64)
    partitions = int(partition.max()) + 1
    if partitions > 1:
        partitions = max(partitions, int(kspace.get("lPartitions", 0)))
    centre = int(imaging[0].mdh.CenterLin)
    vendor = centre > 0  # sequences such as Pulseq's leave the centre, and the header's matrix, unset
    offset = line - (centre if vendor else (int(line.max()) + 1) // 2)
    lines = 2 * max(-int(offset.min()), int(offset.max()) + 1)
    if vendor:
        lines = max(lines, int(kspace.get("lPhaseEncodingLines", 0)))
    line = offset + lines // 2
    base = int(kspace.get("lBaseResolution", columns))
    recon_columns = base if vendor and columns == 2 * base else columns
    fov = float(position.get("dReadoutFOV", recon_columns)) * (columns / recon_columns)
    noise = [block.data for block in blocks if block.is_flag_set("NOISEADJSCAN")]
    counters = {
        name: np.array([getattr(block, f"c{short}") for block in imaging], np.int64)
        for name, short in _COUNTERS.items()
    }
    return Readouts(
        samples=samples,
        line=line,
        partition=partition,
        counters=counters,
        shape=(partitions, lines, columns),
        fov_mm=(
            float(position.get("dThickness", 1.0)),
            float(position.get("dPhaseFOV", lines)),
            fov,
        ),
        recon_columns=recon_columns,
        noise=np.concatenate([n.reshape(n.shape[0], -1) for n in noise], axis=1).astype(np.complex64)
        if noise
        else None,
        name=path.stem,
    )
