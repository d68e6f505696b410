"""Two words to the user."""

import sys


def tell(message: str) -> None:
    """A line on stderr: stdout is for what was asked for."""
    print(message, file=sys.stderr)
