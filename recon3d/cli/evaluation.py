"""The commands that score folders of results and make submissions of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recon3d.cli.commands import AsJson, Force, Overrides, Quiet, Recipe, Threads, _table, app
from recon3d.errors import ConfigError

Challenge = Annotated[str, typer.Option(help="target: multicoil (RSS), singlecoil (ESC), or auto, as the files are")]


@app.command()
def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="folders of reconstructions, one per method, and last the folder of fully sampled files of the same "
            "names; with --policies complete scans",
            show_default=False,
        ),
    ],
    challenge: Challenge = "auto",
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="scores.csv, .json or .html; repeatable")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="folder for one PNG per case, all methods side by side")] = None,
    policies: Annotated[
        str | None, typer.Option(help="acquire complete scans by these, e.g. ads,random,variable_density,equispaced")
    ] = None,
    budget: Annotated[list[float] | None, typer.Option(help="--policies: units, or their share; repeatable")] = None,
    config: Recipe = "mri-active",
    setting: Annotated[list[str] | None, typer.Option("--set", help="--policies: e.g. method.steps=40")] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score folders of fastMRI reconstructions (NMSE, PSNR, SSIM with intervals and paired tests), or compare policies
    of active sampling on complete scans."""
    if policies is not None:
        _evaluate_policies(folders, policies.split(","), budget or [0.1, 0.25], config, setting, output, force, as_json)
        return
    if len(folders) < 2:
        raise ConfigError(
            "Give folders of results, and last the folder of references: recon3d evaluate RESULTS REFERENCE."
        )
    *results, reference = folders
    from recon3d.report.score_sheet import as_json as to_json
    from recon3d.report.score_sheet import case_rows, pair_rows, summary_rows
    from recon3d.runtime.scoring import case_pictures, check_sheets, facts, score_folders, write_sheets

    sheets = check_sheets(output or [], pictures, force)
    table = score_folders(results, reference, challenge=challenge, progress=None if quiet else _progress)
    drawn = case_pictures(table, results, reference, challenge) if pictures is not None else {}
    write_sheets(table, sheets, facts(results, reference), drawn, pictures, force)
    if as_json:
        typer.echo(to_json(table, facts(results, reference)).rstrip())
    else:
        for title, rows in (("Volumes", case_rows), ("Means over volumes", summary_rows), ("Pairs", pair_rows)):
            if lines := rows(table):
                typer.echo(f"{title}\n" + "\n".join(f"  {line}" for line in _table(_as_any(lines))))
        for remark in table.remarks() if table.cases else []:
            typer.echo(remark)
    _end(table.faults)


def _evaluate_policies(
    scans: list[Path],
    policies: list[str],
    budgets: list[float],
    recipe: str | None,
    settings: list[str] | None,
    outputs: list[Path] | None,
    force: bool,
    as_json: bool,
) -> None:
    from recon3d.config import ReconstructConfig, load_config
    from recon3d.report.policy_picture import policy_json
    from recon3d.runtime.policies import evaluate_policies

    config = load_config(ReconstructConfig, recipe or "mri-active", settings or [])
    table = evaluate_policies(scans, config, policies, budgets, outputs or [], overwrite=force)
    if as_json:
        typer.echo(policy_json(table).rstrip())
    else:
        typer.echo("\n".join(_table(_as_any(table.lines()))))


def _as_any(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


def _progress(done: int, total: int) -> None:
    import sys

    if sys.stderr.isatty():
        typer.echo(f"\r{done}/{total} volumes" + ("\n" if done == total else ""), err=True, nl=False)


def _end(faults: Any) -> None:
    """Say every fault; exit code 1 if there is one."""
    for fault in faults:
        typer.echo(f"recon3d: {fault}", err=True)
    if faults:
        raise typer.Exit(1)


@app.command()
def submit(
    inputs: Annotated[Path, typer.Argument(help="folder of undersampled fastMRI files", show_default=False)],
    submission: Annotated[Path, typer.Argument(help="folder to write, one file per input", show_default=False)],
    overrides: Overrides = None,
    results: Annotated[
        Path | None, typer.Option(help="folder of reconstructed volumes; SUBMISSION-volumes by default")
    ] = None,
    config: Recipe = None,
    force: Force = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Make a fastMRI submission, reconstructing with --config what is not in --results yet."""
    settings = None
    if config is not None:
        from recon3d.config import ReconstructConfig, load_config

        given = [] if threads is None else [f"run.threads={threads}"]
        settings = load_config(ReconstructConfig, config, [*(overrides or []), *given])
    elif overrides or threads is not None:
        raise ConfigError("Settings need a recipe: give one with --config, or submit what is in --results without.")

    from recon3d.runtime.submission import submit_folder

    volumes = results if results is not None else submission.with_name(f"{submission.name}-volumes")
    made = submit_folder(inputs, submission, volumes, settings, overwrite=force, quiet=quiet)
    typer.echo(f"{submission}: {len(made.written)} files, read again; {made.reconstructed} volumes reconstructed")
    _end(made.faults)


@app.command()
def undersample(
    inputs: Annotated[Path, typer.Argument(help="folder of fully sampled fastMRI files", show_default=False)],
    outputs: Annotated[Path, typer.Argument(help="folder of test files to write", show_default=False)],
    pattern: Annotated[str, typer.Option(help="random (knee), equispaced_fraction (brain) ...")] = "random",
    acceleration: Annotated[
        list[int] | None, typer.Option("--acceleration", "-R", help="4, 8 or 16; of several one is drawn per file")
    ] = None,
    force: Force = False,
) -> None:
    """Make test files of fully sampled ones, masked as the official code does by the name of each file."""
    from recon3d.runtime.undersampling import undersample_folder

    done, faults = undersample_folder(inputs, outputs, pattern, acceleration or [4, 8], overwrite=force)
    counts = ", ".join(f"{list(done.values()).count(r)} at R {r}" for r in sorted(set(done.values())))
    typer.echo(f"{outputs}: {len(done)} files{': ' if counts else ''}{counts}")
    _end(faults)
