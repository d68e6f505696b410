"""The command line's options, and `main`, which runs a command and turns errors into one line and an exit code."""

import sys
from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from noiseworth.cli.data import corrupt, inspect, join, pack, split, subset
from noiseworth.cli.laws import fit, plan, price, theory
from noiseworth.cli.models import bench_train, demo, ema, evaluate, features_train, recipe, report, sample, train
from noiseworth.cli.sweeps import sweep_collect, sweep_plan, sweep_run, sweep_status
from noiseworth.cli.words import say
from noiseworth.errors import Stopped, UserError
from noiseworth.experiments.config import DemoConfig, SweepConfig, TheoryConfig, recipes
from noiseworth.experiments.config import recipe as sweep_recipe
from noiseworth.train.config import TrainConfig

_FLAGS = ("--json", "--dry_run", "--fresh", "--bits", "--splits", "--measured_range", "--compile", "--channels_last", "--tensorboard")
_CONFIGS: dict[str, tuple[Callable[..., None], type]] = {
    "demo": (demo, DemoConfig),
    "train": (train, TrainConfig),
    "theory": (theory, TheoryConfig),
    "sweep plan": (sweep_plan, SweepConfig),
}
_FUNCTIONS: dict[str, Callable[..., int | None]] = {
    "pack": pack,
    "corrupt": corrupt,
    "join": join,
    "split": split,
    "subset": subset,
    "inspect": inspect,
    "recipe": recipe,
    "sample": sample,
    "evaluate": evaluate,
    "report": report,
    "fit": fit,
    "price": price,
    "plan": plan,
    "features train": features_train,
    "ema": ema,
    "bench train": bench_train,
    "sweep run": sweep_run,
    "sweep status": sweep_status,
    "sweep collect": sweep_collect,
}
# Commands of commands.
_GROUPS = {
    "bench": "How fast it is here.",
    "features": "Features that distances are measured in, kept for later comparisons.",
    "sweep": "Many trainings by one plan: plan it, run it on this machine or a cluster, collect what it found.",
}
# Required, and yet they read better as options.
_AS_OPTIONS: dict[str, dict[str, tuple[type, str]]] = {
    "corrupt": {
        "clean_fraction": (float, "Share of the images that stay clean, 0 to 1."),
        "sigma": (
            str,
            "Noise of the others where clean values span [-1, 1]: 0.2, choice:A,B, uniform:A:B, loguniform:A:B, or a CSV file.",
        ),
    },
    "ema": {"sigma_rel": (float, "Relative width of the average.")},
    "recipe": {"out": (str, "Directory of the packed data, of the mixed data, and of the run.")},
    "split": {"held_out": (float, "Number of images to set aside or, below 1, their share.")},
    "subset": {"take": (float, "Number of images or, below 1, their share.")},
    "evaluate": {"against": (str, "A packed data set of clean images, the reference.")},
    "price": {"sigma": (float, "Noise of the noisy images; one of the source's.")},
    "plan": {
        "budget": (float, "To spend."),
        "clean_price": (float, "Of one clean image, in the budget's currency."),
        "noisy_price": (float, "Of one noisy image."),
        "sigma": (float, "Noise of the noisy images; one of the source's."),
    },
}
# A list of arguments, and then perhaps OUT.
_MANY = {
    "report": ("runs", "Directories of finished runs; the first is the measure of the others."),
    "pack": (
        "sources",
        "Folders or archives of images, array files, scientific files, hf:NAME, sklearn:digits; see the documentation.",
    ),
    "join": ("sources", "Packed data sets of one shape."),
}
_ORDER = (
    "demo",
    "pack",
    "corrupt",
    "join",
    "split",
    "subset",
    "inspect",
    "train",
    "recipe",
    "ema",
    "sample",
    "evaluate",
    "features",
    "report",
    "sweep",
    "fit",
    "price",
    "plan",
    "theory",
    "bench",
)


def make_parser(command: str | None = None) -> ArgumentParser:
    """The parser of the command line, with the options of one command alone: reading signatures and docstrings takes time."""
    from noiseworth import __version__

    parser = ArgumentParser(
        prog="noiseworth",
        description="Train one diffusion model on images of mixed noise, and learn what the noisy ones were worth.",
        epilog="Start with `noiseworth demo`. Dashes and underscores in option names are the same.",
        exit_on_error=False,
        version=__version__,
    )
    commands = parser.add_subcommands(metavar="COMMAND", help="`noiseworth COMMAND --help` explains each.")
    for name in _ORDER:
        if name in _GROUPS:
            group = ArgumentParser(description=_GROUPS[name], exit_on_error=False)
            commands.add_subcommand(name, group, help=_GROUPS[name])
            if command is not None and command.split()[0] == name:
                inner = group.add_subcommands(metavar="COMMAND")
                for full in (key for key in (*_CONFIGS, *_FUNCTIONS) if key.startswith(f"{name} ")):
                    _add_command(inner, full, command)
        else:
            _add_command(commands, name, command)
    return parser


def _add_command(commands: Any, name: str, command: str | None) -> None:
    function = _CONFIGS[name][0] if name in _CONFIGS else _FUNCTIONS[name]
    summary = (function.__doc__ or "").splitlines()[0]
    sub = ArgumentParser(description=summary, exit_on_error=False)
    if name == command:
        _add_options(sub, name)
    commands.add_subcommand(name.split()[-1], sub, help=summary)


def _add_options(sub: ArgumentParser, name: str) -> None:
    if name in _CONFIGS:
        sub.add_argument("--config", action="config", help="YAML file with any of the settings below; options override it.")
        sub.add_class_arguments(_CONFIGS[name][1], as_group=False)
        sub.add_argument("--dry_run", type=bool, default=False, help="Print the resolved settings as YAML and stop.")
        if name == "sweep plan":
            text = "A standard study, as a start: " + ", ".join(recipes())
            sub.add_argument("--recipe", type=str, help=text)  # put in place before parsing, see _with_recipe
    elif name in _MANY:
        option, text = _MANY[name]
        sub.add_argument(option, nargs="+", type=str, help=text)
        if name != "report":
            sub.add_argument("out", type=str, help="The new data set (with --held_out or --splits the folder of several).")
        skip = {option, "as_json", "value_range", *(set() if name == "report" else {"out"})}
        sub.add_function_arguments(_FUNCTIONS[name], as_group=False, skip=skip)
    else:
        options = _AS_OPTIONS.get(name, {})
        skip = {"as_json", "value_range", "dry_run", "change", *options}
        sub.add_function_arguments(_FUNCTIONS[name], as_group=False, as_positional=True, skip=skip)
        for option, (kind, text) in options.items():
            sub.add_argument(f"--{option}", type=kind, required=True, help=text)
    if name == "recipe":
        sub.add_argument(
            "--set", dest="change", action="append", type=str, help="An option in place of the recipe's: train.n_images=1000."
        )
        sub.add_argument("--dry_run", type=bool, default=False, help="Print the recipe as it would be carried out, and stop.")
    if name == "pack":
        text = "Raw values that become -1 and 1 in model units; by default the dtype's range, for floating point there is none."
        sub.add_argument("--range", nargs=2, type=float, metavar=("LOW", "HIGH"), help=text)
    sub.add_argument("--json", type=bool, default=False, help="Print JSON for programs, and no progress bar.")


def _run(arguments: Namespace) -> int:
    name, given = arguments.subcommand, arguments[arguments.subcommand]
    if name in _GROUPS:
        name, given = f"{name} {given.subcommand}", given[given.subcommand]
    values = dict(vars(given))
    as_json = values.pop("json")
    values.pop("config", None)
    values.pop("recipe", None)
    if name in _CONFIGS:
        function, kind = _CONFIGS[name]
        dry_run = values.pop("dry_run")
        function(kind(**values), dry_run, as_json)
        return 0
    if name == "pack":
        ends = values.pop("range")
        values["value_range"] = None if ends is None else (ends[0], ends[1])
    return _FUNCTIONS[name](**values, as_json=as_json) or 0


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    words = [_normal(word) for word in (sys.argv[1:] if argv is None else argv)]
    try:
        plain = [word for word in words if not word.startswith("-")]
        command = " ".join(plain[: 2 if plain[0] in _GROUPS else 1]) if plain else None
        arguments = make_parser(command).parse_args(_with_recipe(words) or ["--help"])
        return _run(arguments)
    except Stopped as stop:
        say(f"noiseworth: {stop}")
        return 128 + stop.number
    except (UserError, ArgumentError) as error:
        return _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        say("noiseworth: interrupted")
        return 130


def _normal(word: str) -> str:
    """`--clean-fraction` is `--clean_fraction`; `--json` alone is `--json=true`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    name = "--" + name[2:].replace("-", "_")
    return f"{name}=true" if name in _FLAGS and not equals else name + equals + value


def _with_recipe(words: list[str]) -> list[str]:
    """`--recipe NAME` is the configuration file of that name in the package; it is put first, so that options override it."""
    found, files = [], []
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name == "--recipe":
            files.append(f"--config={sweep_recipe(value if equals else next(left, ''))}")
        else:
            found.append(word)
    at = next((i for i, word in enumerate(found) if word.startswith("-")), len(found))
    return found[:at] + files + found[at:]


def _fail(message: str) -> int:
    print(f"noiseworth: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
