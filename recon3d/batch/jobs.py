"""Jobs and outcomes: what goes to a worker and what comes back, as JSON, so that any transport will do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import recon3d

State = Literal["done", "skipped", "planned", "failed", "interrupted"]
Kind = Literal["", "permanent", "transient", "lost", "full"]


@dataclass(frozen=True)
class Job:
    """One attempt at a case.

    Parameters
    ----------
    case, input, output : its name, its file or folder, the file of its result
    config : validated configuration, as plain values
    overwrite : whether a result of another configuration or input may be replaced
    plan_only : forecast it, reconstruct nothing
    attempt : counted from 1
    shrink : share of the memory limit that it may plan with; less after it has brought workers down
    version : of the recon3d that asks, which that of the worker must be
    """

    case: str
    input: str
    output: str
    config: Mapping[str, Any]
    overwrite: bool = False
    plan_only: bool = False
    attempt: int = 1
    shrink: float = 1.0
    version: str = recon3d.__version__

    def again(self, shrink: float = 1.0) -> Job:
        """The next attempt."""
        return replace(self, attempt=self.attempt + 1, shrink=self.shrink * shrink)

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Job:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Outcome:
    """What came of a job.

    Parameters
    ----------
    state : "skipped" is finished by an earlier run
    kind : of a fault: "permanent" (the next attempt fails as well), "transient", "lost" (the worker died), "full" (the
        disk has no room, for this case or any other)
    fault : in one sentence
    facts : numbers for the summary, or the forecast
    worker : host and process
    """

    case: str
    state: State
    kind: Kind = ""
    fault: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    worker: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Outcome:
        return cls(**json.loads(text))
