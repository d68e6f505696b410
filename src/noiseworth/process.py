"""Locks, unfinished directories, full disks and signals: what processes do to each other and leave behind."""

import errno
import fcntl
import hashlib
import os
import platform
import re
import secrets
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

from noiseworth.errors import UserError

_STOPS = (int(signal.SIGINT), int(signal.SIGTERM))
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HOLDER = re.compile(rb"(\S+ \d+)?")  # what a lock file may hold
_LONGEST_HOLDER = 400  # bytes
_POLL = 0.2  # seconds


class DiskFullError(UserError):
    """No space is left: whatever else is tried will fail as well, until somebody makes room."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that no space is left, for the disk or for the user."""
    if isinstance(error, OSError):
        # NumPy's own error has no number: "4096 requested and 0 written".
        return error.errno in _FULL or (error.errno is None and " requested and " in str(error))
    return isinstance(error, DiskFullError)


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock file at `path` for as long as the block lasts.

    The operating system lets go of the lock when a process dies, however it dies. The file says who holds it:
    host and process.

    Raises:
        UserError: something else lies there (a link, a file that is no lock); it is left as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_lock(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        if not _HOLDER.fullmatch(os.pread(descriptor, _LONGEST_HOLDER, 0)):
            raise UserError(f"{path}: is a file of something else where a lock should be; move it away")
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{platform.node()} {os.getpid()}".encode(), 0)
        try:
            yield True
        finally:
            os.truncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """Open or make a lock file, without following a link and without changing what is there."""
    try:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666
        )
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise UserError(f"{path}: is a link or a directory where a lock should be; remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path}: is no file, where a lock should be; remove it")
    return descriptor


def holder(path: Path) -> tuple[str, int] | None:
    """Host and process that hold the lock file at `path`; None if nobody does.

    Reads the file and no more: to try the lock would keep the process that waits for it from getting it.
    """
    try:
        host, pid = path.read_text(encoding="utf-8").split()
    except (FileNotFoundError, ValueError):
        return None
    if host != platform.node():
        return host, int(pid)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return host, int(pid)


def shared_work(
    names: Sequence[str], locks: Path, is_done: Callable[[str], bool]
) -> Iterator[tuple[str, bool]]:
    """The pieces of a work that several processes share, each as (name, whether this process is to do it) once it may be done, or is.

    A process holds a piece for as long as it does it. Pieces that others hold come last: they are waited for, and taken over if their
    process dies; so all are done when the last one has come.

    Args:
        names: of the pieces, the same for all processes.
        locks: folder for what says who holds which piece.
        is_done: whether a piece is done, whoever did it.
    """
    left = list(names)
    while left:
        held = []
        for name in left:
            if is_done(name):
                yield name, False
                continue
            with lock(locks / name) as is_mine:
                if is_mine:
                    yield name, not is_done(name)
                else:
                    held.append(name)
        if len(held) == len(left):
            time.sleep(_POLL)
        left = held


@contextmanager
def directory_beside(out: Path) -> Iterator[Path]:
    """A new directory beside `out`, `.NAME.XXXXXXXX.partial`, removed at the end unless it was renamed.

    This process holds it: what processes that died left there is removed first, and never what one that lives
    is writing.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_rests(out)
    while True:
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        descriptor = os.open(beside, os.O_RDONLY | os.O_DIRECTORY)
        with suppress(OSError):  # a file system without locks on directories: nobody can remove it, either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if beside.is_dir():  # another process may have taken it for a rest before it was held
            break
        os.close(descriptor)
    try:
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def pieces_beside(out: Path, settings: str) -> Iterator[Path]:
    """A directory beside `out` for pieces of it, `.NAME.DIGEST.pieces.partial`, the same for all processes with the same settings.

    It stays when a process ends early, so that the same command goes on. That of other settings is removed, unless a process that lives
    is at work there.
    """
    digest = hashlib.sha256(settings.encode()).hexdigest()[:16]
    folder = out.with_name(f".{out.name}.{digest}.pieces.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    for rest in _named_like(out, r"[0-9a-f]{16}\.pieces"):
        if rest != folder:
            _remove_unless_held(rest, os.O_DIRECTORY)
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # a file system without locks on directories: nobody can remove it, either
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield folder
    finally:
        os.close(descriptor)


def remove_rests(out: Path) -> None:
    """Remove the directories beside `out` that processes which died left (`directory_beside`)."""
    for rest in _named_like(out, r"[a-z0-9_]{8}"):
        _remove_unless_held(rest, os.O_DIRECTORY)


@contextmanager
def file_beside(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path`, `.NAME.HOST.XXXXXXXX.partial`, synced and renamed at the end unless there is an error.

    This process holds it: what processes of this host that died left there is removed first. (Of other hosts
    it is left: on some file systems nobody can tell whether they live.)
    """
    host = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    for rest in _named_like(path, rf"{host}\.[0-9a-f]{{8}}"):
        _remove_unless_held(rest)
    while True:
        beside = path.with_name(f".{path.name}.{host}.{secrets.token_hex(4)}.partial")
        file = beside.open("xb")
        with suppress(OSError):  # a file system without locks: nobody can remove it, either
            fcntl.flock(file, fcntl.LOCK_EX)
        if beside.exists():  # another process may have taken it for a rest before it was held
            break
        file.close()
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _named_like(path: Path, middle: str) -> list[Path]:
    """What lies beside `path` and is called `.NAME.MIDDLE.partial`."""
    names = re.compile(re.escape(f".{path.name}.") + middle + r"\.partial")
    try:
        return [entry for entry in path.parent.iterdir() if names.fullmatch(entry.name)]
    except OSError:  # there is no such folder, or it may not be listed
        return []


def _remove_unless_held(rest: Path, kind: int = 0) -> None:
    """Remove a file or a directory, unless a process that lives holds it, or locks cannot be had there."""
    try:
        descriptor = os.open(rest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | kind)
    except OSError:
        return
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(rest, ignore_errors=True) if kind else rest.unlink()
    os.close(descriptor)


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are noted in the list, to be acted on between steps; a second one ends the process as usual."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    with suppress(ValueError):  # not the main thread: signals belong to somebody else
        for number in _STOPS:
            before[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupted(BaseException):
    """A signal came (`raised_signals`); not an Exception, so that nothing on the way takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def raised_signals() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Interrupted`, once: a second one does not keep workers from saving what they have."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in _STOPS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    before: dict[int, Any] = {}
    with suppress(ValueError):  # not the main thread: signals belong to somebody else
        for number in _STOPS:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
