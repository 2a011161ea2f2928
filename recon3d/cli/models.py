"""The commands about models: list, show, verify, import."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recon3d.cli.commands import AsJson, Force, _echo_facts, app

Name = Annotated[str, typer.Argument(help="model name or file", show_default=False)]

models = typer.Typer(help="List the models that are known, show, verify or import one.", invoke_without_command=True)
app.add_typer(models, name="models")


@models.callback()
def _models(context: typer.Context) -> None:
    """List the models that are known, show the card of one, verify its weights, or import published ones."""
    if context.invoked_subcommand is None:
        list_models()


@models.command("list")
def list_models() -> None:
    """List the models that are known: shipped, of plug-ins, in the folders of RECON3D_MODELS, and imported."""
    from recon3d import priors

    for entry in priors.list_models():
        typer.echo(f"{entry.name:<18} {entry.card.summary if entry.card else entry.fault}")


@models.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show the card of a model."""
    from recon3d.priors import find_model, read_card

    card = read_card(find_model(name))
    if as_json:
        typer.echo(card.model_dump_json(indent=1))
    else:
        _echo_facts(card.model_dump(mode="json"))


@models.command()
def verify(name: Name, as_json: AsJson = False) -> None:
    """Verify that the weights of a model are those its card states."""
    from recon3d import priors

    card = priors.verify(priors.find_model(name))
    typer.echo(card.model_dump_json(indent=1) if as_json else f"{name}: SHA-256 {card.sha256} is that of its tensors")


@models.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(help=".pt, .pth, .ckpt or .safetensors", show_default=False)],
    overrides: Annotated[list[str] | None, typer.Argument(help="entries of the card, e.g. modality=CT")] = None,
    card: Annotated[Path | None, typer.Option(help="YAML file with entries of the card")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="where to write the model")] = None,
    entry: Annotated[str | None, typer.Option(help="part of the file to take, e.g. model; averages first")] = None,
    force: Force = False,
) -> None:
    """Import published weights: tensors only, matched with a network that is known, written with a card."""
    from recon3d.config import apply_overrides, read_recipe
    from recon3d.errors import ConfigError

    if card is not None and card.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--card takes a .yaml file, got {card}.")
    content = read_recipe(card)[1] if card is not None else {}
    given = apply_overrides(content, overrides or [])

    from recon3d.priors.importing import import_weights

    done = import_weights(file, given, output, entry=entry, overwrite=force)
    facts = {
        "network": done.card.architecture,
        "matched": f"{done.tensors} tensors, {done.numbers:,} numbers, all of them",
        "taken": done.entry or "the whole file",
        **({"ignored": ", ".join(done.ignored)} if done.ignored else {}),
        "assumed": done.assumed,
        "written": str(done.path),
    }
    typer.echo(f"{file}: imported as {done.card.name}")
    _echo_facts(facts, 2)
