"""Locks on directories, and signals: what the processes of one user do to each other."""

import fcntl
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

_STOPS = (int(signal.SIGINT), int(signal.SIGTERM))


@contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Whether this process holds the lock file at `path` for as long as the block lasts.

    The operating system lets go of the lock when a process dies, however it dies. The file says who holds it:
    host and process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(f"{platform.node()} {os.getpid()}")
        file.flush()
        try:
            yield True
        finally:
            file.truncate(0)


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
