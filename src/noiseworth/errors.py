"""What the command line tells its user and ends with: a mistake in one line, or a stop that was asked for."""


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
