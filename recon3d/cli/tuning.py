"""The command that tunes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recon3d.cli.commands import Force, Overrides, Quiet, Recipe, Threads, app
from recon3d.errors import ConfigError


@app.command()
def tune(
    input: Annotated[Path, typer.Argument(help="scan file", show_default=False)],
    output: Annotated[Path, typer.Argument(help="the tuned recipe, .yaml", show_default=False)],
    overrides: Overrides = None,
    config: Recipe = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", "-r", help="volume to come close to; without, the misfit is to be the noise"),
    ] = None,
    slices: Annotated[str | None, typer.Option(help="FIRST:END of those tuned on; from the middle by default")] = None,
    free: Annotated[
        list[str] | None, typer.Option("--free", help="setting of the method to choose; repeatable; all by default")
    ] = None,
    force: Force = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Choose the free settings of a method on a slice, by a reference or by the noise, and write the tuned recipe."""
    from recon3d.config import ReconstructConfig, apply_overrides, read_recipe, validate

    name, content = read_recipe(config or "auto")
    content = apply_overrides(content, overrides or [])
    given = [] if threads is None else [f"run.threads={threads}"]
    settings = validate(ReconstructConfig, apply_overrides(content, given), name)

    from recon3d.runtime.tuning import tune_case

    done = tune_case(
        input,
        output,
        settings,
        content,
        reference=reference,
        slices=_range(slices) if slices is not None else None,
        free=[setting.removeprefix("method.") for setting in free or []],
        overwrite=force,
        progress=(lambda line: None) if quiet else typer.echo,
    )
    chosen = "  ".join(f"{setting}={value:g}" for setting, value in done.tuned.settings.items())
    typer.echo(f"{output}: {chosen}  {done.told[0]}")
    for sentence in done.told[1:]:
        typer.echo(sentence)


def _range(text: str) -> tuple[int, int]:
    """``"7"`` or ``"7:11"`` as (first, end)."""
    first, colon, end = text.partition(":")
    try:
        return int(first), int(end) if colon else int(first) + 1
    except ValueError:
        raise ConfigError(f"--slices takes a number or FIRST:END, e.g. 7:11, got '{text}'.") from None
