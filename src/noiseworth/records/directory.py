"""A directory that belongs to one experiment with fixed settings, which the same command goes on with."""

import json
import shutil
from pathlib import Path
from typing import Any

from noiseworth.errors import UserError
from noiseworth.records import write_atomically


def claim(out: Path, note: str, settings: dict[str, Any], *, what: str, fresh: bool) -> None:
    """Make the directory, or check that it is such an experiment's.

    Args:
        out: the directory.
        note: name of the file in it that holds the settings.
        settings: plain values.
        what: the experiment, for messages: "a demo".
        fresh: remove an earlier one first.

    Raises:
        UserError: it holds something else, or the experiment with other settings.
    """
    path = out / note
    if fresh and path.is_file():
        shutil.rmtree(out)
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != settings:
            raise UserError(
                f"{out}: holds {what} with other settings; choose another --out, or --fresh to start again"
            )
        return
    if out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir())):
        raise UserError(f"{out}: exists and holds no {what.removeprefix('a ')}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(settings) + "\n")
