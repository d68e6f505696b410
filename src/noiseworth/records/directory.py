"""A directory that belongs to one experiment with fixed settings, which the same command goes on with."""

import json
from pathlib import Path
from typing import Any

from noiseworth.errors import UserError
from noiseworth.process import directory_beside, remove_rests
from noiseworth.records import load_json, write_atomically


def claim(out: Path, note: str, settings: dict[str, Any], *, what: str, fresh: bool | None) -> None:
    """Make the directory, or check that it is such an experiment's.

    Args:
        out: the directory.
        note: name of the file in it that holds the settings.
        settings: plain values.
        what: the experiment, for messages: "a demo".
        fresh: remove an earlier one first; None for commands that cannot, and take OUT by its position.

    Raises:
        UserError: it holds something else, or the experiment with other settings.
    """
    path, other = out / note, "choose another " + ("OUT" if fresh is None else "--out")
    remove_rests(out)
    if fresh and path.is_file():
        # Renamed first: killed while it is removed, it leaves the name free.
        with directory_beside(out) as beside:
            out.rename(beside / out.name)
    if path.is_file():
        if _read(path) != settings:
            again = "" if fresh is None else ", or --fresh to start again"
            raise UserError(f"{out}: holds {what} with other settings; {other}{again}")
        return
    if out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())):
        raise UserError(f"{out}: exists and holds no {what.removeprefix('a ')}; {other}")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(settings) + "\n")


def _read(path: Path) -> Any:
    """The settings in a file; None if it is damaged, so that they equal no settings."""
    try:
        return load_json(path)
    except UserError:
        return None
