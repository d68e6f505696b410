"""Files of a folder, as a stream of named contents; of an archive, see `archives.py`."""

import gzip
import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from noiseworth.data.sources.kinds import HEAD
from noiseworth.data.sources.source import Reading, check_unpacked
from noiseworth.errors import UserError

MOST_BYTES = 1 << 30  # of one file, uncompressed
_HIDDEN = ("__MACOSX",)


Stream = IO[bytes] | io.RawIOBase


@dataclass(frozen=True)
class File:
    """One file of a folder or an archive.

    Attributes:
        name: inside the folder or archive.
        where: for messages.
        open: its bytes as a stream. Of a tar archive it must be read before the next file is asked for.
        path: where it lies, unless in an archive. A folder that is one thing (Zarr, `save_to_disk`) has only this.
        size: in bytes.
    """

    name: str
    where: str
    open: Callable[[], Stream]
    path: Path | None
    size: int

    def head(self) -> bytes:
        """Its first bytes; none of a folder."""
        if self.path is not None and self.path.is_dir():
            return b""
        with self.open() as stream:
            return bytes(stream.read(HEAD) or b"")

    def read(self, reading: Reading) -> bytes:
        """All of its bytes.

        Raises:
            UserError: too many, or damaged.
        """
        if self.size > MOST_BYTES and not reading.trust_sizes:
            raise UserError(
                f"{self.where}: has {self.size:,} bytes uncompressed, and one file may have {MOST_BYTES:,}; if you"
                " trust it, give --trust-sizes"
            )
        with self.open() as stream:
            return bytes(stream.read() or b"")

    @contextmanager
    def on_disk(self, reading: Reading) -> Iterator[Path]:
        """A path of the file; one from an archive is there only inside the block."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PurePosixPath(self.name).name
            path.write_bytes(self.read(reading))
            yield path


def gunzip(path: Path, where: str, reading: Reading) -> bytes:
    """The bytes in a gzip file, to its end, where their sum is checked.

    Raises:
        UserError: damaged, or far more than the file holds.
    """
    size = path.stat().st_size
    content = bytearray()
    try:
        with gzip.open(path) as stream:
            while piece := stream.read(1 << 20):
                content += piece
                check_unpacked(len(content), size, where, reading)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{where}: damaged or unreadable ({error})") from None
    return bytes(content)


def is_unit(folder: Path) -> bool:
    """Whether a folder is one thing, and its files none by themselves: a Zarr array or group, or a data set of Hugging Face's."""
    names = (".zarray", ".zgroup", "zarr.json", "dataset_dict.json")
    return any((folder / name).is_file() for name in names) or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def folder_files(folder: Path, reading: Reading) -> Iterator[File]:
    """The files of a folder, in the order of the names; links to folders are followed, each folder is entered once."""
    members: list[tuple[tuple[str, ...], str, int]] = []
    seen: set[tuple[int, int]] = set()

    def enter(directory: Path, inside: tuple[str, ...]) -> None:
        status = directory.stat()
        if (status.st_dev, status.st_ino) in seen:
            reading.left_out["links to a folder that was read already"] += 1
            return
        seen.add((status.st_dev, status.st_ino))
        try:
            entries = list(os.scandir(directory))
        except PermissionError:
            raise UserError(f"{directory}: may not be read; mend its permissions, or move it away") from None
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _HIDDEN:
                continue
            name = (*inside, entry.name)
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link that leads in a circle
                is_folder = is_file = False
            if is_folder and not is_unit(Path(entry.path)):
                enter(Path(entry.path), name)
            elif is_folder or is_file:
                members.append((name, entry.path, 0 if is_folder else entry.stat().st_size))
            else:
                kind = "links that lead nowhere" if entry.is_symlink() else "devices and pipes"
                reading.left_out[kind] += 1

    enter(folder, ())
    for parts, path, size in sorted(members):
        name = "/".join(parts)
        yield File(name, f"{folder}/{name}", partial(io.FileIO, path), Path(path), size)


def is_hidden(parts: Iterable[str]) -> bool:
    """Whether a file, or a folder above it, is one that systems make for themselves."""
    return any(part.startswith(".") or part in _HIDDEN for part in parts)
