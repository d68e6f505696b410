"""The command line, made from the table of commands; `main` runs a command and turns errors into one line and an exit code."""

import dataclasses
import json
import sys
import typing
from pathlib import Path
from types import UnionType
from typing import Any, Union

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from noiseworth.commands import COMMANDS, GROUPS, Command, load, run
from noiseworth.errors import Stopped, UserError
from noiseworth.options import documentation, flag_of, renamed
from noiseworth.progress import quiet
from noiseworth.records import plain, versions

# Options of every command: whether they are flags, and their help.
_COMMON = {
    "dry_run": "Print the resolved settings as YAML, and stop.",
    "json": "Print JSON for programs, and no progress bar.",
}


def make_parser(command: Command | None = None) -> ArgumentParser:
    """The parser of the command line, with the options of one command alone: reading type hints and docstrings takes time."""
    parser = ArgumentParser(
        prog="noiseworth",
        description="Train one diffusion model on images of mixed noise, and learn what the noisy ones were worth.",
        epilog="Start with `noiseworth demo`.",
        exit_on_error=False,
        version=versions()["noiseworth"],
    )
    subcommands = parser.add_subcommands(metavar="COMMAND", help="`noiseworth COMMAND --help` explains each.")
    groups: dict[str, Any] = {}
    for entry in COMMANDS:
        if entry.group and entry.group not in groups:
            group = ArgumentParser(description=GROUPS[entry.group], exit_on_error=False)
            subcommands.add_subcommand(entry.group, group, help=GROUPS[entry.group])
            groups[entry.group] = group.add_subcommands(metavar="COMMAND")
        summary = (load(entry.config).__doc__ or "").splitlines()[0]
        sub = ArgumentParser(description=load(entry.config).__doc__, exit_on_error=False, print_config=None)
        if entry is command:
            _add_options(sub, entry)
        (groups[entry.group] if entry.group else subcommands).add_subcommand(entry.name, sub, help=summary)
    return parser


def _add_options(parser: ArgumentParser, command: Command) -> None:
    """An argument for each field of the command's configuration, in their order, and those that every command has."""
    config = load(command.config)
    hints, texts = typing.get_type_hints(config), documentation(config)
    parser.add_argument(
        "--config", action="config", help="YAML file with any of the settings below; options override it."
    )
    if command.presets:
        names = ", ".join(load(command.presets)())
        parser.add_argument(
            "--grid", type=str, help=f"Start from a grid that comes with noiseworth: {names}."
        )
    for field in dataclasses.fields(config):
        _add_option(parser, field, hints[field.name], texts.get(field.name, ""))
    for name, text in _COMMON.items():
        parser.add_argument(flag_of(name), type=bool, default=False, help=text, metavar="")


def _add_option(parser: ArgumentParser, field: "dataclasses.Field[Any]", hint: Any, text: str) -> None:
    settings: dict[str, Any] = {"help": text.replace("%", "%%"), "type": _typed(hint)}
    is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    if not is_required:
        settings["default"] = (
            field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        )
    if field.metadata.get("positional"):
        if "nargs" in field.metadata:
            settings |= {"nargs": field.metadata["nargs"], "type": str}
        parser.add_argument(field.name, **settings)
        return
    if field.metadata.get("repeat"):
        settings |= {"action": "append", "type": str}
    elif hint is bool:
        settings["metavar"] = ""
    elif _pair_of(hint):
        settings |= {"nargs": 2, "type": float, "metavar": ("LOW", "HIGH")}
    parser.add_argument(flag_of(field.name), **settings, **({"required": True} if is_required else {}))


def _typed(hint: Any) -> Any:
    """The type of an option on the command line, where a path is text."""
    if typing.get_origin(hint) not in (UnionType, Union):
        return hint
    kinds = [kind for kind in typing.get_args(hint) if kind is not Path]
    return Union[tuple(kinds)]  # noqa: UP007 - of a list that is made here


def _pair_of(hint: Any) -> bool:
    """Whether an option takes two numbers."""
    return tuple[float, float] in (hint, *typing.get_args(hint))


def _find(words: list[str]) -> Command | None:
    """The command that is meant."""
    names = [word for word in words if not word.startswith("-")]
    typed = " ".join(names[: 2 if names and names[0] in GROUPS else 1])
    return next((command for command in COMMANDS if command.full_name == typed), None)


def _execute(command: Command, arguments: Namespace) -> int:
    given = arguments[arguments.subcommand]
    if command.group:
        given = given[given.subcommand]
    kind = load(command.config)
    values = {field.name: given[field.name] for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values |= {
        name: tuple(value) for name, value in values.items() if _pair_of(hints[name]) and value is not None
    }
    values |= {f.name: values[f.name] or [] for f in dataclasses.fields(kind) if f.metadata.get("repeat")}
    config = kind(**values)
    if given.dry_run:
        import yaml

        settings = config.resolved() if hasattr(config, "resolved") else plain(config)
        print(yaml.safe_dump(settings, sort_keys=False), end="")
        return 0
    if given.json:
        with quiet():
            result = run(command, config)
        print(json.dumps(plain(getattr(result, "record", result)), indent=1, allow_nan=False))
    else:
        result = run(command, config)
        load(command.printer)(config, result)
    return int(load(command.exit_code)(result)) if command.exit_code else 0


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        command = _find(words)
        if command is not None:
            words = _normalised(words, command)
        arguments = make_parser(command).parse_args(words or ["--help"])
        if command is None:
            raise AssertionError("without a command the parser ends with its help or an error")
        return _execute(command, arguments)
    except Stopped as stop:
        print(f"noiseworth: {stop}", file=sys.stderr)
        return 128 + stop.number
    except (UserError, ArgumentError) as error:
        return _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print("noiseworth: interrupted", file=sys.stderr)
        return 130


def _normalised(words: list[str], command: Command) -> list[str]:
    """Options with dashes; flags with their value (`--json` is `--json=true`); `--grid NAME` as the file of that name, before all others.

    Raises:
        UserError: an option that was renamed, or no such file.
    """
    config = load(command.config)
    hints = typing.get_type_hints(config)
    flags = {
        flag_of(name)
        for name in (*_COMMON, *(f.name for f in dataclasses.fields(config) if hints[f.name] is bool))
    }
    new_names = {flag_of(old): flag_of(new) for old, new in renamed(config).items()}
    normalised, files = [], []
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            normalised.append(word)
            continue
        name = name.replace("_", "-")
        if name in new_names:
            raise UserError(f"{name}: is called {new_names[name]} now")
        if name == "--config":
            _refuse_old_names(Path(value if equals else "".join(left[:1])), renamed(config))
        if name == "--grid" and command.presets:
            value = value if equals else "".join(left[:1])
            del left[: 0 if equals else 1]
            files.append(f"--config={_preset(command, value)}")
        elif name in flags and not equals:
            has_value = bool(left) and left[0].lower() in ("true", "false")
            normalised.append(f"{name}={left.pop(0) if has_value else 'true'}")
        else:
            normalised.append(name + equals + value)
    first_option = len(command.full_name.split())
    return normalised[:first_option] + files + normalised[first_option:]


def _refuse_old_names(file: Path, new_names: dict[str, str]) -> None:
    """Answer a file of settings that holds the old name of an option.

    Raises:
        UserError: it does.
    """
    import yaml

    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return  # what is wrong with it is said when it is parsed
    for name in settings if isinstance(settings, dict) else ():
        if name in new_names:
            raise UserError(f"{file}: {name} is called {new_names[name]} now")


def _preset(command: Command, name: str) -> Path:
    """The file of settings of that name.

    Raises:
        UserError: there is none.
    """
    files: dict[str, Path] = load(command.presets)()
    if name not in files:
        raise UserError(f"--grid {name}: there is no such grid; they are {', '.join(files)}")
    return files[name]


def _fail(message: str) -> int:
    print(f"noiseworth: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
