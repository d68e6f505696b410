"""Starting commands so that they can be killed: forked off a process that has imported everything, as Python's start takes seconds."""

import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from noiseworth.cli import main

FILE_EVENTS = (
    "open",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "fcntl.flock",
    "shutil.rmtree",
)


def start(words: list[str], folder: Path, names: Path | None = None, deadly: int | None = None) -> int:
    """Carry out a command in a process of its own, which has imported what this one has; returns its number.

    Args:
        words: the command line, without `noiseworth`.
        folder: where; what it prints lies beside it.
        names: a file for the names of the modules that it imported.
        deadly: it kills itself before it does so many things to files; with 0 it only counts them, see `count_of`.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        os.environ["NOISEWORTH_CACHE"] = str(folder / "cache")
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{folder}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        events = [] if deadly is None else _count_events(deadly)
        code = main(words)
        if events:
            Path(f"{folder}.events").write_text(str(events[0]))
        sys.stdout.flush()
        sys.stderr.flush()
        if names is not None:
            names.write_text("\n".join(sys.modules))
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def _count_events(deadly: int) -> list[int]:
    """Count what this process does to files, and die before it does the one of this number."""
    events = [0]

    def hook(event: str, _: object) -> None:
        if event in FILE_EVENTS:
            events[0] += 1
            if events[0] == deadly:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return events


def count_of(folder: Path) -> int:
    """How many things the command did to files, that was started in this folder with `deadly` 0."""
    return int(Path(f"{folder}.events").read_text())


def wait(child: int, seconds: float) -> int | None:
    """The exit code of a process, or None if it has not ended after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        left = until - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(left, 0.002))


def descendants(process: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    processes, waiting = [], [process]
    while waiting:
        waiting += (new := children.get(waiting.pop(), []))
        processes += new
    return processes


def kill(child: int, *, with_workers: bool) -> None:
    """Kill a command, and its workers or not."""
    for process in [child, *(descendants(child) if with_workers else [])]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    os.waitpid(child, 0)


def wait_for_orphans(folder: Path, seconds: float) -> None:
    """Wait until no process works in a folder: workers look after their parent each second, and stop without it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(
        _works_in(entry, folder) for entry in Path("/proc").glob("[0-9]*")
    ):
        time.sleep(0.1)


def _works_in(process: Path, folder: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:
        return False


def import_again(names: Path) -> None:
    """Import in this process what a command imported in its own."""
    for name in names.read_text().splitlines():
        with suppress(Exception):  # a name that is no module's own
            import_module(name)
