"""zea HDF5: channel data with their transmits, or images that were made of them; the legacy and the track layout.

Legacy files (before version 0.1) have the groups `data` and `scan` at the root; later ones have them below
`tracks/track_N`, with the probe in `scan` or in a group `probe`, and products as groups of `values` and `coordinates`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.ultrasound import Transmits, pulse_lag_s
from recon3d.acquisitions.ultrasound import sound_speed_m_s as speeds_m_s
from recon3d.beams import grid_through, image_grid
from recon3d.errors import InputError
from recon3d.io.channel_data import channel_scan
from recon3d.io.ismrmrd import has_items
from recon3d.scan import Scan
from recon3d.volume import Volume

UNDERSTOOD = "zea (.h5, .hdf5)"
PRODUCTS = {"beamformed_data": "1", "envelope_data": "1", "image": "dB", "image_sc": "dB"}
"""Images and their units, the ones that hold more first."""

_SUFFIXES = (".h5", ".hdf5")
_WAVEFORM_HZ = 250e6
_TISSUE_M_S = 1540.0
_MM = 1e3


def matches(path: Path) -> bool:
    """Whether an HDF5 file has tracks with data, or channel data or an image beside a scan, as zea lays them out."""
    if has_items(path, _SUFFIXES, ("tracks/track_0/data",)):
        return True
    return any(has_items(path, _SUFFIXES, (f"data/{name}", "scan")) for name in ("raw_data", *PRODUCTS))


def read(path: Path, *, track: int | str = 0, product: str | None = None) -> Scan | Volume:
    """Read the channel data of a file as a scan, or one of its images as a volume.

    Parameters
    ----------
    path : HDF5 file
    track : number or label
    product : raw_data, beamformed_data, envelope_data, image or image_sc; by default the first of them that is there

    Raises
    ------
    InputError
        If something needed is missing, disagrees, or is compressed by a filter that is not installed.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            group = _track(file, path, track)
            held = [name for name in ("raw_data", *PRODUCTS) if name in group["data"]]
            wanted = held[0] if product is None and held else product
            if wanted not in held:
                raise InputError(f"{path} holds no {wanted or 'data'}: it has {', '.join(held) or 'none'}.")
            if wanted != "raw_data":
                return _volume(group["data"][wanted], str(wanted), path)
            known = {name: _value(item, path) for part in _parts(file, group) for name, item in part.items()}
            return _scan(_array(group["data/raw_data"], path), known, path)
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or truncated, or no zea file: {error}.") from error


def _track(file: Any, path: Path, track: int | str) -> Any:
    """The group that holds `data` and `scan`."""
    if "tracks" not in file:
        if track not in (0, "0"):
            raise InputError(f"{path} has no tracks, got track {track}: leave it out.")
        return file
    tracks = file["tracks"]
    labels = {name: str(np.asarray(_value(tracks[name].get("label"), path))) for name in tracks}
    for name, label in labels.items():
        if str(track) in (label, name, name.removeprefix("track_")):
            return tracks[name]
    listed = ", ".join(name.removeprefix("track_") + (f" ({label})" if label else "") for name, label in labels.items())
    raise InputError(f"{path} has no track {track}: it has {listed}.")


def _parts(file: Any, group: Any) -> list[Any]:
    """The groups whose entries describe the acquisition, later ones win."""
    return [part for part in (file.get("probe"), group.get("probe"), group.get("scan")) if part is not None]


def _value(item: Any, path: Path) -> Any:
    """A number, a text, an array, or the arrays of a group in the order of their names; "" for nothing."""
    if item is None:
        return ""
    if hasattr(item, "keys"):
        return [_value(item[name], path) for name in sorted(item)]
    value = _array(item, path)
    if value.dtype.kind in "SO":
        return "" if value.ndim else _text(value.item())
    return value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _array(dataset: Any, path: Path) -> NDArray[Any]:
    """A data set, also where a plug-in has to decompress it."""
    import h5py

    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    if not all(h5py.h5z.filter_avail(number[0]) for number in filters):
        try:
            import_module("hdf5plugin")  # registers the filters
        except ImportError as error:
            name = filters[-1][3].decode(errors="replace").split("\0")[0]
            raise InputError(
                f"{path} is compressed by '{name}', which h5py does not bring: pip install hdf5plugin."
            ) from error
    return np.asarray(dataset[()])


def _scan(raw: NDArray[Any], known: dict[str, Any], path: Path) -> Scan:
    if raw.ndim != 5 or raw.shape[-1] not in (1, 2):
        raise InputError(f"{path}: raw_data is (frame, transmit, sample, element, 1 or 2), got shape {raw.shape}.")
    missing = [
        f"{words} (scan/{name})"
        for name, words in {
            "sampling_frequency": "the sampling rate",
            "center_frequency": "the frequency of the pulse",
            "probe_geometry": "the positions of the elements",
            "initial_times": "the times of the first samples",
        }.items()
        if name not in known
    ]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: add it to the file.")
    assumed: list[str] = []
    data, axes = _channel_data(raw)
    count, samples = data.shape[-3], data.shape[-1]
    elements = _MM * np.asarray(known["probe_geometry"], dtype=float)
    if elements.shape != (data.shape[-2], 3):
        raise InputError(
            f"Probe and data of {path} disagree: probe_geometry is {elements.shape}, the data have {data.shape[-2]} "
            "elements."
        )
    centre = _one(known["center_frequency"], "center_frequency", assumed)
    speed = _one(known.get("sound_speed", _TISSUE_M_S), "sound_speed", assumed)
    if "sound_speed" not in known:
        assumed.append(f"speed of sound: {_TISSUE_M_S:g} m/s, the file does not say")
    for name in ("lens_correction", "lens_thickness"):
        if name in known and np.any(known[name]):
            assumed.append(f"lens of the probe: left out ({name} of the file)")
    first = np.broadcast_to(np.ravel(np.asarray(known["initial_times"], dtype=float)), (count,))
    fired, active = _fired(known, count, elements, path)
    place = Scan("ultrasound", data[..., :1], axes, {"sound_speed_m_s": speed}, image_grid((0, 1), (0, 1), (1, 1)))
    slowness = 1e-3 / float(speeds_m_s(place)[0][0])
    width = _MM * float(np.ravel(known["element_width"])[0]) if "element_width" in known else 0.0
    transmits = _transmits(known, count, elements, active, width or np.inf, 1 / (slowness * centre))
    if fired is not None:
        transmits, lag = _as_fired(transmits, fired, active, elements, slowness, centre, assumed)
        first = first - lag
    times = known.get("time_to_next_transmit")
    return channel_scan(
        data,
        axes,
        elements,
        transmits,
        sampling_hz=_one(known["sampling_frequency"], "sampling_frequency", assumed),
        centre_hz=centre,
        sound_speed_m_s=speed,
        first_sample_s=first,
        after_firing=fired is None,
        name=path.stem,
        demodulation_hz=_one(known.get("demodulation_frequency", centre), "demodulation_frequency", assumed)
        if np.iscomplexobj(data)
        else None,
        pulse_delay_s=_pulse_delays_s(known, count),
        element_width_mm=width or None,
        times_s=None if times is None or axes[0] != "t" else _frame_times(np.asarray(times), len(data)),
        tgc_gain=known["tgc_gain_curve"] if np.shape(known.get("tgc_gain_curve", 0)) == (samples,) else None,
        assumed="\n".join(assumed) or None,
    )


def _channel_data(raw: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """(t, transmit, element, sample), without t for one frame; the last axis of the file is RF, or I and Q."""
    wide = raw.astype(np.float32, copy=False)
    data = wide[..., 0] if raw.shape[-1] == 1 else wide[..., 0] + 1j * wide[..., 1]
    data = np.ascontiguousarray(data.swapaxes(-1, -2))
    axes = ("t", "transmit", "element", "sample")
    return (data[0], axes[1:]) if len(data) == 1 else (data, axes)


def _one(value: Any, name: str, assumed: list[str]) -> float:
    numbers = np.ravel(np.asarray(value, dtype=float))
    if np.ptp(numbers) > 1e-3 * abs(numbers[0]):
        assumed.append(f"{name}: that of the first transmit, {numbers[0]:g}; it differs among transmits")
    return float(numbers[0])


def _fired(
    known: dict[str, Any], count: int, elements: NDArray[np.float64], path: Path
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_]]:
    """When each element fires, None where the file does not say, and which do: (transmit, element)."""
    shape = (count, len(elements))
    for name in ("t0_delays", "tx_apodizations"):
        if name in known and np.shape(known[name]) != shape:
            raise InputError(
                f"Transmits and data of {path} disagree: {name} is {np.shape(known[name])}, the data have {shape} "
                "transmits and elements."
            )
    weights = np.asarray(known.get("tx_apodizations", np.ones(shape)), dtype=float)
    active = np.abs(weights) > 1e-3 * np.abs(weights).max(initial=1e-9)
    active[~active.any(axis=1)] = True
    fired = np.asarray(known["t0_delays"], dtype=float) if "t0_delays" in known else None
    return fired, active


def _transmits(
    known: dict[str, Any],
    count: int,
    elements: NDArray[np.float64],
    active: NDArray[np.bool_],
    element_width_mm: float,
    wavelength_mm: float,
) -> Transmits:
    """The waves as the file states them."""

    def each(name: str, default: float) -> NDArray[np.float64]:
        return np.broadcast_to(np.ravel(np.asarray(known.get(name, default), dtype=float)), (count,))

    metres = each("focus_distances", np.inf)
    far = np.isfinite(metres) & (np.abs(metres) >= 1)  # no ultrasound focus is a metre away: these are wavelengths
    focus = np.where(far, metres * wavelength_mm, _MM * metres)
    origins = _MM * np.broadcast_to(np.asarray(known.get("transmit_origins", np.zeros(3)), dtype=float), (count, 3))
    widths = np.array([np.ptp(elements[on, 0]) or element_width_mm for on in active])
    return Transmits.steered(focus, each("polar_angles", 0.0), each("azimuth_angles", 0.0), origins, widths)


def _as_fired(
    stated: Transmits,
    fired_s: NDArray[np.float64],
    active: NDArray[np.bool_],
    elements: NDArray[np.float64],
    slowness: float,
    centre_hz: float,
    assumed: list[str],
) -> tuple[Transmits, NDArray[np.float64]]:
    """The waves that the delays of the elements make, and when each passes its origin, (transmit,) in s.

    A focus of 0 stands for plane waves in some files; one element that fires alone is a source where it lies.
    """
    focus, origins = stated.focus_mm.copy(), stated.origins_mm.copy()
    for t in np.flatnonzero(active.sum(axis=1) == 1):
        focus[t], origins[t] = 0.0, elements[active[t]][0]
    plane = (focus == 0) & (active.sum(axis=1) > 1)
    focus[plane] = np.inf
    transmits = Transmits(focus, stated.directions, origins, stated.widths_mm)
    passes = transmits.times_s(elements, np.full(len(elements), slowness), 0.0)
    lag = np.array([(f - p)[on].mean() for f, p, on in zip(fired_s, passes, active, strict=True)])
    rest = [np.abs(f - p - s)[on].max() for f, p, s, on in zip(fired_s, passes, lag, active, strict=True)]
    off = np.flatnonzero(np.array(rest) > 0.25 / centre_hz)
    if plane.any():
        assumed.append(f"{int(plane.sum())} transmits of focus 0: plane waves, as many elements fire")
    if len(off):
        assumed.append(
            f"delays of {len(off)} transmits do not fit their focus and angles, by up to {max(rest) * 1e9:.0f} ns "
            f"(transmit {off[0]}): focus and angles are used"
        )
    return transmits, lag


def _pulse_delays_s(known: dict[str, Any], count: int) -> NDArray[np.float64] | None:
    """The lag of the two-way pulse of each transmit, where the file holds it: (transmit,)."""
    pulses = known.get("waveforms_two_way")
    if pulses is None or isinstance(pulses, str) or not len(pulses):
        return None
    lags = np.array([pulse_lag_s(pulse, _WAVEFORM_HZ) for pulse in pulses])
    if "tx_waveform_indices" in known:
        lags = lags[np.ravel(known["tx_waveform_indices"]).astype(int)]
    return np.broadcast_to(lags, (count,)).copy() if len(lags) in (1, count) else None


def _frame_times(steps_s: NDArray[Any], frames: int) -> NDArray[np.float64] | None:
    if steps_s.ndim != 2 or len(steps_s) != frames or not (steps_s > 0).all():
        return None
    return np.concatenate([[0.0], np.cumsum(steps_s.sum(axis=1))[:-1]])


def _volume(item: Any, name: str, path: Path) -> Volume:
    """A product (frame, z, x), or with a channel axis of RF or I and Q at the end of beamformed data."""
    group = hasattr(item, "keys")
    values = _array(item["values"] if group else item, path)
    if name == "beamformed_data" and values.ndim == 4:
        values = values[..., 0] if values.shape[-1] == 1 else values[..., 0] + 1j * values[..., 1]
    if values.ndim != 3:
        raise InputError(f"{path}: {name} of shape {values.shape} is no series of planes (frame, z, x).")
    units = "1" if values.dtype.kind in "biu" else PRODUCTS[name]
    data = values.astype(np.float32) if values.dtype.kind in "biu" else values
    data = np.where(np.isneginf(data), -200.0, data).astype(data.dtype) if units == "dB" else data
    tags: dict[str, Any] = {"modality": "US", "format": "zea"}
    if group and "coordinates" in item:
        places = _MM * np.asarray(_array(item["coordinates"], path), dtype=float)
        grid, beams = grid_through(places[0] if places.ndim == 4 else places)
        data = data.swapaxes(-1, -2) if beams else data
    else:
        grid = image_grid((0.0, data.shape[-1] - 1.0), (0.0, data.shape[-2] - 1.0), (1.0, 1.0))
        tags["placed"] = "lengths in pixels: the file has no coordinates"
    frames = np.ascontiguousarray(data[:, None])
    return Volume(frames[0] if len(frames) == 1 else frames, grid, units=units, tags=tags)
