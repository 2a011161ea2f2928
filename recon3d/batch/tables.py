"""Tables of cases: CSV, Excel and JSON lines, one case a row; columns name settings."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon3d.batch.cases import Case
from recon3d.config import ReconstructConfig
from recon3d.errors import InputError, MissingPackageError

SUFFIXES = (".csv", ".xlsx", ".jsonl")


def read_table(path: Path) -> list[Case]:
    """The cases of a table.

    The column ``input`` names a file or folder, relative to the table; ``name`` the case, by default after its input.
    Columns such as ``method.iterations`` or ``run.seed`` are settings of their row, where the cell is not empty. Other
    columns go into the summary as they are.

    Raises
    ------
    InputError
        If the table cannot be read, a row has no input, or two cases have one name.
    """
    rows = _READERS[path.suffix.lower()](path)
    if not rows:
        raise InputError(f"The table {path.name} has no rows: expected one case a row, with a column 'input'.")
    cases = [_case(path, number, row) for number, row in rows]
    names = [case.name for case in cases]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise InputError(f"The table {path.name} has two cases named '{double}': add a column 'name' that tells them.")
    return cases


def _case(table: Path, number: int, row: Mapping[str, Any]) -> Case:
    where = f"{table.name}, row {number}"
    given = {str(key).strip(): value for key, value in row.items() if key and value is not None and value != ""}
    source = str(given.pop("input", ""))
    if not source:
        raise InputError(f"{where}: the column 'input' is empty or missing: it names the file of the case.")
    path = table.parent / source
    name = str(given.pop("name", _name_of(path)))
    if not _is_safe(name):
        raise InputError(f"{where}: the name {name!r} cannot be a folder of results: take letters, digits, - and _.")
    settings = {key: value for key, value in given.items() if _is_setting(key, where)}
    overrides = tuple(f"{key}={_as_yaml(value)}" for key, value in settings.items())
    return Case(name, path, overrides, {key: str(value) for key, value in given.items() if key not in settings})


def _name_of(path: Path) -> str:
    name = path.name
    for suffix in (".nii.gz", path.suffix):
        if suffix and name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)] or name
    return name


def _is_safe(name: str) -> bool:
    parts = name.split("/")
    return name.isprintable() and all(part and not part.startswith(".") and part == part.strip() for part in parts)


def _is_setting(key: str, where: str) -> bool:
    """Whether a column is a setting; one that is nearly the name of a section is a mistake."""
    sections = set(ReconstructConfig.model_fields)
    first, dot, _ = key.partition(".")
    if first in sections:
        return True
    near = difflib.get_close_matches(first.lower(), sections, n=1, cutoff=0.8)
    if dot or near:
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise InputError(f"{where}: the column '{key}' is no setting{hint}: expected e.g. method.iterations.")
    return False


def _as_yaml(value: Any) -> str:
    """A cell as the text of an override: numbers of Excel and JSON lines as JSON, text as it stands."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _csv(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The table {path} cannot be read: expected CSV in UTF-8.") from error
    first = text.partition("\n")[0]
    separator = max((",", ";", "\t"), key=first.count)
    reader = csv.DictReader(text.splitlines(), delimiter=separator)
    rows = []
    for row in reader:
        if row.pop(None, None) is not None:  # type: ignore[call-overload]  # where DictReader puts what has no column
            where = f"{path.name}, row {reader.line_num}"
            raise InputError(f"{where}: more cells than columns: quote what holds '{separator}'.")
        if any(row.values()):
            rows.append((reader.line_num, dict(row)))
    return rows


def _xlsx(path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise MissingPackageError(
            "Excel tables need openpyxl: pip install 'recon3d[batch]', or save the table as CSV."
        ) from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        lines = [tuple(line) for line in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except Exception as error:  # the reader fails in many ways on foreign bytes
        raise InputError(f"The table {path} cannot be read: it is no whole .xlsx file.") from error
    if not lines:
        return []
    header = [str(cell) if cell is not None else "" for cell in lines[0]]
    rows = [(number, dict(zip(header, line, strict=False))) for number, line in enumerate(lines[1:], 2)]
    return [(number, row) for number, row in rows if any(cell is not None for cell in row.values())]


def _jsonl(path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The table {path} cannot be read: expected one JSON object a line, in UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(f'{path.name}, row {number}: expected a JSON object such as {{"input": "scan.h5"}}.')
        rows.append((number, _flat(row)))
    return rows


def _flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


_READERS = {".csv": _csv, ".xlsx": _xlsx, ".jsonl": _jsonl}
