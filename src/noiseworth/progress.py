"""Progress bars and notices on stderr. Both are silent inside `quiet()`, and bars where stderr is not a terminal."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

from noiseworth.errors import one_line

_QUIET = ContextVar("noiseworth_quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no notices inside this block: for programs, and for work that is a part of other work."""
    token = _QUIET.set(True)
    try:
        yield
    finally:
        _QUIET.reset(token)


def progress_bar(*arguments: Any, **options: Any) -> Any:
    """A `tqdm` bar that goes away when it is done. Arguments as of `tqdm`."""
    is_hidden = options.pop("disable", False) or _QUIET.get()
    # None: hidden where stderr is not a terminal.
    return tqdm(*arguments, disable=True if is_hidden else None, dynamic_ncols=True, leave=False, **options)


def notice(message: str) -> None:
    """One line on stderr, `noiseworth: message`, that leaves progress bars whole."""
    if not _QUIET.get():
        _tell(message)


def _tell(message: str) -> None:
    tqdm.write(f"noiseworth: {one_line(message)}", file=sys.stderr)


class _Warnings(logging.Handler):
    """Tells each record of a log as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        _tell(record.getMessage())


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Inside this block a warning, of this package's log or of Python, is one printable line on stderr."""
    handler, log, shown = _Warnings(), logging.getLogger("noiseworth"), warnings.showwarning
    log.addHandler(handler)
    warnings.showwarning = lambda message, category, *_, **__: _tell(f"{category.__name__}: {message}")
    try:
        yield
    finally:
        log.removeHandler(handler)
        warnings.showwarning = shown
