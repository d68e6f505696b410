"""Files of an archive (zip, tar and its compressions), as a stream of named contents. Nothing is extracted for good."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from noiseworth.data.sources.files import MOST_BYTES, File, Stream, folder_files, is_hidden
from noiseworth.data.sources.kinds import is_archive_name
from noiseworth.data.sources.source import Reading
from noiseworth.errors import UserError

_MOST_RATIO = 1000  # of an archive's unpacked bytes to its own; zeros alone reach this
_PIECE = 1 << 16  # bytes that are read at once
_TAIL = 2 * _PIECE  # bytes; more than tarfile reads ahead


@contextmanager
def open_files(path: Path, reading: Reading) -> Iterator[Iterator[File]]:
    """The files of a folder or an archive; hidden ones are left out. By name in folders and zips, as they lie in tars.

    Raises:
        UserError: damaged, or an archive with links, or with names that lead out of it.
    """
    if path.is_dir():
        yield folder_files(path, reading)
    elif path.name.lower().endswith(".zip"):
        try:
            with zipfile.ZipFile(path) as archive:
                yield _zip(archive, path, reading)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UserError(f"{path}: damaged archive ({error})") from None
    else:
        try:
            with path.open("rb") as packed, _unpacked(packed) as stream:
                yield _tar(stream, path, reading)
        except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            if getattr(error, "errno", None):
                raise
            raise UserError(f"{path}: damaged archive ({error})") from None


def _zip(archive: zipfile.ZipFile, path: Path, reading: Reading) -> Iterator[File]:
    infos = sorted(archive.infolist(), key=lambda i: i.filename)
    _check_total(sum(info.file_size for info in infos), path, reading)
    for info in infos:
        if not info.filename:
            raise UserError(f"{path}: damaged archive (it has a file without a name)")
        if info.is_dir():
            continue
        name, where = info.filename, f"{path}/{info.filename}"
        _check_name(name, path)
        if (info.external_attr >> 28) == 0xA:
            raise UserError(f"{where}: is a link; archives with links are refused: pack the files themselves")
        if info.flag_bits & 1:
            raise UserError(f"{where}: is encrypted; decrypt the archive first")
        if not is_hidden(name.split("/")):
            yield File(name, where, _zip_opener(archive, info, where), None, info.file_size)


def _zip_opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Callable[[], Stream]:
    def opener() -> Stream:
        try:
            return _Guarded(archive.open(info), where)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{where}: damaged in the archive ({error})") from None

    return opener


class _Guarded(io.RawIOBase):
    """A file in a zip archive, whose damage is said by its name."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream, self._where = stream, where

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)  # no more than its size, and its sum is checked at the end
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
            raise UserError(f"{self._where}: damaged in the archive ({error})") from None

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def _unpacked(packed: IO[bytes]) -> Iterator[IO[bytes]]:
    """The bytes of a tar archive, whichever way it is compressed."""
    magic = packed.read(6)
    packed.seek(0)
    stream: Any  # read in large pieces: these unpack as much as they are asked for at once
    if magic[:2] == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=packed)
    elif magic[:3] == b"BZh":
        stream = bz2.BZ2File(packed)
    elif magic == b"\xfd7zXZ\0":
        stream = lzma.LZMAFile(packed)  # noqa: SIM115 - its file is closed by the caller
    else:
        stream = packed
    yield io.BufferedReader(stream, _PIECE)


def _tar(stream: IO[bytes], path: Path, reading: Reading) -> Iterator[File]:
    """Python's tarfile takes a damaged header, and the end of a file that was cut short, for the end of the archive: both are asked about
    here. Reading on to the end also checks the sum of a compressed archive."""
    counted = _Counted(stream)
    total = 0
    with tarfile.open(fileobj=counted, mode="r|", bufsize=_PIECE) as archive:  # type: ignore[call-overload]
        for info in archive:
            where = f"{path}/{info.name}"
            total += info.size
            _check_total(total, path, reading)
            if info.isdir():
                continue
            _check_name(info.name, path)
            if not info.isreg():
                what = "link" if info.issym() or info.islnk() else "device"
                raise UserError(
                    f"{where}: is a {what}; archives with these are refused: pack the files themselves"
                )
            parts = [part for part in info.name.split("/") if part not in ("", ".")]
            name = "/".join(parts)
            if not is_hidden(parts):
                yield File(name, where, _tar_opener(archive, info, where), None, info.size)
        end = archive.offset
    _check_end(counted, end, path)


class _Counted:
    """A stream that keeps its last bytes, which tell how a tar archive ends."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self.position, self.last = stream, 0, b""

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self.position += len(content)
        self.last = (self.last + content)[-_TAIL:] if len(content) < _TAIL else content[-_TAIL:]
        return content


def _check_end(stream: _Counted, end: int, path: Path) -> None:
    """A whole archive ends with two blocks of zeros, and nothing but zeros after them.

    Raises:
        UserError: it does not.
    """
    block = tarfile.BLOCKSIZE
    seen = stream.last[max(0, len(stream.last) - (stream.position - end)) :] if stream.position > end else b""
    zeros, clean = len(seen), not any(seen)
    while content := stream.read(1 << 16):
        zeros += len(content)
        clean = clean and not any(content)
    if not clean:
        raise UserError(f"{path}: damaged archive (what comes {end:,} bytes into it is no header of a file)")
    if zeros < 2 * block:
        raise UserError(
            f"{path}: damaged archive (it is cut short: the two empty blocks at its end are missing)"
        )


def _tar_opener(archive: tarfile.TarFile, info: tarfile.TarInfo, where: str) -> Callable[[], Stream]:
    """Opens a file of a tar archive, which as a stream gives its bytes once: what was read is kept."""
    file = archive.extractfile(info)
    if file is None:
        raise AssertionError("only regular files come here")
    kept = bytearray()
    return lambda: _TarMember(file, info.size, kept, where)


class _TarMember(io.RawIOBase):
    """A file of a tar archive from its beginning: the bytes that were read before, then those that follow in the archive."""

    def __init__(self, file: IO[bytes], size: int, kept: bytearray, where: str) -> None:
        self._file, self._size, self._kept, self._where, self._at = file, size, kept, where, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if end > len(self._kept):
            try:
                self._kept += self._file.read(end - len(self._kept))
            except tarfile.ReadError as error:
                raise UserError(f"{self._where}: damaged in the archive ({error})") from None
            if len(self._kept) < end:
                raise UserError(f"{self._where}: damaged in the archive (cut short)")
        content = bytes(self._kept[self._at : end])
        self._at = end
        return content


def _check_total(total: int, path: Path, reading: Reading) -> None:
    size = path.stat().st_size
    if total > _MOST_RATIO * size + MOST_BYTES and not reading.trust_sizes:
        raise UserError(
            f"{path}: unpacks to more than {total:,} bytes from {size:,}, as a decompression bomb does; if you trust"
            " it, give --trust-sizes"
        )


def _check_name(name: str, path: Path) -> None:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        raise UserError(
            f"{path}: its file {name!r} would lie outside the archive; such an archive is not to be trusted"
        )


def is_archive(path: Path) -> bool:
    """By its name."""
    return is_archive_name(path.name)
