"""The command that reconstructs many cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recon3d.cli.commands import Force, Overrides, Quiet, Recipe, Threads, _table, app
from recon3d.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from recon3d.batch.engine import Batch

SOME_FAILED, NO_ROOM = 1, 3


@app.command()
def batch(
    source: Annotated[Path, typer.Argument(help="folder, or table: .csv, .xlsx, .jsonl", show_default=False)],
    overrides: Overrides = None,
    config: Recipe = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="folder of results; beside the source by default")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="cases at a time; they share threads and memory")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="a running dask scheduler, e.g. tcp://host:8786")] = None,
    cluster: Annotated[str | None, typer.Option(help="have --workers jobs of a queue: slurm, pbs or lsf")] = None,
    cluster_option: Annotated[
        list[str] | None, typer.Option(help="of dask-jobqueue, e.g. walltime=08:00:00; repeatable")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="attempts after a transient fault, e.g. a lost worker")] = 2,
    suffix: Annotated[str | None, typer.Option(help="of the results, e.g. .h5; .nii.gz or .sgy by default")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list the cases with forecasts and stop")] = False,
    max_memory: Annotated[str | None, typer.Option("--max-memory", help="limit of a case, such as 4G")] = None,
    max_gpu_memory: Annotated[str | None, typer.Option("--max-gpu-memory", help="on its GPU, such as 10G")] = None,
    force: Force = False,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> None:
    """Reconstruct every case of a folder or a table; the same command goes on where one that was stopped had got to."""
    from recon3d.batch.setup import Placement, prepared

    if scheduler is not None and cluster is not None:
        raise ConfigError("Cases run in one place: give --scheduler or --cluster, not both.")
    extra = {"run.threads": threads, "run.max_memory": max_memory, "run.max_gpu_memory": max_gpu_memory}
    given = [f"{key}={json.dumps(value)}" for key, value in extra.items() if value is not None]
    place = Placement(workers, scheduler, cluster, tuple(cluster_option or ()))
    settings = [*(overrides or []), *given]
    work, aside = prepared(
        source, output, config or "auto", settings, place, suffix=suffix, overwrite=force, plan_only=dry_run
    )
    if aside and not quiet:
        typer.echo(aside, err=True)
    if dry_run:
        _forecast(work, place, quiet, as_json)
        return

    from recon3d.batch.engine import INDEX, run_batch

    run_batch(work, place.pool_for(work), retries=retries, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(work.rows(), indent=1, default=str))
    else:
        done, before = work.count("done"), work.count("skipped")
        counts = f"{done} done, {before} done before, {work.count('failed')} failed, of {len(work.cases)}"
        typer.echo(f"{work.folder}: {counts}; see {work.folder / INDEX}")
    _end(work)


def _forecast(work: Batch, place: Any, quiet: bool, as_json: bool) -> None:
    from recon3d.batch.forecasts import forecast_rows, totals

    rows = forecast_rows(work, place, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(rows, indent=1, default=str))
    else:
        for line in [*_table(rows), totals(rows, place)]:
            typer.echo(line)
    _end(work)


def _end(work: Batch) -> None:
    """Say every fault; exit code 130 if it was interrupted, 3 if the disk is full, 1 if cases failed."""
    for fault in work.faults:
        typer.echo(f"recon3d: {fault}", err=True)
    if work.stopped:
        left = len(work.cases) - work.count("done", "skipped", "failed")
        if work.full:
            raise typer.Exit(NO_ROOM)
        raise Interrupted(f"{work.stopped} {left} cases are left.")
    if work.faults:
        raise typer.Exit(SOME_FAILED)
