"""Files of a folder or an archive (zip; tar, also compressed), as a stream of named contents.

Nothing is extracted to disk.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from noiseworth.errors import UserError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
_MOST_BYTES = 1 << 30  # of one file, uncompressed
_HIDDEN = ("__MACOSX",)


@dataclass(frozen=True)
class File:
    """One file: its name inside the folder or archive, its size, and `read()` for its bytes.

    A file of a tar archive must be read before the next one is asked for.
    """

    name: str
    size: int
    read: Callable[[], bytes]


def is_archive(path: Path) -> bool:
    """Whether its name is that of an archive."""
    return path.name.lower().endswith(ARCHIVES)


@contextmanager
def open_files(path: Path) -> Iterator[Iterator[File]]:
    """The files of a folder or an archive, without hidden ones; sorted by name, except in a tar archive.

    Raises:
        UserError: the archive is damaged, or has links, or names that lead outside it.
    """
    if path.is_dir():
        yield _folder(path)
    elif path.name.lower().endswith(".zip"):
        try:
            with zipfile.ZipFile(path) as archive:
                yield _zip(archive, path)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UserError(f"{path}: damaged archive ({error})") from None
    else:
        try:
            with tarfile.open(path, "r|*") as archive:
                yield _tar(archive, path)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            if isinstance(error, FileNotFoundError | PermissionError) or getattr(error, "errno", None):
                raise
            raise UserError(f"{path}: damaged archive ({error})") from None


def _folder(folder: Path) -> Iterator[File]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder)
        if not _is_hidden(name.parts):
            yield File(name.as_posix(), path.stat().st_size, _reader(path))


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        _check_bytes(path.stat().st_size, str(path))
        return path.read_bytes()

    return read


def _zip(archive: zipfile.ZipFile, path: Path) -> Iterator[File]:
    for info in sorted(archive.infolist(), key=lambda i: i.filename):
        if info.is_dir():
            continue
        name, where = info.filename, f"{path}/{info.filename}"
        _check_name(name, path)
        if (info.external_attr >> 28) == 0xA:
            raise UserError(f"{where}: is a link; archives with links are refused: pack the files themselves")
        if info.flag_bits & 1:
            raise UserError(f"{where}: is encrypted; decrypt the archive first")
        if not _is_hidden(PurePosixPath(name).parts):
            yield File(name, info.file_size, _zip_reader(archive, info, where))


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Callable[[], bytes]:
    def read() -> bytes:
        _check_bytes(info.file_size, where)
        try:
            return archive.read(info)  # reads at most file_size bytes, and verifies the checksum
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{where}: damaged in the archive ({error})") from None

    return read


def _tar(archive: tarfile.TarFile, path: Path) -> Iterator[File]:
    for info in archive:
        where = f"{path}/{info.name}"
        if info.isdir():
            continue
        _check_name(info.name, path)
        if not info.isreg():
            what = "link" if info.issym() or info.islnk() else "device"
            raise UserError(
                f"{where}: is a {what}; archives with these are refused: pack the files themselves"
            )
        name = PurePosixPath(info.name).as_posix()
        if not _is_hidden(PurePosixPath(name).parts):
            yield File(name, info.size, _tar_reader(archive, info, where))


def _tar_reader(archive: tarfile.TarFile, info: tarfile.TarInfo, where: str) -> Callable[[], bytes]:
    def read() -> bytes:
        _check_bytes(info.size, where)
        file = archive.extractfile(info)
        if file is None:
            raise AssertionError("only regular files come here")
        content = file.read()
        if len(content) != info.size:
            raise UserError(f"{where}: damaged in the archive (cut short)")
        return content

    return read


def _check_name(name: str, path: Path) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        raise UserError(
            f"{path}: its file {name!r} would lie outside the archive; do not trust such an archive"
        )


def _check_bytes(size: int, where: str) -> None:
    if size > _MOST_BYTES:
        raise UserError(f"{where}: {size:,} bytes uncompressed; one file may have at most {_MOST_BYTES:,}")


def _is_hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part in _HIDDEN for part in parts)
