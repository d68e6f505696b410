"""The words of a command line before they are parsed: what belongs to which option, in any order.

`put_in_order` gives the parser one canonical form: the command, each option as `--name=value`, and last what
goes by its position. So options may lie anywhere, with dashes or underscores, and a value may begin with a dash.
"""

import dataclasses
import difflib
import re
import typing
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any

from noiseworth.commands import Command, load
from noiseworth.errors import UserError
from noiseworth.options import flag_of, hints_of, renamed
from noiseworth.records.yaml_files import load_yaml

# Options of every command, which are flags, and their help.
COMMON = {
    "dry_run": "Print the resolved settings as YAML, and stop.",
    "json": "Print JSON for programs, and no progress bar.",
    "debug": "If something fails, print where in the code.",
}


_LONGEST_NUMBER = 300  # digits: more are beyond floating point
_KINDS_OF_NUMBERS = {int, float, type(None)}
_NAMES = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "list": "a list such as [1,2]",
    "dict": "a table such as {a: 1}",
}
# What jsonargparse says -> what a user who knows no Python reads.
_PLAIN_WORDS: dict[str, Callable[[re.Match[str]], str]] = {
    r'Parser key "([\w.]+)": ': lambda match: f"{flag_of(match[1])}: ",
    r"Does not validate .* Subtypes: \[<class '(\w+)'>, <class 'NoneType'>\] .* Given value: ": lambda match: (
        f"must be {_NAMES.get(match[1], match[1])}, not "
    ),
    r"Does not validate against any of the Union subtypes .* Given value: ": lambda _: "cannot be ",
    r"Expected an? <class '(\w+)'>\. Got value: ": lambda match: (
        f"must be {_NAMES.get(match[1], match[1])}, not "
    ),
    r"Expected an? typing.Literal\[([^]]*)\]\. Got value: ": lambda match: f"must be one of {match[1]}, not ",
    r"the following arguments are required: (.*)": lambda match: (
        "missing: " + re.sub(r"[\w.]+\.", "", match[1]).replace("_", "-")
    ),
    r"Exceeds the limit .*": lambda match: "is too large a number",
}


def in_plain_words(message: str) -> str:
    """What the parser says of a mistake, without names of classes and of the parser's parts."""
    message = " ".join(message.split())
    for pattern, words in _PLAIN_WORDS.items():
        message = re.sub(pattern, words, message)
    return message


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The types of which a value may be one."""
    return typing.get_args(hint) if typing.get_origin(hint) in (UnionType, typing.Union) else (hint,)


def is_pair(hint: Any) -> bool:
    """Whether an option takes two numbers."""
    return tuple[float, float] in _kinds(hint)


def is_flag(hint: Any) -> bool:
    """Whether an option takes no value."""
    return bool in _kinds(hint)


def put_in_order(words: list[str], command: Command) -> list[str]:
    """The words in canonical form; `--grid NAME` as the file of that name, before all others.

    Raises:
        UserError: an option is unknown, was renamed or lacks its value, or a file of settings is wrong.
    """
    options = _Options(command)
    files: list[str] = []
    normalised: list[str] = []
    by_position: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            by_position += left
            break
        if word in ("-h", "--help"):
            normalised.append(word)
        elif not word.startswith("-") or word == "-":
            by_position.append(word)
        else:
            option = options.take(word, left)
            (files if option.startswith("--config=") else normalised).append(option)
    names = len(command.full_name.split())
    return [*by_position[:names], *files, *normalised, *map(_not_an_option, by_position[names:])]


def _not_an_option(word: str) -> str:
    """A path that begins with a dash, said so that no parser takes it for an option."""
    return f"./{word}" if word.startswith("-") else word


class _Options:
    """The options of one command, and how many words each takes."""

    def __init__(self, command: Command) -> None:
        config = load(command.config)
        fields = {f.name: f for f in dataclasses.fields(config) if not f.metadata.get("positional")}
        hints = hints_of(config)
        self.command, self.renamed = command, renamed(config)
        self.flags = {flag_of(name) for name in (*COMMON, *(n for n in fields if is_flag(hints[n])))}
        self.pairs = {flag_of(name) for name in fields if is_pair(hints[name])}
        self.numbers = {flag_of(name) for name in fields if set(_kinds(hints[name])) <= _KINDS_OF_NUMBERS}
        self.known = {"--config", *self.flags, *map(flag_of, fields)}
        self.known |= {"--grid"} if command.presets else set()

    def take(self, word: str, left: list[str]) -> str:
        """An option in canonical form; its values are taken off the words that are left."""
        written, equals, value = word.partition("=")
        name, dot, key = written.partition(".")  # --train.lr=0.1 is one entry of --train
        name = name.replace("_", "-")
        positive = f"--{name.removeprefix('--no-')}"
        if positive != name and positive in self.flags:
            if equals:
                raise UserError(f"{word}: takes no value; give {name}, or {positive}={value}")
            return f"{positive}=false"
        self._require_known(name.removesuffix("+"))
        if name in self.flags:
            return f"{name}={_truth(name, value if equals else None, left)}"
        if not equals:
            value = " ".join(_values(name, 2 if name in self.pairs else 1, left))
        if name in self.numbers and not (value.isascii() and len(value) <= _LONGEST_NUMBER):
            raise UserError(
                f"{name} {value[:20]}: must be a number in the digits 0 to 9, of reasonable length"
            )
        if name in self.pairs:
            value = _pair(name, value)
        if name == "--grid":
            return f"--config={self._preset(value)}"
        if name == "--config":
            self._check_file(Path(value))
        return f"{name}{dot}{key}={value}"

    def _require_known(self, name: str) -> None:
        new_names = {flag_of(old): flag_of(new) for old, new in self.renamed.items()}
        if name in new_names:
            raise UserError(f"{name}: is called {new_names[name]} now")
        if name not in self.known:
            near = difflib.get_close_matches(name, self.known, 1, 0.7)
            advice = (
                f"did you mean {near[0]}?" if near else f"see `noiseworth {self.command.full_name} --help`"
            )
            raise UserError(f"{name}: {self.command.full_name} has no such option; {advice}")

    def _preset(self, name: str) -> Path:
        files: dict[str, Path] = load(self.command.presets)()
        if name not in files:
            raise UserError(f"--grid {name}: there is no such grid; they are {', '.join(files)}")
        return files[name]

    def _check_file(self, file: Path) -> None:
        """Check what the parser will read: that it is a small table of plain values, under names of today."""
        settings = load_yaml(file)
        if not isinstance(settings, dict):
            raise UserError(f"{file}: holds no settings; give lines such as `seed: 1`")
        for name in settings:
            if name in self.renamed:
                raise UserError(f"{file}: {name} is called {self.renamed[name]} now")


def _values(name: str, count: int, left: list[str]) -> list[str]:
    """The words after an option that are its value."""
    if len(left) < count:
        raise UserError(f"{name}: needs {'a value' if count == 1 else f'{count} numbers'} after it")
    values = left[:count]
    del left[:count]
    return values


def _truth(name: str, value: str | None, left: list[str]) -> str:
    """The value of a flag, as `--x`, `--x true` and `--x=true` give it."""
    if value is None:
        value = left.pop(0) if left and left[0].lower() in ("true", "false") else "true"
    if value.lower() not in ("true", "false"):
        raise UserError(f"{name} {value}: must be true or false")
    return value.lower()


def _pair(name: str, text: str) -> str:
    """Two numbers as a YAML list."""
    words = text.strip("[]() ").replace(",", " ").split()
    try:
        low, high = (float(word) for word in words)
    except ValueError:
        raise UserError(f"{name} {text}: must be two numbers") from None
    return f"[{low}, {high}]"
