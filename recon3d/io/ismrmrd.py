"""ISMRMRD (MRD) raw data in HDF5, read in bulk: noise, calibration, flags, oversampling, series and averages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.mrd_header import Header, parse_header
from recon3d.io.readouts import COUNTERS, Readouts
from recon3d.scan import Scan

UNDERSTOOD = "ISMRMRD (.h5, .mrd)"

_NOISE, _CALIBRATION, _BOTH, _REVERSED = 19, 20, 21, 22
_LEFT_OUT = (19, 23, 24, 26, 27, 28, 29, 30, 31)  # noise, navigation, phase correction, feedback, dummy, stabilisation


def matches(path: Path) -> bool:
    """Whether an HDF5 file has the group `dataset` with `xml` and `data`."""
    return has_items(path, (".h5", ".hdf5", ".mrd", ".ismrmrd"), ("dataset/xml", "dataset/data"))


def has_items(path: Path, suffixes: tuple[str, ...], items: tuple[str, ...]) -> bool:
    """Whether a whole HDF5 file of one of these suffixes has all these items."""
    if not path.is_file() or not path.name.lower().endswith(suffixes):
        return False
    import h5py

    try:
        with h5py.File(path) as file:
            return all(item in file for item in items)
    except OSError:
        return False


def read(
    path: Path, *, prewhiten: bool = False, select: Mapping[str, int] | None = None, encoding_space: int = 0
) -> Scan:
    """Read Cartesian raw data.

    Parameters
    ----------
    path : HDF5 file
    prewhiten : make the coils' noise white by the noise scan of the file
    select : e.g. {"contrast": 0, "repetition": 2}; one counter may be left to become the series
    encoding_space : which of the header's encodings, where there are several

    Raises
    ------
    InputError
        For a damaged file, other trajectories, missing noise when it is asked for, or a header that disagrees.
    """
    return read_readouts(path, encoding_space).scan(prewhiten=prewhiten, select=select)


def read_readouts(path: Path, encoding_space: int = 0) -> Readouts:
    """The readouts of a file with their counters: what `read` sorts."""
    import h5py

    try:
        with h5py.File(path) as file:
            xml = file["dataset/xml"][()]
            table = file["dataset/data"][()]
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or truncated: its readouts cannot be read.") from error
    text = np.ravel(xml)[0]
    header = parse_header(text, str(path), encoding_space)
    heads, vectors = table["head"], table["data"]
    flags = heads["flags"]

    def has(bit: int) -> NDArray[np.bool_]:
        return (flags & np.uint64(1 << (bit - 1))) != 0

    noise = has(_NOISE)
    left_out = np.any([has(bit) for bit in _LEFT_OUT], axis=0)
    used = ~left_out & (heads["encoding_space_ref"] == encoding_space)
    calibration_only = used & has(_CALIBRATION) & ~has(_BOTH)
    imaging = used & ~calibration_only
    if not imaging.any():
        raise InputError(f"{path} holds no imaging readout in encoding space {encoding_space}: choose another one.")
    if header.trajectory not in ("cartesian", "unknown"):
        raise InputError(
            f"{path} was measured along a {header.trajectory} trajectory: this reader takes Cartesian data; give the "
            "samples and the trajectory as an array file with a mapping."
        )
    quiet = _stack(heads[noise], vectors[noise], None, path) if noise.any() else None
    main = _build(heads[imaging], vectors[imaging], header, path, has(_REVERSED)[imaging])
    extra = None
    if calibration_only.any():
        flipped = has(_REVERSED)[calibration_only]
        extra = _build(heads[calibration_only], vectors[calibration_only], header, path, flipped)
    noise_samples = (
        None if quiet is None else np.ascontiguousarray(quiet.transpose(1, 0, 2).reshape(quiet.shape[1], -1))
    )
    return Readouts(**{**vars(main), "noise": noise_samples, "calibration": extra})


def _build(heads: Any, vectors: Any, header: Header, path: Path, flipped: NDArray[np.bool_]) -> Readouts:
    columns = header.encoded[2]
    samples = _stack(heads, vectors, columns, path, flipped)
    index = heads["idx"]
    z, y, _ = header.encoded
    line = index["kspace_encode_step_1"].astype(np.int64) - header.centre[1] + y // 2
    partition = index["kspace_encode_step_2"].astype(np.int64) - header.centre[0] + z // 2
    affine = _affine(heads, header)
    return Readouts(
        samples=samples,
        line=line,
        partition=partition,
        counters={name: index[name].astype(np.int64) for name in COUNTERS},
        shape=header.encoded,
        fov_mm=header.encoded_fov_mm,
        recon_columns=max(1, round(columns * header.recon_fov_mm[2] / header.encoded_fov_mm[2])),
        affine=affine,
        name=path.stem,
    )


def _stack(
    heads: Any, vectors: Any, columns: int | None, path: Path, flipped: NDArray[np.bool_] | None = None
) -> NDArray[np.complex64]:
    """(readout, coil, sample), each echo placed with its centre at columns // 2."""
    coils = np.unique(heads["active_channels"])
    if len(coils) != 1:
        raise InputError(f"{path} has readouts of {coils.tolist()} coils: expected one number of coils throughout.")
    lengths = heads["number_of_samples"].astype(int)
    width = int(lengths.min()) if columns is None else columns
    result = np.zeros((len(heads), int(coils[0]), width), np.complex64)
    for i, (head, vector) in enumerate(zip(heads, vectors, strict=True)):
        values = np.asarray(vector, np.float32).view(np.complex64)
        if values.size != coils[0] * lengths[i]:
            raise InputError(
                f"{path}, readout {i}, holds {values.size} numbers, its header {coils[0]} coils of {lengths[i]}."
            )
        row = values.reshape(int(coils[0]), lengths[i])
        if columns is None:
            result[i] = row[:, :width]
            continue
        echo = int(head["center_sample"])
        if flipped is not None and flipped[i]:
            row, echo = row[:, ::-1], lengths[i] - 1 - echo
        first, last = int(head["discard_pre"]), lengths[i] - int(head["discard_post"])
        start = columns // 2 - echo  # where sample 0 falls
        low, high = max(first, -start), min(last, columns - start)
        result[i, :, start + low : start + high] = row[:, low:high]
    return result


def _affine(heads: Any, header: Header) -> Any:
    """RAS+ affine of a stack of parallel slices, from the readouts' own directions; None where they are not given."""
    read, phase, normal = (heads[name][0].astype(float) for name in ("read_dir", "phase_dir", "slice_dir"))
    lengths = [float(np.linalg.norm(v)) for v in (read, phase, normal)]
    if min(lengths) < 0.99 or max(lengths) > 1.01:
        return None
    z, y, _ = header.encoded
    pitch = header.encoded_fov_mm[0] / z
    numbers, first = np.unique(heads["idx"]["slice"], return_index=True)
    positions = heads["position"][first].astype(float)
    if len(numbers) > 1:
        step = (positions[-1] - positions[0]) / (len(numbers) - 1)
        if np.linalg.norm(step) > 0:
            normal, pitch = step / np.linalg.norm(step), float(np.linalg.norm(step))
    columns = max(1, round(header.encoded[2] * header.recon_fov_mm[2] / header.encoded_fov_mm[2]))
    edge = (header.recon_fov_mm[2] / columns, header.encoded_fov_mm[1] / y, pitch)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([read * edge[0], phase * edge[1], normal * edge[2]], axis=1)
    corner = np.array([columns // 2, y // 2, z // 2 if z > 1 else 0], dtype=float)
    matrix[:3, 3] = positions[0] - matrix[:3, :3] @ corner
    matrix[:2] *= -1  # the scanner's patient axes run to the left and to the back
    return tuple(map(tuple, matrix))
