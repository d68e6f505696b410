"""Progress bars and notices on stderr. Both are silent inside `quiet()`, and bars where stderr is not a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

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
        tqdm.write(f"noiseworth: {message}", file=sys.stderr)
