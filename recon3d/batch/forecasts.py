"""Forecasts of a batch: one row per case, planned by the workers that would reconstruct it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from recon3d.batch.engine import Batch
from recon3d.batch.live import LiveTable
from recon3d.batch.setup import Placement

MEBI = 2**20


def forecast_rows(batch: Batch, place: Placement, *, quiet: bool = False) -> list[dict[str, Any]]:
    """Plan every case, its input read but nothing written; faults are kept in the batch."""
    rows = []
    with LiveTable(len(batch.jobs), quiet=quiet) as live, place.pool_for(batch)(live.tell) as pool:
        for job in batch.jobs:
            pool.submit(job)
        while (ended := pool.next()) is not None:
            job, outcome = ended
            batch.outcomes[job.case] = outcome
            live.end(outcome, again=False)
            facts = outcome.facts if outcome.state == "planned" else {}
            rows.append(
                {
                    "case": job.case,
                    "state": {"skipped": "done before", "failed": "cannot be done"}.get(outcome.state, outcome.state),
                    "method": facts.get("method", ""),
                    "host MiB": round(facts["host"] / MEBI) if facts else "",
                    "GPU MiB": round(facts["device"] / MEBI) if facts else "",
                    "A^H A": math.ceil(facts["operators"]) if facts else "",
                    "networks": math.ceil(facts["networks"]) if facts else "",
                    "minutes": facts["seconds"] / 60 if facts else "",
                    "plan": facts.get("plan", ""),
                }
            )
    return sorted(rows, key=lambda row: str(row["case"]))


def totals(rows: Sequence[dict[str, Any]], place: Placement) -> str:
    """The whole batch in a sentence."""
    planned = [row for row in rows if row["state"] == "planned"]
    minutes = sum(float(row["minutes"]) for row in planned) / place.workers
    largest = max((int(row["host MiB"]) for row in planned), default=0)
    return (
        f"{len(planned)} of {len(rows)} cases to do: about {minutes:.2g} minutes, up to {largest} MiB for each worker."
    )
