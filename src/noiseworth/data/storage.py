"""Reads rows of `images.npy`, local or at any address that fsspec knows (s3://, hf://, https://, memory://).

Local files are read with `pread`, not mapped: what was read of a mapped file counts as the process's memory,
and a file that is truncated while it is mapped kills the process. Small files are held in memory.
"""

import io
import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from noiseworth.errors import UserError, first_line

IN_MEMORY = 64 << 20  # bytes, of a data set; a larger one is read row by row
_HEADER = 4096  # bytes; longer than any header that we write


class Rows(Protocol):
    """An array (N, ...) that is read by rows."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]: ...


# Protocols of fsspec that read bytes at an address. Others run templates, unpack archives, or chain these.
_PROTOCOLS = (
    "s3", "s3a", "gs", "gcs", "hf", "http", "https", "memory", "az", "abfs", "abfss", "oss", "ssh", "sftp", "hdfs", "webdav", "ftp",
)  # fmt: skip
_ALLOWED = "NOISEWORTH_ADDRESSES"  # environment: addresses that data sets may refer to, separated by spaces
_named: set[str] = set()  # addresses that were given to this process


def name_address(address: str) -> None:
    """Note an address that was given by the user, and not by a file: data sets may refer to what lies below it."""
    _named.add(address.rstrip("/") + "/")


def require_named(address: str, where: str) -> None:
    """Refuse an address that only a file names: a stranger's data set must not make this machine call anybody.

    Raises:
        UserError: the user gave neither it nor one above it.
    """
    allowed = {a.rstrip("/") + "/" for a in os.environ.get(_ALLOWED, "").split()}
    if not any(address.startswith(prefix) for prefix in _named | allowed):
        raise UserError(
            f"{where}: refers to images at {address}, an address that you did not give; if you trust it, set"
            f" {_ALLOWED}={address.rsplit('/', 2)[0]}"
        )


def is_address(path: Path | str) -> bool:
    """Whether the path names a protocol, so that fsspec must read it."""
    return "://" in str(path)


def join_path(folder: str, name: str) -> str:
    """`name` inside `folder`, which may be an address."""
    return f"{folder.rstrip('/')}/{name}" if is_address(folder) else str(Path(folder) / name)


def read_bytes(path: str) -> bytes:
    """A whole small file.

    Raises:
        FileNotFoundError: there is none.
        UserError: fsspec, or what it needs for this protocol, is not installed or does not answer.
    """
    if not is_address(path):
        return Path(path).read_bytes()
    system, inside = _filesystem(path)
    try:
        content: bytes = system.cat_file(inside)
    except FileNotFoundError:
        raise
    except Exception as error:  # every protocol has errors of its own
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from None
    return content


def open_rows(path: str, in_memory: int = IN_MEMORY, keep_open: bool = True) -> Rows:
    """Open an array file for reading by rows.

    Args:
        in_memory: bytes up to which a local file is held in memory.
        keep_open: whether a larger local file stays open between reads.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is not a `.npy` file of plain numbers.
    """
    return _Remote(path) if is_address(path) else _Local(path, in_memory, keep_open)


def read_array(path: str) -> NDArray[Any]:
    """A whole array file."""
    try:
        array: NDArray[Any] = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except (FileNotFoundError, UserError):
        raise
    except Exception as error:  # NumPy parses a damaged header as Python, which raises anything
        raise _unreadable(path, first_line(error)) from None
    return array


class _Local:
    def __init__(self, path: str, in_memory: int, keep_open: bool) -> None:
        self._path, self._in_memory, self._keep_open = path, in_memory, keep_open
        with Path(path).open("rb") as file:
            self.shape, self.dtype, self._start = _header(file, path)
            self._row = math.prod(self.shape[1:]) * self.dtype.itemsize
            size = os.fstat(file.fileno()).st_size - self._start
            if size != self.shape[0] * self._row:
                raise UserError(f"{path}: not a readable .npy file (is cut short); pack the data set again")
            whole = size <= in_memory
            self._held = np.frombuffer(file.read(), self.dtype).reshape(self.shape) if whole else None
        self._descriptor = os.open(path, os.O_RDONLY) if keep_open and not whole else -1

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Local, (self._path, self._in_memory, self._keep_open)

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        if self._held is not None:
            held: NDArray[Any] = self._held[rows]
            return held
        if self._descriptor >= 0:
            return self._read(self._descriptor, rows)
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            return self._read(descriptor, rows)
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int, rows: NDArray[np.int64]) -> NDArray[Any]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        view = out.reshape(-1).view(np.uint8).data if out.size else memoryview(b"")
        size, begin = self._row, self._start
        if len(rows) > 1 and (np.diff(rows) == 1).all():
            done = 0
            while done < len(view):  # a single call reads 2 GiB at most
                done += self._check(os.preadv(descriptor, [view[done:]], begin + int(rows[0]) * size + done))
            return out
        at = 0
        for offset in (rows * size + begin).tolist():
            if os.preadv(descriptor, [view[at : at + size]], offset) != size:
                self._check(0)
            at += size
        return out

    def _check(self, count: int) -> int:
        if count <= 0:
            raise UserError(f"{self._path}: was cut short while it was read; pack the data set again")
        return count


class _Remote:
    def __init__(self, path: str) -> None:
        self._path = path
        self._system, self._inside = _filesystem(path)
        head = self._system.cat_file(self._inside, start=0, end=_HEADER)
        self.shape, self.dtype, self._start = _header(io.BytesIO(head), path)
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Fetches consecutive rows as one range, and all ranges at once where the protocol allows it."""
        order, inverse = np.unique(rows, return_inverse=True)
        breaks = np.flatnonzero(np.diff(order) != 1) + 1
        runs = [run for run in np.split(order, breaks) if len(run)]
        starts = [self._start + int(run[0]) * self._row for run in runs]
        ends = [self._start + (int(run[-1]) + 1) * self._row for run in runs]
        pieces = self._system.cat_ranges([self._inside] * len(runs), starts, ends, on_error="return")
        for piece, start, end in zip(pieces, starts, ends, strict=True):
            if not isinstance(piece, bytes) or len(piece) != end - start:
                raise UserError(
                    f"{self._path}: bytes {start} to {end} could not be read"
                    f" ({piece if isinstance(piece, Exception) else 'cut short'})"
                )
        return np.frombuffer(b"".join(pieces), self.dtype).reshape(-1, *self.shape[1:])[inverse.reshape(-1)]


def _header(file: Any, path: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype, and the offset of the data in bytes."""
    try:
        version = npy.read_magic(file)
        shape, fortran, dtype = (
            npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        )(file)
    except Exception as error:  # NumPy parses a damaged header as Python, which raises anything
        raise _unreadable(path, first_line(error)) from None
    if fortran or dtype.hasobject:
        raise _unreadable(path, "Fortran order or Python objects")
    return shape, dtype, file.tell()


def _unreadable(path: str, why: str) -> UserError:
    return UserError(f"{path}: not a readable .npy file ({why}); pack the data set again")


def _filesystem(path: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise UserError(f"{path}: addresses need fsspec: pip install 'noiseworth[hub]'") from None
    protocol = path.partition("://")[0]
    if "::" in path or protocol not in _PROTOCOLS:
        raise UserError(f"{path}: addresses may begin with {', '.join(_PROTOCOLS)}, and not be chained by ::")
    try:
        system, inside = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise UserError(f"{path}: {first_line(error)}") from None
    return system, inside
