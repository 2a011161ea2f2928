"""Scoring: folders of reconstructions against a folder of references; each fault is a sentence, the rest is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import recon3d
from recon3d.errors import ConfigError, InputError, OutputExistsError, ReconError
from recon3d.evaluation.fastmri import score
from recon3d.evaluation.score_table import CaseScore, ScoreTable
from recon3d.io.atomic import atomic_path, check_output
from recon3d.io.leaderboard import TARGETS, read_reconstruction, read_target, volume_files

Progress = Callable[[int, int], None]


def score_folders(
    results: Sequence[Path], reference: Path, *, challenge: str = "auto", progress: Progress | None = None
) -> ScoreTable:
    """Score every volume of every folder.

    Parameters
    ----------
    results : folders of submission files, one per method
    reference : folder of fully sampled files of the same names
    challenge : see `recon3d.io.leaderboard.read_target`
    progress : called with (volumes done, volumes in all)

    Raises
    ------
    InputError, ConfigError
        If a folder is missing, empty or given twice, or there is no such challenge.
    """
    if challenge not in ("auto", *TARGETS):
        raise ConfigError(f"A challenge is auto, {' or '.join(TARGETS)}, got '{challenge}'.")
    references = volume_files(reference)
    methods = method_names(results)
    files = {method: volume_files(folder) for method, folder in zip(methods, results, strict=True)}
    cases: list[CaseScore] = []
    faults = [
        f"{method}/{name} has no reference in {reference}: it was not scored."
        for method, found in files.items()
        for name in sorted(set(found) - set(references))
    ]
    patients: list[str | None] = []
    for done, (name, path) in enumerate(references.items()):
        if progress is not None:
            progress(done, len(references))
        with_it = [method for method in methods if name in files[method]]
        faults += [f"{method}/{name} is missing: the reference has it." for method in methods if method not in with_it]
        if not with_it:
            continue
        try:
            target = read_target(path, challenge)
        except ReconError as error:
            faults.append(f"Reference {error}")
            continue
        patients.append(target.patient)
        for method in with_it:
            try:
                result = read_reconstruction(files[method][name])
                scores = score(result.data, target.data)
            except ReconError as error:
                said = str(error)
                faults.append(f"{method}/{said}" if said.startswith(name) else f"{method}/{name}: {said}")
                continue
            cases.append(
                CaseScore(
                    method=method,
                    volume=path.stem,
                    acquisition=target.acquisition or result.acquisition,
                    acceleration=result.acceleration or target.acceleration,
                    slices=len(target.data),
                    scores=scores,
                )
            )
    if progress is not None:
        progress(len(references), len(references))
    cases.sort(key=lambda case: methods.index(case.method))
    known = [p for p in patients if p is not None]
    return ScoreTable(methods, cases, faults, len(set(known)) if known and len(known) == len(patients) else None)


def method_names(folders: Sequence[Path]) -> list[str]:
    """The shortest names that tell folders of results apart: the last part of their paths, else the whole.

    Raises
    ------
    InputError
        If a folder is given twice.
    """
    whole = [folder.resolve() for folder in folders]
    if len(set(whole)) < len(whole):
        raise InputError("A folder of results is given twice: give each method once.")
    names = [path.name for path in whole]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, folders, strict=True)]


def facts(results: Sequence[Path], reference: Path) -> dict[str, Any]:
    """What was scored against what, by which version."""
    return {"results": [str(path) for path in results], "reference": str(reference), "recon3d": recon3d.__version__}


def check_sheets(outputs: Sequence[Path], pictures: Path | None, overwrite: bool) -> list[Path]:
    """The outputs, before anything is computed: suffixes that are known, folders that are there.

    Raises
    ------
    InputError, OutputExistsError
    """
    from recon3d.report.score_sheet import FORMATS

    for path in outputs:
        if path.suffix not in FORMATS:
            raise InputError(f"{path.name} has no suffix for scores: expected one of {', '.join(FORMATS)}.")
        check_output(path, overwrite)
    if pictures is not None:
        if pictures.exists() and not pictures.is_dir():
            raise InputError(f"{pictures} is a file: pictures need a folder.")
        if not overwrite and (there := sorted(pictures.glob("*.png"))):
            raise OutputExistsError(f"The folder {pictures} holds {there[0].name} already: choose another, or --force.")
        if not pictures.parent.is_dir():
            raise InputError(f"The folder {pictures.parent} of the pictures does not exist: create it first.")
    return list(outputs)


def case_pictures(table: ScoreTable, results: Sequence[Path], reference: Path, challenge: str) -> dict[str, bytes]:
    """One PNG per scored volume."""
    from recon3d.report.score_sheet import case_labels, case_picture

    folders = dict(zip(table.methods, results, strict=True))
    pictures = {}
    for volume in sorted({case.volume for case in table.cases}):
        scored = [case.method for case in table.cases if case.volume == volume]
        target = read_target(reference / f"{volume}.h5", challenge).data
        images = {method: read_reconstruction(folders[method] / f"{volume}.h5").data for method in scored}
        pictures[volume] = case_picture(volume, target, images, case_labels(table, volume))
    return pictures


def write_sheets(
    table: ScoreTable,
    outputs: Sequence[Path],
    about: Mapping[str, Any],
    pictures: Mapping[str, bytes],
    folder: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write the scores, each file in the format of its suffix, and the pictures into a folder if one is given."""
    from recon3d.report.score_sheet import as_csv, as_html, as_json

    for path in outputs:
        match path.suffix:
            case ".csv":
                text = as_csv(table)
            case ".json":
                text = as_json(table, about)
            case _:
                text = as_html(table, about, pictures)
        with atomic_path(path, overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if folder is not None:
        folder.mkdir(exist_ok=True)
        for name, png in pictures.items():
            with atomic_path(folder / f"{name}.png", overwrite) as temporary:
                temporary.write_bytes(png)
