"""What the site adds to the pages: links between them, and tables of settings read from the methods themselves.

`docs/name.md` in backticks becomes a link to that page, so that a page reads alike in a checkout and on the site; one
that does not exist stops the build. A line `<!-- settings: tv sirt -->` becomes one table of settings per method.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from typing import Any

PAGE = re.compile(r"`docs/([\w/-]+\.md)`")
SETTINGS = re.compile(r"<!-- settings: ([\w ]+) -->")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page."""
    here = PurePosixPath(page.file.src_uri).parent
    linked = PAGE.sub(lambda found: f"[{found[1].removesuffix('.md')}]({relative(found[1], str(here))})", markdown)
    return SETTINGS.sub(lambda found: "\n\n".join(settings_table(name) for name in found[1].split()), linked)


def relative(target: str, folder: str) -> str:
    """The path of a page as seen from a folder of pages."""
    return os.path.relpath(target, folder).replace(os.sep, "/")


def settings_table(name: str) -> str:
    """The settings of a method: name, default, what it is, and where `recon3d tune` searches it."""
    from recon3d.methods import make_method, method_class

    cls = method_class(name)
    tunable = make_method(name, {}).tunable
    lines = [f"**`{name}`**: {cls.summary}.", "", "| setting | default | what it is |", "|---|---|---|"]
    for setting, field in cls.model_fields.items():
        what = (field.description or "").replace("|", "\\|")
        if setting in tunable:
            low, high = tunable[setting]
            what += f" (tuned from {low:g} to {high:g})"
        lines.append(f"| `{setting}` | {_shown(field.default)} | {what} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return "" if value is None else f"`{value}`".replace("|", "\\|")
