"""What the command line tells its user and ends with: a mistake in one line, or a stop that was asked for."""

import re

# What steers a terminal: control characters (but tab and line end), directions of writing, lone surrogates.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 2_000  # characters of a message


class UserError(ValueError):
    """Bad input or settings. The command line prints its message as one line and ends with exit code 2."""


class Stopped(Exception):  # noqa: N818 - not an error: the user asked for it
    """Work was stopped by signal `number` and has saved its state. The command line ends with exit code 128 + number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where it has none: libraries raise pages."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def printable(text: str) -> str:
    """Text for a terminal: characters that would steer it, which names may hold, are written as `\\x1b`."""

    def written_out(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

    return _STEERING.sub(written_out, text)


def one_line(message: str) -> str:
    """A message as one printable line of at most 2,000 characters.

    Of a longer one both ends are kept, since the remedy comes last.
    """
    line = " ".join(printable(message).split())
    if len(line) <= _LONGEST:
        return line
    end = _LONGEST // 4
    return f"{line[: _LONGEST - end - 5]} ... {line[-end:]}"
