"""Published weight files: read as tensors only, unwrapped, and matched with a network that is known.

Whatever wrappers a training code put around its state dict are taken off by looking, not by a list of their names: all
tensors of the file get dotted names, and the prefix is sought under which they are those of a network that is known.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from recon3d.errors import ModelError
from recon3d.priors.files import differences
from recon3d.priors.networks import build_network, file_names, recognise

SMALLEST_SHARE = 0.3
"""Of the numbers in a file, the least that its network can be: raw weights and two averages are three shares."""
DEEPEST = 3
"""Wrappers around a state dict."""


@dataclass(frozen=True)
class Weights:
    """A state dict that fits its network.

    Parameters
    ----------
    tensors : by the names of the network
    entry : where they were in the file, "" for the whole
    ignored : names in the file that are no part of the network
    """

    architecture: dict[str, Any]
    tensors: dict[str, Tensor]
    entry: str
    ignored: tuple[str, ...]


def read_weights(path: str | Path, architecture: Mapping[str, Any] | None = None, entry: str | None = None) -> Weights:
    """The weights in a .pt, .pth, .ckpt or .safetensors file; averaged (EMA) ones where there are any.

    Parameters
    ----------
    architecture : settings that replace those inferred; all of them, with `kind`, for a layout that is not recognised
    entry : the part of the file to take, e.g. "model" or "ema.shadow_params"

    Raises
    ------
    ModelError
        When reading the file would run code, or nothing in it fits a network: what is missing and what is left over.
    """
    path = Path(path)
    content = _content(path)
    named, lists = dict(_named(content)), dict(_lists(content))
    chosen = entry or ""
    if chosen and chosen not in lists:
        named = {name: tensor for name, tensor in named.items() if f"{name}.".startswith(f"{chosen}.")}
        lists = {}
    if not named:
        raise ModelError(f"{path.name} holds no named tensors{f' in {chosen!r}' if chosen else ''}.")
    weights = _match(path, named, dict(architecture or {}))
    average = chosen if chosen in lists else _average(path, content, lists)
    return weights if average is None else _averaged(path, weights, named, average, lists[average])


def _content(path: Path) -> Any:
    """All that is in the file, without running any of it."""
    if not path.is_file():
        raise ModelError(f"Expected a file of weights at {path}, found none.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice to trust the file and read it in another way
            if path.suffix == ".safetensors":
                return load_file(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of a damaged file the readers raise whatever they stumble over
        name = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if name is None:
            raise ModelError(f"{path.name} is not a readable file of weights, or is damaged; get it again.") from error
        raise ModelError(
            f"{path.name} holds more than tensors: reading it would run code ({name[1]}), which recon3d never does; "
            "where that code is at home, save the weights alone: torch.save(model.state_dict(), 'weights.pt')."
        ) from error


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _named(content: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor with a name, but those of optimisers."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(key, str) and not key.startswith("optim"):
                name = f"{place}.{key}" if place else key
                if isinstance(value, Tensor):
                    yield name, value
                else:
                    yield from _named(value, name)


def _lists(content: Any, place: str = "") -> Iterator[tuple[str, Sequence[Tensor]]]:
    """Every list of tensors: weights whose names were left out."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if isinstance(key, str) and not key.startswith("optim"):
                yield from _lists(value, f"{place}.{key}" if place else key)
    elif isinstance(content, list | tuple) and content:
        if all(isinstance(value, Tensor) for value in content):
            yield place, content
        else:
            for number, value in enumerate(content):
                yield from _lists(value, f"{place}.{number}")


def _match(path: Path, named: dict[str, Tensor], given: dict[str, Any]) -> Weights:
    """The tensors below the prefix that makes them those of a network; averages first, then the larger share."""
    total = sum(tensor.numel() for tensor in named.values())
    nearest: tuple[dict[str, Any], list[str]] | None = None
    for prefix in _prefixes(named):
        inside = {name[len(prefix) :]: tensor for name, tensor in named.items() if name.startswith(prefix)}
        if sum(tensor.numel() for tensor in inside.values()) < SMALLEST_SHARE * total:
            continue
        shapes = {name: tuple(tensor.shape) for name, tensor in inside.items()}
        architecture = given if "kind" in given else recognise(shapes)
        if architecture is None:
            continue
        architecture = {**architecture, **given}
        with torch.device("meta"):
            network = build_network(architecture)
        names = file_names(architecture["kind"], shapes)
        wrong = differences({ours: shapes[theirs] for ours, theirs in names.items()}, network)
        if not wrong:
            tensors = {ours: inside[theirs] for ours, theirs in names.items()}
            ignored = tuple(name for name in named if not name.startswith(prefix))
            return Weights(architecture, tensors, prefix.rstrip("."), ignored)
        if nearest is None or len(wrong) < len(nearest[1]):
            nearest = architecture, wrong
    if nearest is not None:
        architecture, wrong = nearest
        raise ModelError(
            f"{path.name} looks like {architecture['kind']} {_brief(architecture)}, but {_summary(wrong)}. "
            "Correct it by architecture.SETTING=VALUE, or choose another part of the file by --entry."
        )
    first = ", ".join(list(named)[:3])
    raise ModelError(
        f"The {len(named)} tensors of {path.name} ({first} ...) are of no layout that is known: give the whole "
        "architecture in the card, e.g. architecture.kind=monai_unet and its settings, or see docs/models.md."
    )


def _prefixes(named: Mapping[str, Tensor]) -> list[str]:
    """What may stand before the names of a network: "" and the beginnings of the names, averages first."""
    sizes: dict[str, int] = {}
    for name, tensor in named.items():
        parts = name.split(".")
        for depth in range(min(DEEPEST + 1, len(parts))):
            prefix = "".join(f"{part}." for part in parts[:depth])
            sizes[prefix] = sizes.get(prefix, 0) + tensor.numel()
    return sorted(sizes, key=lambda prefix: (not _is_average(prefix), -sizes[prefix], len(prefix)))


def _is_average(place: str) -> bool:
    return re.search(r"(^|[^a-z])(ema|shadow|averaged?)([^a-z]|$)", place.lower()) is not None


def _average(path: Path, content: Any, lists: Mapping[str, Sequence[Tensor]]) -> str | None:
    """The list of averaged weights, of the slowest average where several rates were kept; None when there is none."""
    averages = [place for place in lists if _is_average(place)]
    if len(averages) < 2:
        return averages[0] if averages else None
    rates = content.get("ema_rate") if isinstance(content, Mapping) else None
    if isinstance(rates, str):
        rates = [float(rate) for rate in rates.split(",")]
    if isinstance(rates, list | tuple) and len(rates) == len(averages):
        return averages[max(range(len(rates)), key=lambda k: rates[k])]
    raise ModelError(f"{path.name} holds several averages: choose one with --entry, of {', '.join(averages)}.")


def _averaged(
    path: Path, weights: Weights, named: Mapping[str, Tensor], place: str, values: Sequence[Tensor]
) -> Weights:
    """The weights with a list of averages in place of what was trained; the list is in order of the file's names."""
    with torch.device("meta"):
        trained = {name for name, p in build_network(weights.architecture).named_parameters() if p.requires_grad}
    names = [name for name in weights.tensors if name in trained]
    if len(names) != len(values):
        raise ModelError(
            f"{path.name}: {place} has {len(values)} tensors, the network trains {len(names)}; "
            f"take the raw weights with --entry {weights.entry or 'NAME'}."
        )
    for name, value in zip(names, values, strict=True):
        if value.shape != weights.tensors[name].shape:
            raise ModelError(
                f"{path.name}: {place} does not follow the order of the names: at {name} it has the shape "
                f"{tuple(value.shape)}, expected {tuple(weights.tensors[name].shape)}; "
                f"take the raw weights with --entry {weights.entry or 'NAME'}."
            )
    tensors = weights.tensors | dict(zip(names, values, strict=True))
    return Weights(weights.architecture, tensors, place, weights.ignored)


def _brief(architecture: Mapping[str, Any]) -> str:
    return "(" + ", ".join(f"{key} {value}" for key, value in architecture.items() if key != "kind") + ")"


def _summary(wrong: Sequence[str], shown: int = 6) -> str:
    more = f" and {len(wrong) - shown} more" if len(wrong) > shown else ""
    return "; ".join(wrong[:shown]) + more
