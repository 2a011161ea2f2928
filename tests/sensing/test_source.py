"""Sources: what they answer is checked; what goes wrong is told in one sentence that names the unit."""

from __future__ import annotations

import sys
import time

import pytest
import torch

from operators.space import Space
from recon3d.errors import InputError
from recon3d.sensing.source import CallableSource, ProcessSource, SimulatedSource, measure
from recon3d.sensing.units import Unit, Units

UNITS = Units(Space(("coil", "kx"), (2, 5), torch.complex64), ("kx",))
LIKE = torch.zeros(1, dtype=torch.complex64)

ECHO = """
import json, sys, numpy as np
for line in sys.stdin:
    asked = json.loads(line)
    if asked["unit"] == 4: break
    answer = np.full(asked["shape"], asked["unit"] + 1j, asked["dtype"])
    sys.stdout.buffer.write(answer.tobytes()); sys.stdout.flush()
"""


def test_a_finished_scan_is_handed_out_unit_by_unit() -> None:
    y = torch.arange(10).reshape(2, 5).to(torch.complex64)
    source = SimulatedSource(UNITS, y)
    assert torch.equal(measure(source, Unit(3), LIKE), y[:, 3])
    assert source.asked == [Unit(3)]


def test_a_function_is_asked_with_the_unit() -> None:
    source = CallableSource(UNITS, lambda unit: [unit.index, 2.0])
    answer = measure(source, Unit(3), LIKE)
    assert torch.equal(answer, torch.tensor([3, 2], dtype=torch.complex64))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1.0, float("nan")], "unit 3 with 1 NaN"),
        ([1.0], r"shape \(1,\), expected \(2,\)"),
    ],
)
def test_bad_answers_are_told(answer: list[float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        measure(CallableSource(UNITS, lambda unit: answer), Unit(3), LIKE)


def test_complex_answers_to_real_questions_are_told() -> None:
    with pytest.raises(InputError, match="complex numbers, expected real"):
        measure(CallableSource(UNITS, lambda unit: [1j, 2]), Unit(3), torch.zeros(1))


def test_no_answer_is_told() -> None:
    with pytest.raises(InputError, match=r"did not answer for unit 3 within 0\.05 s"):
        CallableSource(UNITS, lambda unit: time.sleep(5), timeout_s=0.05).acquire(Unit(3))


def test_a_failure_keeps_its_cause() -> None:
    def broken(unit: Unit) -> None:
        raise OSError("gradient amplifier off")

    with pytest.raises(InputError, match="failed at unit 3: gradient amplifier off") as told:
        CallableSource(UNITS, broken).acquire(Unit(3))
    assert isinstance(told.value.__cause__, OSError)


def test_a_program_answers_in_bytes() -> None:
    with ProcessSource(UNITS, [sys.executable, "-c", ECHO], timeout_s=30) as source:
        for index in (2, 0):
            assert torch.equal(measure(source, Unit(index), LIKE), torch.full((2,), index + 1j, dtype=torch.complex64))
        with pytest.raises(InputError, match="ended at unit 4: expected 16 bytes, got 0"):
            source.acquire(Unit(4))
        with pytest.raises(InputError, match="ended at unit 1"):
            source.acquire(Unit(1))


def test_a_program_that_hangs_is_stopped() -> None:
    with ProcessSource(UNITS, [sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.3) as source:
        with pytest.raises(InputError, match="did not answer for unit 1"):
            source.acquire(Unit(1))
        assert source._process.wait(timeout=5) != 0


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no-such-program does not start"):
        ProcessSource(UNITS, ["no-such-program"])
