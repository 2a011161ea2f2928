"""UFF of the Ultrasound Toolbox (USTB): HDF5 groups with a `class`; channel data become a scan, images a volume.

Arrays lie transposed as MATLAB writes them: data (frame, wave, channel, sample), probe geometry (7, element). Time is 0
when a wave passes the origin of the coordinates; baseband data are mixed down by a carrier whose phase is 0 then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.ultrasound import Transmits
from recon3d.beams import grid_through
from recon3d.errors import InputError
from recon3d.io.channel_data import channel_scan
from recon3d.scan import Scan
from recon3d.volume import Volume

UNDERSTOOD = "UFF of USTB (.uff)"

_SUFFIXES = (".uff", ".h5", ".hdf5")
_CHANNELS, _IMAGE = "uff.channel_data", "uff.beamformed_data"
_MM = 1e3
_PLANE, _PHOTOACOUSTIC = 0, 2
_ON_PROBE_MM = 1.0


def matches(path: Path) -> bool:
    """Whether an HDF5 file has a group of a UFF class that is read here."""
    if not path.is_file() or not path.name.lower().endswith(_SUFFIXES):
        return False
    import h5py

    try:
        with h5py.File(path) as file:
            return bool(_objects(file))
    except OSError:
        return path.suffix.lower() == ".uff"  # a damaged one is claimed, so that `read` says what is wrong


def read(path: Path, *, location: str | None = None) -> Scan | Volume:
    """Read channel data as a scan, or beamformed data as a volume.

    Parameters
    ----------
    path : HDF5 file
    location : name of the object in the file; by default the first channel data, else the first image

    Raises
    ------
    InputError
        If something needed is missing, or of a kind that is not read.
    """
    import h5py

    try:
        with h5py.File(path) as file:
            objects = _objects(file)
            preferred = sorted(objects, key=lambda name: objects[name] != _CHANNELS)
            chosen = location or next(iter(preferred), "")
            if chosen not in objects:
                raise InputError(f"{path} has no object '{chosen}': it has {', '.join(objects) or 'none'}.")
            found = _Object(file[chosen], path)
            return _scan(found) if objects[chosen] == _CHANNELS else _volume(found)
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or truncated, or no UFF file: {error}.") from error


def _objects(file: Any) -> dict[str, str]:
    found = {name: _class(file[name]) for name in file}
    return {name: kind for name, kind in found.items() if kind in (_CHANNELS, _IMAGE)}


def _class(item: Any) -> str:
    stated = item.attrs.get("class", "")
    return stated.decode() if isinstance(stated, bytes) else str(np.ravel(stated)[0] if np.size(stated) else "")


class _Object:
    """A UFF object: its fields are numbers, arrays or objects."""

    def __init__(self, group: Any, path: Path) -> None:
        self.group, self.path = group, path

    def __contains__(self, name: str) -> bool:
        return name in self.group

    def array(self, name: str) -> NDArray[Any]:
        """An array as stored; complex ones are stored in two."""
        if name not in self.group:
            raise InputError(f"{self.path} lacks '{name}' in {self.group.name}.")
        item = self.group[name]
        if hasattr(item, "keys"):
            return np.asarray(item["real"][()] + 1j * item["imag"][()])
        return np.asarray(item[()])

    def number(self, name: str, default: float | None = None) -> float:
        """A number, or the default where the field is missing or empty."""
        values = np.ravel(self.array(name)) if name in self.group else np.empty(0)
        if values.size:
            return float(values[0])
        if default is None:
            words = {
                "sampling_frequency": "the sampling rate (sampling_frequency)",
                "sound_speed": "the speed of sound",
            }
            raise InputError(f"{self.path} lacks {words.get(name, name)} in {self.group.name}.")
        return default

    def object(self, name: str) -> _Object:
        if name not in self.group:
            raise InputError(f"{self.path} lacks '{name}' in {self.group.name}.")
        return _Object(self.group[name], self.path)

    def objects(self, name: str) -> list[_Object]:
        """The members of a list, which may be one object."""
        group = self.object(name).group
        members = [group[key] for key in sorted(group) if key.startswith(f"{name}_")]
        return [_Object(member, self.path) for member in members or [group]]

    def point_mm(self, name: str) -> NDArray[np.float64]:
        """A point by distance, azimuth and elevation; at the origin where the field is missing."""
        if name not in self.group:
            return np.zeros(3)
        point = self.object(name)
        distance = point.number("distance", 0.0)
        return _MM * distance * _direction(point) if np.isfinite(distance) else np.full(3, np.inf)


def _direction(point: _Object) -> NDArray[np.float64]:
    azimuth, elevation = point.number("azimuth", 0.0), point.number("elevation", 0.0)
    return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])


def _scan(channels: _Object) -> Scan:
    data = channels.array("data")
    data = data.reshape((1,) * (4 - data.ndim) + data.shape)
    probe = channels.object("probe")
    geometry = probe.array("geometry")
    elements = _MM * np.asarray(geometry[:3].T, dtype=float)
    waves = channels.objects("sequence")
    if data.ndim != 4 or data.shape[1:3] != (len(waves), len(elements)):
        raise InputError(
            f"Probe, sequence and data of {channels.path} disagree: {len(elements)} elements and {len(waves)} waves, "
            f"the data are {data.shape} (frame, wave, channel, sample)."
        )
    speed = channels.number("sound_speed")
    rate = channels.number("sampling_frequency")
    carrier = channels.number("modulation_frequency", 0.0)
    pulse = channels.object("pulse") if "pulse" in channels else None
    centre = carrier if pulse is None else pulse.number("center_frequency", carrier)
    if not centre > 0:
        raise InputError(f"{channels.path} lacks the frequency of the pulse (pulse/center_frequency).")
    initial = channels.number("initial_time", 0.0)
    width = _MM * float(geometry[5, 0]) if len(geometry) > 5 else 0.0
    transmits, offset = _transmits(waves, elements, width or np.inf, speed)
    first = initial + np.array([wave.number("delay", 0.0) for wave in waves]) - offset
    baseband = np.iscomplexobj(data)
    if baseband:  # our carrier has phase 0 at the first sample
        data = data * np.exp(2j * np.pi * ((carrier * initial) % 1.0))
    rate_hz = channels.number("PRF", channels.number("prf", 0.0))
    narrow = np.ascontiguousarray(data, np.complex64 if baseband else np.float32)
    frames = len(narrow) > 1
    return channel_scan(
        narrow if frames else narrow[0],
        (("t",) if frames else ()) + ("transmit", "element", "sample"),
        elements,
        transmits,
        sampling_hz=rate,
        centre_hz=centre,
        sound_speed_m_s=speed,
        first_sample_s=first,
        name=channels.path.stem,
        demodulation_hz=carrier if baseband else None,
        element_width_mm=width or None,
        times_s=np.arange(len(narrow)) * len(waves) / rate_hz if frames and rate_hz > 0 else None,
    )


def _transmits(
    waves: list[_Object], elements: NDArray[np.float64], element_width_mm: float, speed_m_s: float
) -> tuple[Transmits, NDArray[np.float64]]:
    """The waves, and how long after time 0 each passes the origin of its aperture, (wave,) in s."""
    focus, directions, origins, offset = [], [], [], []
    for wave in waves:
        kind = int(wave.number("wavefront", 1.0))
        if kind == _PHOTOACOUSTIC:
            raise InputError(f"{wave.path} holds photoacoustic data: only pulse-echo data are read.")
        source, place = wave.object("source"), wave.point_mm("source")
        origin = wave.point_mm("origin")
        if kind == _PLANE or not np.isfinite(place).all():
            directions.append(_direction(source))
            focus.append(np.inf)
            offset.append(float(origin @ directions[-1]))
        elif abs(place[2]) < _ON_PROBE_MM:  # a source on the probe: one element, or a point between them
            origin = place
            focus.append(0.0)
            directions.append(np.array([0.0, 0.0, 1.0]))
            offset.append(float(np.linalg.norm(place)))
        else:
            side = 1.0 if place[2] > 0 else -1.0
            distance = float(np.linalg.norm(place - origin))
            focus.append(side * distance)
            directions.append(side * (place - origin) / distance)
            offset.append(side * (float(np.linalg.norm(place)) - distance))
        origins.append(origin)
    widths = np.where(np.array(focus) == 0, element_width_mm, float(np.ptp(elements[:, 0])) or np.inf)
    transmits = Transmits(np.array(focus), np.array(directions), np.array(origins), widths)
    return transmits, np.array(offset) * 1e-3 / speed_m_s


def _volume(image: _Object) -> Volume:
    """An image (frame, wave, channel, pixel) on a linear or a sector scan; pixels run along the depth first."""
    scan = image.object("scan")
    if "x_axis" in scan and "z_axis" in scan:
        x, z = np.meshgrid(np.ravel(scan.array("x_axis")), np.ravel(scan.array("z_axis")))
    elif "azimuth_axis" in scan and "depth_axis" in scan:
        angle, depth = np.meshgrid(np.ravel(scan.array("azimuth_axis")), np.ravel(scan.array("depth_axis")))
        apex = scan.point_mm("apex" if "apex" in scan else "origin") / _MM
        x, z = apex[0] + depth * np.sin(angle), apex[2] + depth * np.cos(angle)
    else:
        raise InputError(f"{image.path}: the scan of the image is neither linear nor a sector, so it is not read.")
    data = image.array("data")
    if data.shape[-1] != x.size:
        data = data.T  # some writers keep the order (pixel, channel, wave, frame)
    if data.shape[-1] != x.size or data.size % x.size or max(data.shape[-3:-1], default=1) > 1:
        raise InputError(
            f"Scan and image of {image.path} disagree: {x.size} places, the data are {data.shape} (frame, wave, "
            "channel, pixel); one wave and one channel are read."
        )
    grid, beams = grid_through(_MM * np.stack([x, np.zeros_like(x), z], axis=-1))
    frames = data.reshape(-1, x.shape[1], x.shape[0])  # lines one after another
    frames = frames if beams else frames.swapaxes(-1, -2)
    narrow = np.complex64 if np.iscomplexobj(frames) else np.float32
    planes = np.ascontiguousarray(frames[:, None], narrow)
    rate = image.number("frame_rate", 0.0)
    times = tuple(np.arange(len(planes)) / rate) if len(planes) > 1 and rate > 0 else None
    tags = {"modality": "US", "format": "UFF"}
    return Volume(planes[0] if len(planes) == 1 else planes, grid, units="1", times_s=times, tags=tags)
