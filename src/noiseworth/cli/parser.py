"""The command line, made from the table of commands; `main` runs a command and turns errors into one line and an exit code."""

import dataclasses
import io
import json
import os
import select
import sys
import traceback
import typing
from contextlib import redirect_stdout
from pathlib import Path
from types import UnionType
from typing import Any, TextIO, Union

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from noiseworth.cli.arguments import COMMON, in_plain_words, is_flag, is_pair, put_in_order
from noiseworth.commands import COMMANDS, GROUPS, Command, load, run
from noiseworth.errors import Stopped, UserError, first_line, one_line, printable
from noiseworth.options import check_written, documentation, flag_of, hints_of
from noiseworth.progress import quiet, warnings_as_lines
from noiseworth.records import plain, versions

_TRACKER = "the project's issue tracker"
_INTERNAL_ERROR = 70  # exit code, EX_SOFTWARE of sysexits.h
_PIPE_CLOSED = 128 + 13  # exit code of a program that SIGPIPE ends


class _Formatter(DefaultHelpFormatter):  # type: ignore[misc] # jsonargparse is not typed here
    """Without the space that argparse puts after a flag for the name of its value, which flags have not."""

    def _format_action_invocation(self, action: Any) -> str:
        return str(super()._format_action_invocation(action)).replace(" ,", ",").rstrip()


def make_parser(command: Command | None = None) -> ArgumentParser:
    """The parser of the command line, with the options of one command alone: reading type hints and docstrings takes time."""
    parser = ArgumentParser(
        prog="noiseworth",
        description="Train one diffusion model on images of mixed noise, and learn what the noisy ones were worth.",
        epilog="Start with `noiseworth demo`.",
        exit_on_error=False,
        version=versions()["noiseworth"],
        formatter_class=_Formatter,  # that of the subcommands, too
    )
    subcommands = parser.add_subcommands(metavar="COMMAND", help="`noiseworth COMMAND --help` explains each.")
    groups: dict[str, Any] = {}
    for entry in COMMANDS:
        if entry.group and entry.group not in groups:
            group = ArgumentParser(
                description=GROUPS[entry.group], exit_on_error=False, formatter_class=_Formatter
            )
            subcommands.add_subcommand(entry.group, group, help=GROUPS[entry.group])
            groups[entry.group] = group.add_subcommands(metavar="COMMAND")
        summary = (load(entry.config).__doc__ or "").splitlines()[0]
        sub = ArgumentParser(
            description=load(entry.config).__doc__,
            exit_on_error=False,
            print_config=None,
        )
        if entry is command:
            _add_options(sub, entry)
        (groups[entry.group] if entry.group else subcommands).add_subcommand(entry.name, sub, help=summary)
    return parser


def _add_options(parser: ArgumentParser, command: Command) -> None:
    """An argument for each field of the command's configuration, in their order, and those that every command has."""
    config = load(command.config)
    hints, texts = hints_of(config), documentation(config)
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
    for name, text in COMMON.items():
        parser.add_argument(*_flags_of(name), type=bool, default=False, help=text, metavar="")


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
        elif not is_required:
            settings["nargs"] = "?"
        parser.add_argument(field.name, **settings)
        return
    if field.metadata.get("repeat"):
        settings |= {"action": "append", "type": str}
    elif is_pair(hint):
        settings["metavar"] = "LOW HIGH"
    elif is_flag(hint):
        parser.add_argument(*_flags_of(field.name), **settings, metavar="")
        return
    parser.add_argument(flag_of(field.name), **settings, **({"required": True} if is_required else {}))


def _flags_of(name: str) -> tuple[str, str]:
    """A flag and its opposite, for the help: `put_in_order` has made the one of the other."""
    return flag_of(name), flag_of(f"no_{name}")


def _typed(hint: Any) -> Any:
    """The type of an option on the command line, where a path is text."""
    if typing.get_origin(hint) not in (UnionType, Union):
        return hint
    kinds = [kind for kind in typing.get_args(hint) if kind is not Path]
    return Union[tuple(kinds)]  # noqa: UP007 - of a list that is made here


def _execute(command: Command, arguments: Namespace) -> int:
    given = arguments[arguments.subcommand]
    if command.group:
        given = given[given.subcommand]
    kind = load(command.config)
    values = {field.name: given[field.name] for field in dataclasses.fields(kind)}
    hints = hints_of(kind)
    values |= {
        name: tuple(value) for name, value in values.items() if is_pair(hints[name]) and value is not None
    }
    values |= {f.name: values[f.name] or [] for f in dataclasses.fields(kind) if f.metadata.get("repeat")}
    config = kind(**values)
    if given.dry_run:
        import yaml

        settings = config.resolved() if hasattr(config, "resolved") else plain(config)
        print(yaml.safe_dump(settings, sort_keys=False), end="")
        return 0
    check_written(config)
    if not _is_first_process():
        with quiet():
            result = run(command, config)
    elif given.json:
        with quiet():
            result = run(command, config)
        print(json.dumps(plain(getattr(result, "record", result)), indent=1, allow_nan=False))
    else:
        result = run(command, config)
        with redirect_stdout(_Printable(sys.stdout)):
            load(command.printer)(config, result)
    return int(load(command.exit_code)(result)) if command.exit_code else 0


def _is_first_process() -> bool:
    """Whether this is the one of several processes (torchrun, accelerate) that speaks for all."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


class _Printable(io.TextIOBase):
    """Standard output for text that may hold names out of files: nothing in them steers the terminal."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def write(self, text: str) -> int:
        return self.out.write(printable(text))

    def flush(self) -> None:
        self.out.flush()


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code, see `noiseworth.cli`."""
    words = sys.argv[1:] if argv is None else argv
    if sys.stdout is None:  # closed by the caller (`>&-`)
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that knows no sigma gets \\u03c3
    try:
        with warnings_as_lines():
            code = _run(words)
        sys.stdout.flush()
        return code
    except Exception as error:
        code = _explain(error)
        if "--debug" in words and code != _PIPE_CLOSED:
            print(printable("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print("noiseworth: interrupted", file=sys.stderr)
        return 130


def _run(words: list[str]) -> int:
    if words[:1] == ["--"]:  # what launchers such as torchrun may leave before the words that they pass on
        words = words[1:]
    names = [word for word in words if not word.startswith("-")]
    typed = " ".join(names[: 2 if names and names[0] in GROUPS else 1])
    command = next((command for command in COMMANDS if command.full_name == typed), None)
    if command is not None:
        words = put_in_order(words, command)
    try:
        arguments = make_parser(command).parse_args(words or ["--help"])
    except OverflowError as error:
        raise UserError(f"a number among the settings is too large ({error})") from None
    if command is None:
        raise AssertionError("without a command the parser ends with its help or an error")
    return _execute(command, arguments)


def _explain(error: Exception) -> int:
    """Say in one line why a command ended early; returns its exit code."""
    if isinstance(error, Stopped):
        _say(str(error))
        return 128 + error.number
    if isinstance(error, BrokenPipeError) and _stdout_is_closed():
        return _PIPE_CLOSED
    if isinstance(error, UserError):
        return _fail(str(error))
    if isinstance(error, ArgumentError):
        return _fail(in_plain_words(str(error)))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    if isinstance(error, MemoryError):
        return _fail(f"not enough memory for this ({first_line(error)}); take less at a time")
    if isinstance(error, RecursionError):
        return _fail("something in the input is nested too deeply")
    report = f"please report it at {_TRACKER}, with what `--debug` prints"
    _say(f"internal error: {type(error).__name__}: {first_line(error)}; {report}")
    return _INTERNAL_ERROR


def _stdout_is_closed() -> bool:
    """Whether nobody reads standard output any more (`| head`); if so, what is left for it is dropped."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    is_closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if is_closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return is_closed


def _say(message: str) -> None:
    print(f"noiseworth: {one_line(message)}", file=sys.stderr)


def _fail(message: str) -> int:
    _say(f"error: {message}")
    return 2
