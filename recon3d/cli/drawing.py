"""The commands that draw synthetic data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recon3d.cli.commands import Force, Quiet, Threads, app
from recon3d.cli.evaluation import _progress

draw = typer.Typer(help="Draw folders of synthetic data.", no_args_is_help=True)
app.add_typer(draw, name="draw")


@draw.callback()
def _draw() -> None:
    """Draw folders of synthetic data."""


@draw.command("mri")
def draw_mri(
    folder: Annotated[Path, typer.Argument(help="gets the folders train, val and test", show_default=False)],
    train: Annotated[int, typer.Option(min=0, help="fully sampled volumes with targets to train on")] = 8,
    val: Annotated[int, typer.Option(min=0, help="fully sampled volumes with targets to validate on")] = 2,
    test: Annotated[int, typer.Option(min=0, help="undersampled volumes without targets")] = 2,
    anatomy: Annotated[str, typer.Option(help="brain or knee")] = "brain",
    shape: Annotated[tuple[int, int, int], typer.Option(help="slices, rows and columns")] = (8, 160, 160),
    coils: Annotated[int, typer.Option(min=1, help="receive coils")] = 8,
    snr: Annotated[float, typer.Option(help="bright tissue over the noise of one coil's image")] = 40.0,
    acceleration: Annotated[float, typer.Option("--acceleration", "-R", min=1, help="of the test files")] = 4.0,
    centre: Annotated[float, typer.Option(min=0, max=1, help="share of columns in a test file's full centre")] = 0.08,
    seed: Annotated[int, typer.Option(min=0, help="every volume gets a seed of its own from it")] = 0,
    force: Force = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Draw multi-coil MRI of heads or knees in fastMRI's layout: contrast, phase, coils and noise; no one's data."""
    from recon3d.runtime.drawing import draw_mri_folders

    counts = {"train": train, "val": val, "test": test}
    draw_mri_folders(
        folder,
        counts,
        anatomy=anatomy,
        shape=shape,
        coils=coils,
        snr=snr,
        acceleration=acceleration,
        centre_fraction=centre,
        seed=seed,
        threads=threads,
        overwrite=force,
        progress=None if quiet else _progress,
    )
    typer.echo(f"{folder}: " + ", ".join(f"{count} in {name}" for name, count in counts.items() if count))


@draw.command("series")
def draw_a_series(
    output: Annotated[Path, typer.Argument(help="file of the series, .nii.gz or .h5", show_default=False)],
    kind: Annotated[str, typer.Option("--object", help="walnut (CT, in HU) or heart (MRI magnitudes)")] = "walnut",
    style: Annotated[str, typer.Option(help="tuning or scoring: two generators without common code")] = "tuning",
    frames: Annotated[int, typer.Option(min=2, help="instants")] = 64,
    shape: Annotated[tuple[int, int, int], typer.Option(help="slices, rows and columns")] = (1, 128, 128),
    seconds: Annotated[float | None, typer.Option(help="of the whole; a heart beats once in 0.9 s by default")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the object and its motion")] = 0,
    force: Force = False,
) -> None:
    """Draw a series of something that moves, to simulate a scan of it with `recon3d simulate`."""
    from recon3d.runtime.drawing import draw_series_file

    draw_series_file(output, kind, style=style, frames=frames, shape=shape, seconds=seconds, seed=seed, overwrite=force)
    typer.echo(f"{output}: {frames} frames of a {kind}")
