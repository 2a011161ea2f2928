"""Progress: plain lines with the time left away from a terminal, a bar on one."""

from __future__ import annotations

import io

import pytest

from recon3d.runtime import progress
from recon3d.runtime.progress import ProgressReport


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_at_intervals_and_tell_the_time_left(clock: list[float]) -> None:
    stream = io.StringIO()
    report = ProgressReport("tv", stream)
    report.begin(100, 20)
    for done in range(21, 41):
        clock[0] += 1.0
        report.advance(done, {"residual": 0.123456})
    report.close()
    assert stream.getvalue().splitlines() == [
        "tv: 30/100, 1 min 10 s left  residual 0.123",
        "tv: 40/100, 1 min 00 s left  residual 0.123",
    ]


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    stream = Terminal()
    report = ProgressReport("tv", stream)
    report.begin(3, 0)
    report.advance(2, {"residual": 0.5})
    report.say("half way")
    report.close()
    report.close()
    assert "tv" in stream.getvalue()
    assert "half way" in stream.getvalue()


def test_messages_are_kept_as_lines() -> None:
    stream = io.StringIO()
    ProgressReport("tv", stream).say("Resuming.")
    assert stream.getvalue() == "Resuming.\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3601, "60 min 01 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert progress._duration(seconds) == text
