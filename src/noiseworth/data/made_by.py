"""What made a directory: the same command again then succeeds, where any other is told that it exists already.

A kill may come after a directory got its name and before the process ended: what looks like a failure was a
success. So the directory holds `.command.json`: digests of the command (its settings and the state of its
inputs, but not the place of OUT) and of the files that it wrote, and what it returned. Digests, since texts
would tell of the machine, and a data set is made to be given away. It is no part of a data set's fingerprint.
"""

import hashlib
import json
import os
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from noiseworth.errors import UserError
from noiseworth.options import hints_of
from noiseworth.process import remove_rests
from noiseworth.progress import notice
from noiseworth.records import from_json, load_record, plain, sha256_of, versions, write_atomically

NOTE = ".command.json"
T = TypeVar("T")


@dataclass(frozen=True)
class _Note:
    """The file in OUT."""

    command: str
    made_by: str  # digest of the command
    files: str  # digest of the names and sizes of the files in OUT
    result: Any


class Making:
    """One command that makes the directory `out`; to be built before its inputs are read, so that a later change of them shows."""

    def __init__(self, command: str, config: Any) -> None:
        """`config`: with a field `out`. Fields of paths name data sets, folders and files; those of text may name tables."""
        self._command, self._out = command, Path(config.out)
        settings = {name: value for name, value in asdict(config).items() if name != "out"}
        inputs = {
            text: _state(text, self._out, folders=_is_path(hints_of(config.__class__)[name]))
            for name, value in settings.items()
            for text in _texts(value)
        }
        whole = [command, versions()["noiseworth"], settings, inputs]
        self._digest = hashlib.sha256(json.dumps(whole, default=str).encode()).hexdigest()

    def found(self, kind: type[T]) -> T | None:
        """What this command returned when it made what is in `out`, unless that has changed since, or something else made it.

        Args:
            kind: of the result: a record, or a list of records.
        """
        try:
            note = load_record(_Note, self._out / NOTE)
            if (note.made_by, note.files) != (self._digest, _digest_of(_files(self._out))):
                return None
            result = from_json(kind, note.result, str(self._out / NOTE))
        except (OSError, UserError):
            return None
        remove_rests(self._out)
        notice(f"{self._out}: is there already, made by the same command")
        return result

    def note(self, folder: Path, result: Any) -> None:
        """Say in `folder`, which is complete and will be called `out`, that this command made it, and returned this."""
        note = _Note(self._command, self._digest, _digest_of(_files(folder)), plain(result))
        write_atomically(folder / NOTE, json.dumps(asdict(note)) + "\n")


def _is_path(hint: Any) -> bool:
    return hint is Path or any(_is_path(kind) for kind in typing.get_args(hint))


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(item) for item in values if isinstance(item, str | Path)]


def _state(text: str, out: Path, *, folders: bool) -> Any:
    """The state of what a setting names: of a data set or a folder a digest, of a file its size and time; else None."""
    if os.path.isdir(f"{text}/part-00000") and os.path.isfile(f"{text}/dataset.json"):  # noqa: PTH112, PTH113
        return sha256_of(Path(text) / "dataset.json")  # which has the fingerprint
    if folders and os.path.isdir(text):  # noqa: PTH112 - any text is asked, also one too long for a path
        ours = os.path.abspath(out)  # noqa: PTH100 - links stay as they are
        return _digest_of(_files(Path(os.path.abspath(text)), without=ours, times=True))  # noqa: PTH100
    for path in (text, text.partition(":")[0]):  # a table, or a column of it
        if os.path.isfile(path):  # noqa: PTH113
            status = Path(path).stat()
            return [status.st_size, status.st_mtime_ns]
    return None


def _files(folder: Path, *, without: str = "", times: bool = False) -> list[tuple[str, int, int]]:
    """Name inside the folder, size and, if asked for, time of each file; links are followed, and each folder is entered once."""
    seen: set[tuple[int, int]] = set()

    def enter(directory: str, inside: str) -> Iterator[tuple[str, int, int]]:
        status = os.stat(directory)  # noqa: PTH116 - for 100,000 files, paths as objects take time
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        try:
            entries = list(os.scandir(directory))
        except PermissionError:
            entries = []  # who reads it will say so
        for entry in entries:
            name = inside + entry.name
            if name == NOTE or entry.path == without or entry.name.endswith(".partial"):
                continue
            try:
                if entry.is_dir():
                    yield from enter(entry.path, f"{name}/")
                else:
                    of_file = entry.stat()
                    yield name, of_file.st_size, of_file.st_mtime_ns if times else 0
            except OSError:  # a link that leads nowhere, or in a circle
                yield name, -1, 0

    return sorted(enter(str(folder), ""))


def _digest_of(files: list[tuple[str, int, int]]) -> str:
    digest = hashlib.sha256()
    for name, size, time in files:
        digest.update(f"{size} {time} {name}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()
