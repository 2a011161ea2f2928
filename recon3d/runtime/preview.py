"""Live preview: a page beside the output that shows a run as it goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon3d.grid import Grid
from recon3d.run import State

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHARE = 0.02
"""Part of the run that the preview may take."""


class LivePreview:
    """Writes the page now and then, at most every two seconds, and so that it takes a fiftieth of the time at most.

    Parameters
    ----------
    path : where the page goes; replaced each time
    title : name of the method
    grid : where its image lies
    """

    def __init__(self, path: Path, title: str, grid: Grid | None = None, seconds_between: float = 2.0) -> None:
        self.path = path
        self.title = f"Running {title}"
        self._grid = grid
        self._least = seconds_between
        self._began = time.monotonic()
        self._next = self._began

    def show(self, done: int, total: int, trace: Sequence[Mapping[str, Any]], state: State) -> None:
        """Iteration `done` of `total` is finished; the image is the entry "x" of the state, where there is one."""
        now = time.monotonic()
        if now < self._next and done < total:
            return
        from recon3d.report.preview import preview_page

        self._write(preview_page(self.title, done, total, now - self._began, trace, _image(state), self._grid))
        spent = time.monotonic() - now
        self._next = now + max(self._least, spent / SHARE)

    def finish(self, report: Path) -> None:
        """The page leads to the report from now on."""
        from recon3d.report.preview import finished_page

        self._write(finished_page(self.title, report.name))

    def _write(self, page: str) -> None:
        # A browser may read at any time, so the page is replaced at once; it need not survive a power cut.
        temporary = self.path.with_name(f".{self.path.name}.part")
        with suppress(OSError):  # a full disk is the result's trouble, not a reason to stop here
            temporary.write_text(page, encoding="utf-8")
            os.replace(temporary, self.path)


def _image(state: State) -> NDArray[np.generic] | None:
    image = state.get("x")
    if image is None or getattr(image, "ndim", 0) < 3:
        return None
    return image.detach().cpu().numpy()  # type: ignore[attr-defined, no-any-return]
