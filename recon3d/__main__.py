"""`python -m recon3d` and the `recon3d` script are the command line."""

from __future__ import annotations

import sys

from recon3d.cli import main


def run() -> None:
    """The entry point of the installed script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
