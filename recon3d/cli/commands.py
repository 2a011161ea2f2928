"""The commands: parse, call the library, print; everything heavy is imported inside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="recon3d",
    help="3D reconstruction with learned priors, from a file to a file. Not for clinical use.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Input = Annotated[Path, typer.Argument(help="input file or folder", show_default=False)]
Output = Annotated[Path, typer.Argument(help="output file, its format by its suffix", show_default=False)]
Recipe = Annotated[str | None, typer.Option("--config", "-c", help="recipe name (`recon3d configs`) or YAML file")]
Overrides = Annotated[list[str] | None, typer.Argument(help="settings, e.g. method.iterations=50")]
Force = Annotated[bool, typer.Option("--force", help="replace outputs that exist")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads; the cores allotted by default")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]
Series = Annotated[str | None, typer.Option(help="which DICOM series, where there are several")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def reconstruct(
    input: Annotated[Path | None, typer.Argument(help="scan file (left out with --from)", show_default=False)] = None,
    output: Annotated[Path | None, typer.Argument(help="volume file: .nii.gz, .h5 ...", show_default=False)] = None,
    overrides: Overrides = None,
    config: Recipe = None,
    source: Annotated[str | None, typer.Option(help="how to read an array file: a name or a YAML mapping")] = None,
    from_record: Annotated[Path | None, typer.Option("--from", help="repeat the run of a .recon.json")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and stop")] = False,
    max_memory: Annotated[str | None, typer.Option("--max-memory", help="limit such as 4G")] = None,
    time_budget: Annotated[str | None, typer.Option("--time-budget", help="e.g. 5m, for method=auto")] = None,
    force_prior: Annotated[bool, typer.Option("--force-prior", help="go on although a model does not fit")] = False,
    complex_values: Annotated[bool, typer.Option("--complex", help="write complex images, not magnitudes")] = False,
    phase: Annotated[bool, typer.Option("--phase", help="write the phase of a complex image beside it")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="show the run in STEM.preview.html as it goes")] = False,
    force: Force = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Reconstruct a scan into a volume, with a report, a picture and a record beside it."""
    from recon3d.config import ReconstructConfig, apply_overrides, read_recipe, validate
    from recon3d.errors import ConfigError

    if from_record is not None:
        from recon3d.runtime.record import read_record, recorded_input

        record = read_record(from_record)
        if output is not None and "=" in output.name and not input.exists():  # type: ignore[union-attr]
            output, overrides = None, [str(output), *(overrides or [])]
        if output is None:  # `reconstruct --from r.recon.json OUT`: the one path given is the output
            input, output = recorded_input(record), input
        name, content = from_record.name, record["config"]
    else:
        name, content = read_recipe(config or "auto")
    if input is None or output is None:
        raise ConfigError("Give an input and an output: recon3d reconstruct SCAN.h5 VOLUME.nii.gz --config NAME.")
    extra = {"source": source, "run.threads": threads, "run.max_memory": max_memory, "method.budget": time_budget}
    chosen = {"force_prior": force_prior, "complex": complex_values, "phase": phase}
    extra |= {key: True for key, value in chosen.items() if value}
    given = [f"{key}={json.dumps(value)}" for key, value in extra.items() if value is not None]
    settings = validate(ReconstructConfig, apply_overrides(content, [*(overrides or []), *given]), name)

    from recon3d.runtime.case import plan_case, reconstruct_case

    if dry_run:
        for line in plan_case(input, settings).lines():
            typer.echo(line)
        return
    result = reconstruct_case(input, output, settings, overwrite=force, quiet=quiet, preview=preview)
    facts = "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.facts.items())
    typer.echo(f"{output}: {result.volume.shape} in {result.volume.units}  {facts}".rstrip())


@app.command()
def simulate(
    input: Input,
    output: Output,
    overrides: Overrides = None,
    config: Recipe = "ct-parallel",
    series: Series = None,
    force: Force = False,
    threads: Threads = None,
) -> None:
    """Simulate the scan of a volume: the same physics run forward, on a finer grid, with noise."""
    from recon3d.synthetic.config import read_simulation

    given = [] if threads is None else [f"run.threads={threads}"]
    settings = read_simulation(config, [*(overrides or []), *given])

    from recon3d.runtime.case import simulate_case

    scan = simulate_case(input, output, settings, series=series, overwrite=force)
    typer.echo(f"{output}: {scan}")


@app.command()
def inspect(
    input: Input,
    source: Annotated[str | None, typer.Option(help="how to read an array file: a name or a YAML mapping")] = None,
    series: Series = None,
    as_json: AsJson = False,
) -> None:
    """Say what a file holds: data, geometry, units, and what was assumed."""
    from recon3d.io.inspect import describe

    options = {"mapping": source, "series": series}
    facts = describe(input, **{name: value for name, value in options.items() if value is not None})
    if as_json:
        typer.echo(json.dumps(facts, indent=1, default=str))
        return
    _echo_facts(facts)


@app.command()
def compare(
    results: Annotated[list[Path], typer.Argument(help="volumes to score, one or several")],
    reference: Annotated[Path, typer.Option("--reference", "-r", help="the truth")],
    picture: Annotated[Path | None, typer.Option("--picture", help="write a PNG with all volumes side by side")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="write a page with linked views of all volumes")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score volumes against a reference: PSNR with its range, SSIM in three planes, NMSE."""
    from recon3d.runtime.comparison import compare_files

    table = compare_files(results, reference, picture=picture, page=html, overwrite=force)
    if as_json:
        typer.echo(json.dumps(table, indent=1))
        return
    for line in _table(table):
        typer.echo(line)


@app.command()
def view(
    result: Annotated[Path, typer.Argument(help="a volume, or the record beside it", show_default=False)],
    layer: Annotated[
        list[str] | None, typer.Option("--layer", help="NAME=FILE shown with it; 'reference' also scores the result")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="print the path of the page, open nothing")] = False,
    force: Force = False,
) -> None:
    """Open the report of a result in the browser; it is made where it is missing."""
    from recon3d.errors import ConfigError
    from recon3d.runtime.viewing import report_of

    layers = {}
    for given in layer or []:
        name, equals, file = given.partition("=")
        if not (name and equals and file):
            raise ConfigError(f"--layer takes NAME=FILE, e.g. reference=truth.nii.gz, got '{given}'.")
        layers[name] = Path(file)
    page = report_of(result, layers, overwrite=force)
    typer.echo(str(page))
    if not no_open:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@app.command()
def convert(
    input: Input,
    output: Output,
    series: Series = None,
    reference: Annotated[
        Path | None, typer.Option(help="DICOM series whose patient and study the output takes")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="of a DICOM output, where nothing says it: CT, MR ...")] = None,
    resample_irregular: Annotated[bool, typer.Option(help="interpolate slices at irregular distances")] = False,
    tilt: Annotated[str, typer.Option(help="a tilted gantry: refuse, keep (sheared), correct (resample)")] = "refuse",
    parametric_map: Annotated[bool, typer.Option(help="write real values as a DICOM parametric map")] = False,
    deidentify: Annotated[bool, typer.Option(help="copy a DICOM series without the patient")] = False,
    accept_pixels: Annotated[bool, typer.Option(help="de-identify images that may show text, too")] = False,
    force: Force = False,
) -> None:
    """Convert among DICOM, NIfTI and HDF5, exact in world coordinates; a name without a suffix is a DICOM folder."""
    from recon3d.runtime.conversion import convert_file

    chosen = {
        "series": series,
        "resample_irregular": resample_irregular or None,
        "tilt": None if tilt == "refuse" else tilt,
    }
    for line in convert_file(
        input,
        output,
        reference=reference,
        modality=modality,
        parametric_map=parametric_map,
        deidentify=deidentify,
        accept_pixels=accept_pixels,
        overwrite=force,
        **{name: value for name, value in chosen.items() if value is not None},
    ):
        typer.echo(line)


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="training recipe or YAML file")],
    overrides: Overrides = None,
    threads: Threads = None,
) -> None:
    """Train a model; the same command goes on where an interrupted one stopped."""
    from recon3d.training.kinds import read_training

    given = [] if threads is None else [f"threads={threads}"]
    settings = read_training(config, [*(overrides or []), *given])

    from recon3d.training import train as run_training

    typer.echo(f"{run_training(settings)}: trained")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this installation can do: versions, devices, backends, models."""
    from recon3d.runtime.doctor import examine

    facts = examine()
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        _echo_facts(facts)


@app.command()
def methods(as_json: AsJson = False) -> None:
    """List the methods and their settings."""
    from recon3d.methods import method_class, method_names

    if as_json:
        described = {
            name: {"summary": cls.summary, "roles": dict(cls.roles), "settings": cls.model_json_schema()["properties"]}
            for name in method_names()
            for cls in [method_class(name)]
        }
        typer.echo(json.dumps(described, indent=1))
        return
    for name in method_names():
        cls = method_class(name)
        typer.echo(f"{name:<18} {cls.summary}")
        for field, info in cls.model_fields.items():
            typer.echo(f"    {field:<16} {info.description or ''} ({info.default!r})")


@app.command()
def configs() -> None:
    """List the recipes."""
    from recon3d.config import read_recipe, recipes

    for name in recipes():
        _, content = read_recipe(name)
        typer.echo(f"{name:<24} {content.get('task', 'reconstruct'):<12} {content.get('description', '')}")


def _echo_facts(facts: dict[str, Any], indent: int = 0) -> None:
    for key, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{' ' * indent}{key}")
            _echo_facts(value, indent + 2)
        elif isinstance(value, list) and len(value) > 1 and isinstance(value[0], str):  # sentences, or a map of text
            typer.echo(f"{' ' * indent}{key}")
            for line in value:
                typer.echo(f"{' ' * (indent + 2)}{line}")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            typer.echo(f"{' ' * indent}{key:<{max(18 - indent, 1)}} {shown}")


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of equal keys as aligned text."""
    keys = list(rows[0])
    cells = [[_cell(row[key]) for key in keys] for row in rows]
    widths = [max(len(key), *(len(line[k]) for line in cells)) for k, key in enumerate(keys)]
    lines = ["  ".join(key.ljust(width) for key, width in zip(keys, widths, strict=True))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    return [line.rstrip() for line in lines]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
