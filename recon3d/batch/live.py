"""What a person sees of a batch while it runs: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from recon3d.batch.jobs import Outcome

_ENDED = {"done": "done", "skipped": "done before", "planned": "planned", "interrupted": "interrupted"}
RECENT = 6
"""Cases that ended which stay in the table."""


class LiveTable:
    """Shows which cases run and how far they are; writes to `stream` (standard error by default)."""

    def __init__(self, total: int, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.total = total
        self.stream = stream or sys.stderr
        self._quiet = quiet
        self._began = time.monotonic()
        self._running: dict[str, dict[str, Any]] = {}
        self._ended: list[tuple[str, str, str]] = []
        self._counts: dict[str, int] = {}
        self._live: Live | None = None

    def __enter__(self) -> LiveTable:
        if not self._quiet and self.stream.isatty():
            self._live = Live(get_renderable=self._table, console=Console(file=self.stream), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, event: Mapping[str, Any]) -> None:
        """What a worker says of a case."""
        case = str(event["case"])
        if event["event"] == "start":
            self._running[case] = {"process": event["process"], "since": time.monotonic(), "done": 0, "total": 0}
        elif case in self._running and event["event"] in ("begin", "advance"):
            self._running[case] |= {"done": event["done"], "total": event["total"]}

    def end(self, outcome: Outcome, *, again: bool) -> None:
        """An attempt ended; `again` says whether another follows."""
        self._running.pop(outcome.case, None)
        state = "again" if again else _ENDED.get(outcome.state, "failed")
        if not again:
            self._counts[state] = self._counts.get(state, 0) + 1
        self._ended.append((outcome.case, state, outcome.fault))
        if self._live is None and not self._quiet:
            fault = f": {outcome.fault}" if outcome.fault else ""
            ended = f"[{sum(self._counts.values())}/{self.total}] {outcome.case}: {state}"
            print(_plain(f"{ended} after {outcome.seconds:.1f} s{fault}"), file=self.stream, flush=True)

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for name in ("case", "state", "iteration", "time", "process"):
            table.add_column(name, overflow="ellipsis", no_wrap=True)
        for case, state, fault in self._ended[-RECENT:]:
            table.add_row(Text(_plain(case)), Text(f"{state} {_plain(fault)}".strip()), "", "", "")
        now = time.monotonic()
        for case, facts in list(self._running.items()):
            steps = f"{facts['done']}/{facts['total']}" if facts["total"] else ""
            row = (_plain(case), "running", steps, f"{now - facts['since']:.0f} s", str(facts["process"]))
            table.add_row(*(Text(cell) for cell in row))
        ended = sum(self._counts.values())
        counts = "  ".join(f"{state} {count}" for state, count in self._counts.items())
        left = (now - self._began) / ended * (self.total - ended) if ended else None
        told = f", about {left / 60:.0f} min left" if left is not None and ended < self.total else ""
        return Group(table, Text(f"{ended} of {self.total}{told}  {counts}"))


def _plain(text: str) -> str:
    """Without what would move the cursor: names of files are not ours."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
