"""Faults: every wrong key and value of a configuration in one message, with the nearest valid name."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'views'?)"``, or nothing where no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def describe_faults(error: ValidationError, model: type[BaseModel], where: str = "{}") -> str:
    """One clause per fault of a validation error.

    Parameters
    ----------
    error : what pydantic found
    model : the class that was validated; its fields give the suggestions
    where : how a dotted path is shown, e.g. ``"recipe.yaml: {}"``
    """
    clauses: dict[tuple[str | int, ...], str] = {}
    for fault in error.errors():
        path = tuple(part for part in fault["loc"] if isinstance(part, int) or not _ALTERNATIVE.fullmatch(part))
        place = next((known for known in clauses if path[: len(known)] == known != ()), path)
        clauses.setdefault(place, _describe(fault, path, model, where))  # of alternatives the first is told
    return "; ".join(clauses.values()) + "."


_ALTERNATIVE = re.compile(r"float|int|str|bool|(tuple|list|dict|function-\w+)\[.*\]")
"""What pydantic adds to the path of a fault for each alternative of a union."""


def _describe(fault: Any, path: tuple[str | int, ...], model: type[BaseModel], where: str) -> str:
    shown = where.format(".".join(map(str, path)) or "configuration")
    if fault["type"] == "extra_forbidden":
        names = _field_names(model, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), names, n=1)
        if near:
            return f"{shown} is not a setting (did you mean '{'.'.join([*map(str, path[:-1]), near[0]])}'?)"
        return f"{shown} is not a setting; expected one of {', '.join(names)}"
    if fault["type"] == "missing":
        return f"{shown} is missing"
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"{shown}: {message}, got {fault['input']!r}"


def _field_names(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Names of the fields of the model that `path` leads to."""
    here: Any = model
    for part in path:
        field = here.model_fields.get(str(part)) if isinstance(here, type) and issubclass(here, BaseModel) else None
        here = _model_in(field.annotation) if field is not None else None
        if here is None:
            return []
    return list(here.model_fields)


def _model_in(annotation: Any) -> Any:
    """The model class inside an annotation such as ``Grid | None``, or None."""
    candidates = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
    return models[0] if models else None
