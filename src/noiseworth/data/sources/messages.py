"""What reading libraries say beside their results, on their own logs or as Python warnings: never lost, never a page.

A library that fills a gap (a missing plane as black, a cut file as zeros) mostly says so there, and goes on.
"""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from noiseworth.errors import UserError, first_line

_LOGS = (
    "tifffile", "nibabel", "nibabel.global", "pydicom", "astropy", "h5py", "zarr", "PIL", "imagecodecs", "mrcfile", "datasets",
)  # fmt: skip
_log = logging.getLogger("noiseworth")
# Remarks on metadata that no pixel depends on.
_HARMLESS = (
    "could be decompression bomb", "Invalid value for VR", "VerifyWarning", "contains invalid characters",
    "Card is too long", "deprecat", "EXIF", "more than one", "value of the attribute", "Unknown encoding",
    "Incorrect value for", "Expected explicit VR",
)  # fmt: skip


class _Collector(logging.Handler):
    """Keeps what was said until it is asked for: level and text."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[tuple[int, str]] = []
        self.caught: list[warnings.WarningMessage] = []
        self.is_active = False

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelno, record.getMessage()))

    def take(self) -> list[tuple[int, str]]:
        """What was said since the last time, each thing once."""
        if not self.records and not self.caught:
            return []
        messages = [
            (logging.WARNING, str(w.message)) for w in self.caught if w.category is not DeprecationWarning
        ]
        messages = list(dict.fromkeys([*self.records, *messages]))
        self.records.clear()
        self.caught.clear()
        return messages


_collector = _Collector()


@contextmanager
def collected_messages() -> Iterator[None]:
    """Keep libraries from writing to the terminal while the block reads files; `library_messages` tells what they say of each."""
    if _collector.is_active:
        yield
        return
    # Astropy's log must be made by astropy itself.
    loggers = [logging.getLogger(name) for name in _LOGS if name != "astropy" or name in sys.modules]
    before = [(logger.propagate, list(logger.handlers)) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, [_collector]
    _collector.is_active = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _collector.caught = caught
            yield
    finally:
        _collector.is_active = False
        _collector.take()
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers


@contextmanager
def library_messages(where: str) -> Iterator[None]:
    """Collect what libraries say while the block reads a file: an error of theirs is one of ours, a warning is passed on with the file's
    name.

    Raises:
        UserError: a library noted an error in its log, and went on.
    """
    with collected_messages():
        _collector.take()
        yield
        for level, text in _collector.take():
            if any(word in text for word in _HARMLESS):
                continue
            line = first_line(ValueError(text))[:300]
            if level >= logging.ERROR:
                raise UserError(f"{where}: damaged or incomplete ({line})")
            _log.warning("%s: %s", where, line)
