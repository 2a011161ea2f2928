"""Model files: weights and card in one safetensors file, saved, found by name or path, loaded by the kind of card."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recon3d.errors import ModelError
from recon3d.priors.cards import (
    METADATA_KEY,
    BaseCard,
    Card,
    ReconstructorCard,
    kind_of_plug_in,
    read_card,
    tensor_hash,
    verify,
)
from recon3d.priors.coordinates import build_denoiser
from recon3d.priors.interpolator import interpolator_of, network_of
from recon3d.priors.model import Model
from recon3d.priors.networks import build_network, channels_last
from recon3d.priors.reconstructor import Reconstructor

SHIPPED = Path(__file__).with_name("weights")
_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}

AnyCard = TypeVar("AnyCard", bound=BaseCard)


def save_model(
    path: str | Path, card: AnyCard, network: nn.Module, dtype: torch.dtype | None = torch.float16
) -> AnyCard:
    """Write weights and card to one safetensors file, atomically; returns the card with its hash."""
    path = Path(path)
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in network.state_dict().items()
    }
    _check_finite(tensors, str(path))
    card = card.model_copy(update={"sha256": tensor_hash(_entries(tensors))})
    with _replacing(path) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: card.model_dump_json()})
    return card


def replace_card(path: str | Path, card: BaseCard) -> None:
    """Give a model file another card, e.g. one with a calibration; its weights stay, byte for byte.

    Raises
    ------
    ModelError
        When the card states another hash than that of the weights in the file.
    """
    path = Path(path)
    verify(path)
    if card.sha256 != read_card(path).sha256:
        raise ModelError(f"The card of {card.name} belongs to other weights than those in {path}.")
    tensors = load_file(path)
    with _replacing(path) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: card.model_dump_json()})


def _denoiser(card: Card) -> nn.Module:
    return build_denoiser(card, build_network(card.architecture))


def _reconstructor(card: ReconstructorCard) -> nn.Module:
    return build_network(card.architecture)


MAKERS: dict[str, tuple[Callable[[Any], nn.Module], Callable[..., Any]]] = {
    "denoiser": (_denoiser, Model),
    "interpolator": (network_of, interpolator_of),
    "reconstructor": (_reconstructor, Reconstructor),
}
"""By the kind of a card: the network whose weights the file holds, and what is made of card and network."""


def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    *,
    micro_batch: int = 8,
    half: bool = True,
) -> Model:
    """A model by the name of a known one or by its file, verified.

    Raises
    ------
    ModelError
        Unknown name, damaged file, wrong hash, NaN weights, unknown architecture.
    """
    path = find_model(name_or_path)
    card = verify(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}; get the file again.") from error
    _check_finite(tensors, str(path))
    if card.kind in MAKERS:
        make, wrap = MAKERS[card.kind]
    else:
        brought = kind_of_plug_in(card.kind)
        make, wrap = brought.make, brought.wrap
    with torch.device("meta"):  # no memory for weights that are replaced at once
        network = make(card)
    wrong = differences({name: tuple(tensor.shape) for name, tensor in tensors.items()}, network)
    if wrong:
        raise ModelError(f"{path} does not hold the network that its card describes: {wrong[0]}.")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    network = channels_last(network.eval().requires_grad_(False).to(device))
    return wrap(card, network, micro_batch=micro_batch, half=half)  # type: ignore[no-any-return]


def differences(shapes: Mapping[str, tuple[int, ...]], network: nn.Module) -> list[str]:
    """Every way in which the names and shapes of tensors are not those of a network, one clause each."""
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    wrong = [f"{name} is missing" for name in expected if name not in shapes]
    wrong += [f"{name} is no part of the network" for name in shapes if name not in expected]
    wrong += [
        f"{name} has the shape {shapes[name]}, the network {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    return wrong


@dataclass(frozen=True)
class Entry:
    """One line of the list of known models; `fault` says why a file cannot be used."""

    name: str
    path: Path
    card: BaseCard | None
    fault: str = ""


def list_models() -> list[Entry]:
    """Models shipped, of plug-ins, in the folders of RECON3D_MODELS and imported; the first of a name wins."""
    found: dict[str, Entry] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.safetensors")):
            try:
                entry = Entry(path.stem, path, read_card(path))
            except ModelError as error:
                entry = Entry(path.stem, path, None, str(error))
            found.setdefault(entry.name, entry)
    return list(found.values())


def find_model(name_or_path: str | Path) -> Path:
    """The file of a known name, or the path itself when it is a file."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = {entry.name: entry.path for entry in list_models()}
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    names = ", ".join(sorted(known)) or "none"
    raise ModelError(f"Expected a model file or the name of a known model (known: {names}), got {name_or_path}.")


def user_folder() -> Path:
    """Where imported models are kept: the first folder of RECON3D_MODELS, else recon3d/models among the user's data."""
    named = [part for part in os.environ.get("RECON3D_MODELS", "").split(os.pathsep) if part]
    if named:
        return Path(named[0])
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "recon3d" / "models"


def _folders() -> list[Path]:
    """Plug-ins name a folder of models by an entry point of the group recon3d.models that returns its path."""
    folders = [SHIPPED]
    folders += [Path(point.load()()) for point in entry_points(group="recon3d.models")]
    folders += [Path(part) for part in os.environ.get("RECON3D_MODELS", "").split(os.pathsep) if part]
    return [*folders, user_folder()]


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file under its name or nothing."""
    with _replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what is written there is synced and takes the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.touch()
    mode = temporary.stat().st_mode
    yield temporary
    temporary.chmod(mode)  # safetensors would leave the file to its owner alone
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _entries(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str, tuple[int, ...], bytes]]:
    for name in sorted(tensors):
        tensor = tensors[name]
        yield name, _NAMES[tensor.dtype], tuple(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def _check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"The tensor {name} for {where} has values that are not finite: the training went wrong.")
