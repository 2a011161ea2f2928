"""Files of other toolkits, written by their descriptions: echoes of one point, delays from first principles."""

import h5py
import numpy as np

SPEED, RATE, CENTRE, LAG_S = 1540.0, 20e6, 5e6, 0.3e-6
TARGET_MM = np.array([2.0, 0.0, 18.0])
ELEMENTS_MM = np.stack([0.3 * (np.arange(32) - 15.5), np.zeros(32), np.zeros(32)], axis=1)
SAMPLES = 700


def pulse(t):
    return np.exp(-((t / 0.15e-6) ** 2)) * np.cos(2 * np.pi * CENTRE * t)


def firing_s(kind):
    """When each element fires, the first at 0, and which do."""
    x = 1e-3 * ELEMENTS_MM[:, 0]
    if kind == "plane":  # 8 degrees to the right
        delay, on = x * np.sin(np.deg2rad(8)) / SPEED, np.ones(32, bool)
    elif kind == "diverging":  # from 10 mm behind the middle
        delay, on = np.hypot(x, 10e-3) / SPEED, np.ones(32, bool)
    elif kind == "focused":  # 25 mm below x = 2 mm, by 16 elements about x = 1.95 mm
        on = np.abs(x - 1.95e-3) < 2.41e-3
        delay = -np.hypot(x - 1.95e-3, 25e-3) / SPEED
    else:
        on = np.arange(32) == 20
        delay = np.zeros(32)
    return np.where(on, delay - delay[on].min(), 0.0), on


def arrival_s(kind):
    """When the wave of `firing_s` reaches the target."""
    delay, on = firing_s(kind)
    x = 1e-3 * ELEMENTS_MM[:, 0]
    if kind == "plane":
        there = 1e-3 * (TARGET_MM[0] * np.sin(np.deg2rad(8)) + TARGET_MM[2] * np.cos(np.deg2rad(8))) / SPEED
        return there + (delay - x * np.sin(np.deg2rad(8)) / SPEED)[on].mean()
    if kind == "diverging":
        return np.hypot(TARGET_MM[0], TARGET_MM[2] + 10) * 1e-3 / SPEED + (delay - np.hypot(x, 10e-3) / SPEED).mean()
    if kind == "focused":  # before the focus, on the axis of the beam but for 0.05 mm
        return (delay[on] + np.hypot(x[on] - 1.95e-3, 25e-3) / SPEED).mean() - (25 - 18) * 1e-3 / SPEED
    return 1e-3 * np.linalg.norm(TARGET_MM - ELEMENTS_MM[20]) / SPEED


def echoes(kind, first_sample_s, lag_s=0.0):
    """RF (element, sample) of the target; times count from when the first element fires."""
    back = 1e-3 * np.linalg.norm(TARGET_MM - ELEMENTS_MM, axis=1) / SPEED
    t = first_sample_s + np.arange(SAMPLES) / RATE
    return pulse(t - (arrival_s(kind) + back)[:, None] - lag_s)


def baseband(rf, carrier_hz, from_s):
    """Mixed down by a carrier of phase 0 at time 0, where the first sample is taken at `from_s`."""
    from scipy.signal import hilbert

    t = from_s + np.arange(rf.shape[-1]) / RATE
    return hilbert(rf, axis=-1) * np.exp(-2j * np.pi * carrier_hz * t)


def write_zea(path, kinds, *, tracks=False, iq=False, drop=(), frames=1, compression=None, **changes):
    """Channel data of these transmits in the legacy or the track layout."""
    initial = np.full(len(kinds), 4e-6)
    rf = np.stack([echoes(kind, initial[0], LAG_S) for kind in kinds])
    raw = np.stack([rf.swapaxes(-1, -2)] * frames)[..., None]  # (frame, transmit, sample, element, 1)
    if iq:
        z = np.stack([baseband(rf, CENTRE, 0.0).swapaxes(-1, -2)] * frames)
        raw = np.stack([z.real, z.imag], axis=-1)
    fired, on = (np.stack(part) for part in zip(*map(firing_s, kinds), strict=True))
    focus = {"plane": np.inf, "diverging": -10e-3, "focused": 25e-3, "element": 0.0}
    angle = {"plane": np.deg2rad(8)}
    origin = {"focused": 1.95e-3}
    t = np.arange(251) / 250e6
    scan = {
        "sampling_frequency": RATE, "center_frequency": CENTRE, "sound_speed": SPEED, "initial_times": initial,
        "t0_delays": fired, "tx_apodizations": on.astype(np.float32), "probe_geometry": 1e-3 * ELEMENTS_MM,
        "focus_distances": [focus[kind] for kind in kinds], "polar_angles": [angle.get(kind, 0.0) for kind in kinds],
        "transmit_origins": [[origin.get(kind, 0.0), 0.0, 0.0] for kind in kinds],
        "waveforms_two_way": np.stack([pulse(t - LAG_S)] * len(kinds)), "element_width": 0.27e-3,
    }  # fmt: skip
    if iq:
        scan["demodulation_frequency"] = CENTRE
    scan |= changes
    with h5py.File(path, "w") as file:
        if tracks:
            file.attrs["zea_version"] = "0.1.8"
            root, probe = file.create_group("tracks/track_0"), {"probe_geometry": scan.pop("probe_geometry")}
            root["label"] = "bmode"
            for name, value in probe.items():
                root[f"probe/{name}"] = value
        else:
            root = file
        root.create_dataset("data/raw_data", data=raw.astype(np.float32), compression=compression)
        for name, value in scan.items():
            if name not in drop:
                root[f"scan/{name}"] = value
    return path


def write_uff(path, kinds, *, iq=False, drop=()):
    """Channel data of these waves; time 0 is when a wave passes the origin of the coordinates."""
    initial = 5e-6
    shift = []  # from the first firing to time 0
    for kind in kinds:
        delay, on = firing_s(kind)
        x = 1e-3 * ELEMENTS_MM[:, 0]
        if kind == "plane":
            shift.append((delay - x * np.sin(np.deg2rad(8)) / SPEED).mean())
        elif kind == "diverging":
            shift.append((delay - np.hypot(x, 10e-3) / SPEED).mean() + 10e-3 / SPEED)
        elif kind == "focused":  # when a sphere about the focus would pass the origin
            reach = (delay[on] + np.hypot(x[on] - 1.95e-3, 25e-3) / SPEED).mean()
            shift.append(reach - np.hypot(1.95e-3, 25e-3) / SPEED)
        else:  # the source fires 15.5 pitches aside of the origin
            shift.append(-abs(1e-3 * ELEMENTS_MM[20, 0]) / SPEED)
    rf = np.stack([echoes(kind, initial + start) for kind, start in zip(kinds, shift, strict=True)])
    with h5py.File(path, "w") as file:
        group = file.create_group("channel_data")
        group.attrs["class"] = "uff.channel_data"
        if iq:
            z = baseband(rf, CENTRE, initial)[None]
            group["data/real"], group["data/imag"] = z.real, z.imag
        else:
            group["data"] = rf[None]
        values = {"sampling_frequency": RATE, "initial_time": initial, "sound_speed": SPEED,
                  "modulation_frequency": CENTRE if iq else 0.0}  # fmt: skip
        for name, value in values.items():
            if name not in drop:
                group[name] = [[value]]
        group["pulse/center_frequency"] = [[CENTRE]]
        geometry = np.zeros((7, 32))
        geometry[:3], geometry[5] = 1e-3 * ELEMENTS_MM.T, 0.27e-3
        group["probe/geometry"] = geometry
        group["probe"].attrs["class"] = "uff.linear_array"
        points = {
            "plane": (0, np.inf, np.deg2rad(8)), "diverging": (1, 10e-3, np.pi),
            "focused": (1, np.hypot(1.95e-3, 25e-3), np.arctan2(1.95, 25)),
            "element": (1, 1e-3 * ELEMENTS_MM[20, 0], np.pi / 2),
        }  # fmt: skip
        for k, kind in enumerate(kinds):
            wave = group.create_group(f"sequence/sequence_{k + 1:04d}" if len(kinds) > 1 else "sequence")
            front, distance, azimuth = points[kind]
            wave["wavefront"] = [[front]]
            for name, value in {"distance": distance, "azimuth": azimuth, "elevation": 0.0}.items():
                wave[f"source/{name}"] = [[value]]
            if kind == "focused":
                for name, value in {"distance": 1.95e-3, "azimuth": np.pi / 2, "elevation": 0.0}.items():
                    wave[f"origin/{name}"] = [[value]]
    return path
