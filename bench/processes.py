"""What the benches run beside themselves: the command line, the tests; and a small disk, to be filled."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent


def command_line(*words: str) -> list[str]:
    """`noiseworth WORDS`, by this Python."""
    return [sys.executable, "-m", "noiseworth.cli", *words]


def noiseworth(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, and keep what it prints."""
    return subprocess.run(command_line(*words), capture_output=True, text=True, check=False)


def tests_pass(arguments: str) -> bool:
    """Whether `pytest ARGUMENTS` ends well. What it prints goes through."""
    words = [sys.executable, "-m", "pytest", *arguments.split()]
    return subprocess.run(words, cwd=ROOT, check=False).returncode == 0


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[bool]:
    """A disk of this size, mounted for the block at a new directory; False if it cannot be (only root can).

    Args:
        size: as `mount` takes it: 12m is 12 MiB.
    """
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", str(directory)], check=False)
