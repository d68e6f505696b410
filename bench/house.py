"""The rooms and words of the code, held to their claims: `python bench/house.py`. Ten seconds; with `--clone`, ten minutes.

Writes `results/house.json`. `--clone` also times `make test` in a fresh clone.
"""

import argparse
import ast
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from checks import Checklist

ROOT = Path(__file__).parent.parent
WORDS = {"told", "found", "place", "said", "looks", "here"}
BEFORE = 140  # assignments, when the clean-up began


def bindings() -> int:
    """Names of variables, parameters and attributes that say nothing of the thing, in all Python files."""
    count = 0
    for folder in ("src", "tests", "bench", "examples"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                is_name = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in WORDS
                is_attribute = (
                    isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in WORDS
                )
                count += is_name or is_attribute or (isinstance(node, ast.arg) and node.arg in WORDS)
    return count


def passes(tests: str) -> bool:
    """Whether some tests pass, each with the project's own settings but for parallel processes."""
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", *tests.split()]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clone", action="store_true", help="also time `make test` in a fresh clone")
    checklist = Checklist("python bench/house.py")
    for claim, what, tests in (
        (
            "house/layout",
            "no room or file of an old name, imports by layers, short files",
            "tests/test_house.py",
        ),
        (
            "house/monitors",
            "run_training from Python writes the monitors' record and warns",
            "tests/test_monitors.py -k from_python",
        ),
        (
            "house/compatible",
            "a run, a data set and a sweep of before open, go on, sample, evaluate",
            "tests/test_compatible.py",
        ),
        (
            "house/add-a-command",
            "a command is added through the table alone",
            "tests/test_commands.py -k through_the_table",
        ),
        (
            "numbers/traced",
            "every number of README and docs lies in the results that the page cites, or has a source",
            "tests/test_traced.py",
        ),
        (
            "house/words",
            "the glossary has the terms of help texts and options",
            "tests/test_commands.py -k glossary",
        ),
    ):
        checklist.yes(claim, what, passes(tests), f"pytest {tests}")
    what = f"names told, found, place, said, looks, here ({BEFORE} assignments before)"
    checklist.add("house/words", what, bindings(), 0, "max", "names")
    if parser.parse_args().clone:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["git", "clone", "--quiet", str(ROOT), f"{folder}/clone"], check=True)
            began = monotonic()
            code = subprocess.run(["make", "test"], cwd=f"{folder}/clone", check=False).returncode
            checklist.add(
                "house/tests",
                "make test from a fresh clone, installing included",
                monotonic() - began,
                480,
                "max",
                "s",
            )
            checklist.yes("house/tests", "all tests pass there", code == 0, "make test")
    checklist.update("house.json")


if __name__ == "__main__":
    main()
