"""The command line: thin commands over the library; one sentence and an exit code for every fault."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence

import typer

import recon3d.cli.batch
import recon3d.cli.drawing
import recon3d.cli.evaluation
import recon3d.cli.models
import recon3d.cli.tuning  # noqa: F401  these add their commands
from recon3d.cli.commands import app
from recon3d.errors import DiskFullError, Interrupted, MemoryLimitError, ReconError

DONE, SOME_FAILED, CANNOT_START, NO_ROOM, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the process exit code: 0 done, 1 some cases failed, 2 nothing could start,
    3 not enough memory or disk, 130 interrupted and resumable."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(name)s: %(message)s")
    if not debug:
        logging.getLogger("numba").setLevel(logging.ERROR)
    try:
        result = app(arguments or ["--help"], prog_name="recon3d", standalone_mode=False)
        if result != INTERRUPTED:  # the command line library turns Ctrl-C into this or into Abort
            return result if isinstance(result, int) else DONE
        message, code = _translate(KeyboardInterrupt())
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:
        message, code = _translate(KeyboardInterrupt())
    except (ReconError, KeyboardInterrupt, MemoryError, OSError) as error:
        if debug:
            traceback.print_exc()
        message, code = _translate(error)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the command line library
            message, code = f"{error.format_message().rstrip('.')}: see `recon3d --help`.", CANNOT_START
        elif debug:
            raise
        else:
            message = (
                f"unexpected {type(error).__name__}: {error}. This is a defect: run again with --debug and report it."
            )
            code = CANNOT_START
    print(f"recon3d: {message}", file=sys.stderr)
    return code


def _translate(error: BaseException) -> tuple[str, int]:
    from recon3d.io.atomic import is_disk_full

    match error:
        case Interrupted():
            return str(error), INTERRUPTED
        case KeyboardInterrupt():
            return "Interrupted before the first iteration; nothing was written.", INTERRUPTED
        case MemoryLimitError() | DiskFullError():
            return str(error), NO_ROOM
        case ReconError():
            return str(error), CANNOT_START
        case MemoryError():
            return (
                "Out of memory: lower run.max_memory or run.micro_batch, or choose a coarser grid (grid.voxel_mm).",
                NO_ROOM,
            )
        case OSError() if is_disk_full(error):
            return (
                f"The disk is full: {error.filename or 'the output'} was not written; make room or take another disk.",
                NO_ROOM,
            )
        case _:
            return f"{error}.", CANNOT_START
