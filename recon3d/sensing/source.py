"""Measurement sources: simulated from full data, a function, or a program that talks to a scanner."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon3d.errors import InputError
from recon3d.sensing.units import Unit, Units

__all__ = ["CallableSource", "MeasurementSource", "ProcessSource", "SimulatedSource", "measure"]

TIMEOUT_S = 60.0


class MeasurementSource(Protocol):
    """Whatever can be asked for one unit at a time; the only gate to data that were not measured yet.

    Attributes
    ----------
    units : what can be asked for
    """

    units: Units

    def acquire(self, unit: Unit) -> Any:
        """The data of one unit, of shape `units.data_shape(unit)`."""
        ...


class SimulatedSource:
    """A finished scan that is handed out unit by unit; `asked` keeps who was asked for."""

    def __init__(self, units: Units, y: Tensor) -> None:
        units.space.check(y, "The data")
        self.units, self.asked = units, list[Unit]()
        self._y = y

    def acquire(self, unit: Unit) -> Tensor:
        self.asked.append(unit)
        return self._y[self.units.where(unit)]


class CallableSource:
    """A function of the unit, e.g. a call to a scanner's interface.

    Parameters
    ----------
    units : what can be asked for
    function : Unit -> array of shape `units.data_shape(unit)`
    timeout_s : longest wait for one answer
    """

    def __init__(self, units: Units, function: Callable[[Unit], Any], timeout_s: float = TIMEOUT_S) -> None:
        self.units, self.function, self.timeout_s = units, function, timeout_s

    def acquire(self, unit: Unit) -> Any:
        return _within(self.timeout_s, lambda: self.function(unit), unit)


class ProcessSource:
    """A program beside us: it reads one JSON line per unit and answers with the raw numbers of that unit.

    The line is ``{"unit": 17, "slice": null, "shape": [8, 1, 96], "dtype": "complex64"}``; the answer is exactly that
    many little-endian numbers in C order on its standard output, nothing else. Its standard error is ours.

    Parameters
    ----------
    units : what can be asked for
    command : program and arguments
    timeout_s : longest wait for one answer; the program is then stopped
    """

    def __init__(self, units: Units, command: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
        self.units, self.command, self.timeout_s = units, list(command), timeout_s
        try:
            self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise InputError(f"The measurement program {self.command[0]} does not start: {error.strerror}.") from error

    def __enter__(self) -> ProcessSource:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Tell the program that nothing more is asked for, and stop it if it stays."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def acquire(self, unit: Unit) -> NDArray[Any]:
        shape, name = self.units.data_shape(unit), str(self.units.space.dtype).removeprefix("torch.")
        kind = np.dtype(name).newbyteorder("<")
        line = json.dumps({"unit": unit.index, "slice": unit.slice, "shape": shape, "dtype": name}) + "\n"
        size = int(np.prod(shape)) * kind.itemsize

        def talk() -> bytes:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            try:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError):
                return b""
            return self._process.stdout.read(size)

        try:
            answer = _within(self.timeout_s, talk, unit)
        except InputError:
            self._process.kill()
            raise
        if len(answer) < size:
            raise InputError(
                f"The measurement program ended at unit {unit.index}: expected {size} bytes, got {len(answer)}; see "
                "what it wrote to its standard error."
            )
        return np.frombuffer(answer, kind).reshape(shape)


def _within(seconds: float, work: Callable[[], Any], unit: Unit) -> Any:
    """The result of `work`, or one sentence when it takes longer; the waiting thread is left behind."""
    box: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            box.put((True, work()))
        except Exception as error:
            box.put((False, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        good, value = box.get(timeout=seconds)
    except queue.Empty:
        raise InputError(
            f"The measurement source did not answer for unit {unit.index} within {seconds:g} s: check it, or allow "
            "more time (timeout_s)."
        ) from None
    if not good:
        raise InputError(f"The measurement source failed at unit {unit.index}: {value}.") from value
    return value


def measure(source: MeasurementSource, unit: Unit, like: Tensor) -> Tensor:
    """What a source answers, checked: shape, finite numbers; in the precision and on the device of `like`.

    Raises
    ------
    InputError
        In one sentence that names the unit.
    """
    answer = source.acquire(unit)
    values = answer if isinstance(answer, Tensor) else torch.from_numpy(np.array(answer))
    wanted = source.units.data_shape(unit)
    if tuple(values.shape) != wanted:
        raise InputError(
            f"The measurement source answered for unit {unit.index} with shape {tuple(values.shape)}, "
            f"expected {wanted}."
        )
    if values.is_complex() and not like.is_complex():
        raise InputError(f"The measurement source answered for unit {unit.index} with complex numbers, expected real.")
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise InputError(
            f"The measurement source answered for unit {unit.index} with {bad} NaN or infinite values: "
            "measure it again."
        )
    return values.to(like.device, like.dtype)
