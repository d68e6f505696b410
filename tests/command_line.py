"""The command line, as tests call it."""

import pytest

from noiseworth.cli import main

Captured = pytest.CaptureFixture[str]


def refusal(words: list[str], capsys: Captured) -> str:
    """The line with which a command line is refused."""
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("noiseworth: error: ")
    return line
