"""Undersampling: test files from fully sampled ones, masked by the official rules, without anything of the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from operators.mri.sampling import PATTERNS, column_mask, seeded
from recon3d.errors import ConfigError, InputError, ReconError
from recon3d.io.atomic import atomic_path
from recon3d.io.fastmri import acquired_columns
from recon3d.io.leaderboard import volume_files
from recon3d.io.mrd_header import parse_header

STANDARD_CENTRES = {4: 0.08, 8: 0.04, 16: 0.02}
"""Acceleration -> share of columns in the full centre."""
KEPT = ("acquisition", "patient_id")
"""Attributes that a test file has; `max` and `norm` come from the target."""


def undersample_file(
    source: Path, target: Path, pattern: str, pairs: Sequence[tuple[float, int]], overwrite: bool = False
) -> int:
    """Write the test file of a fully sampled file.

    Parameters
    ----------
    source : fully sampled fastMRI file; the codes of its name's characters seed the mask
    target : file to write: k-space with zeros where nothing is measured, mask, header, and no target
    pattern : see `operators.mri.sampling.column_mask`
    pairs : (share of columns in the centre, acceleration), of which one is drawn where there are several

    Returns
    -------
    int
        The acceleration.

    Raises
    ------
    InputError
        If the file is damaged or undersampled already.
    """
    import h5py

    generator = seeded(source.name)
    fraction, acceleration = pairs[generator.randint(len(pairs))]
    try:
        with h5py.File(source) as file:
            if "mask" in file:
                raise InputError(f"{source.name} is undersampled already.")
            stored = file["kspace"]
            header = file["ismrmrd_header"][()]
            columns = stored.shape[-1]
            mask = column_mask(columns, acceleration, fraction, pattern, generator)
            acquired = np.zeros(columns, bool)
            acquired[acquired_columns(parse_header(header, source.name), columns)] = True
            mask &= acquired
            with atomic_path(target, overwrite) as temporary, h5py.File(temporary, "w") as out:
                kspace = out.create_dataset("kspace", stored.shape, stored.dtype)
                for k in range(stored.shape[0]):
                    kspace[k] = np.where(mask, stored[k], 0)  # a product would keep the sign of unseen samples
                out["mask"] = mask
                out["ismrmrd_header"] = header
                out.attrs.update({key: file.attrs[key] for key in KEPT if key in file.attrs})
                out.attrs["acceleration"] = acceleration
                out.attrs["num_low_frequency"] = round(columns * fraction)
    except ReconError:
        raise
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{source.name} is damaged or no fastMRI file: it lacks k-space or header.") from error
    return acceleration


def undersample_folder(
    inputs: Path, outputs: Path, pattern: str, accelerations: Sequence[int], overwrite: bool = False
) -> tuple[dict[str, int], list[str]]:
    """Test files of all files of a folder: name -> acceleration, and a sentence for each that could not be made.

    Raises
    ------
    ConfigError, InputError
        If nothing can be done at all.
    """
    if pattern not in PATTERNS:
        raise ConfigError(f"A mask pattern is one of {', '.join(PATTERNS)}, got '{pattern}'.")
    unknown = [r for r in accelerations if r not in STANDARD_CENTRES]
    if unknown or not accelerations:
        known = ", ".join(map(str, STANDARD_CENTRES))
        raise ConfigError(f"Accelerations are some of {known}, got {list(accelerations)}.")
    files = volume_files(inputs)
    if outputs.resolve() == inputs.resolve():
        raise ConfigError("Test files need a folder of their own: inputs and outputs are one.")
    if not outputs.parent.is_dir():
        raise InputError(f"The folder {outputs.parent} does not exist: create it first.")
    outputs.mkdir(exist_ok=True)
    pairs = [(STANDARD_CENTRES[r], r) for r in accelerations]
    done: dict[str, int] = {}
    faults: list[str] = []
    for name, path in files.items():
        try:
            done[name] = undersample_file(path, outputs / name, pattern, pairs, overwrite)
        except InputError as error:
            faults.append(str(error))
    return done, faults
