"""Drawing: whole folders of synthetic files in the layout of a public data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recon3d.errors import ConfigError, InputError, OutputExistsError
from recon3d.io.atomic import atomic_path
from recon3d.runtime.device import set_threads
from recon3d.synthetic.mri_drawing import draw_folders, write_fastmri


def draw_mri_folders(
    folder: Path,
    counts: Mapping[str, int],
    *,
    threads: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> list[Path]:
    """Write train, val and test folders of drawn MRI in fastMRI's layout.

    Parameters
    ----------
    folder : is made where it is missing
    counts : set -> number of volumes
    threads : CPU threads; the cores allotted by default
    overwrite : go on although a set has files; those of the same names are replaced
    progress : called with volumes done and volumes in all
    settings : of `recon3d.synthetic.mri_drawing.draw_folders`

    Raises
    ------
    ConfigError, InputError, OutputExistsError
        Before anything is drawn.
    """
    total = sum(counts.values())
    if total == 0 or min(counts.values()) < 0:
        raise ConfigError(f"Say how many volumes are drawn, e.g. --train 20, got {dict(counts)}.")
    if not folder.parent.is_dir():
        raise InputError(f"The folder {folder.parent} does not exist: create it first.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give the name of a folder.")
    wanted = [folder / name for name, count in counts.items() if count]
    taken = next((path for path in wanted if path.exists() and any(path.iterdir())), None)
    if taken is not None and not overwrite:
        raise OutputExistsError(f"The folder {taken} holds files already: choose another one, or --force to add to it.")
    set_threads(threads)
    written = []
    for path, drawn, mask in draw_folders(counts, **settings):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target, overwrite) as temporary:
            write_fastmri(temporary, drawn, mask=mask)
        written.append(target)
        if progress is not None:
            progress(len(written), total)
    return written


def draw_series_file(output: Path, kind: Any, *, overwrite: bool = False, **settings: Any) -> None:
    """Write a drawn series; settings of `recon3d.synthetic.dynamic.draw_series`."""
    from recon3d.io import save
    from recon3d.io.atomic import check_output
    from recon3d.synthetic.dynamic import draw_series

    check_output(output, overwrite)
    save(draw_series(kind, **settings), output, overwrite=overwrite)
