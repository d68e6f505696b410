"""The table of commands: one entry is all that a command needs; help texts, options and the glossary keep together."""

import dataclasses
import json
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import noiseworth as nw
from noiseworth.cli import main
from noiseworth.commands import COMMANDS, Command, load
from noiseworth.options import POSITIONAL, check, documentation, flag_of, with_options

GLOSSARY = (Path(__file__).parent.parent / "docs" / "glossary.md").read_text(encoding="utf-8").lower()


@dataclasses.dataclass(frozen=True)
class GreetConfig:
    """Greet somebody."""

    name: str = dataclasses.field(metadata=POSITIONAL)
    """Whom to greet."""
    many_times: int = 1
    """How often."""

    def __post_init__(self) -> None:
        check(self)


@dataclasses.dataclass(frozen=True)
class Greeting:
    """What was said."""

    words: list[str]


@with_options(GreetConfig)
def greet(config: GreetConfig) -> Greeting:
    """Greet."""
    return Greeting([f"hello {config.name}"] * config.many_times)


def print_greeting(config: GreetConfig, greeting: Greeting) -> None:
    """For people."""
    print(", ".join(greeting.words))


@pytest.fixture
def with_greet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("greeting")
    vars(module).update(GreetConfig=GreetConfig, greet=greet, print_greeting=print_greeting)
    monkeypatch.setitem(sys.modules, "greeting", module)
    entry = Command("greet", "/greeting:GreetConfig", "/greeting:greet", "/greeting:print_greeting")
    COMMANDS.append(entry)
    yield
    COMMANDS.remove(entry)


@pytest.mark.usefixtures("with_greet")
def test_a_command_is_added_through_the_table_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim house/add-a-command: help, dry run, JSON, text and Python, by one entry."""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Greet somebody." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["greet", "--help"])
    shown = capsys.readouterr().out
    assert "--many-times" in shown
    assert "Whom to greet." in shown
    assert "How often." in shown
    assert main(["greet", "Ada", "--many-times", "2", "--dry-run"]) == 0
    assert capsys.readouterr().out == "name: Ada\nmany_times: 2\n"
    assert main(["greet", "Ada", "--many_times=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"words": ["hello Ada", "hello Ada"]}
    assert main(["greet", "Ada"]) == 0
    assert capsys.readouterr().out == "hello Ada\n"
    assert nw.greet("Ada", many_times=1) == Greeting(["hello Ada"])
    assert nw.GreetConfig is GreetConfig


def test_every_option_is_documented_once() -> None:
    for command in COMMANDS:
        config = load(command.config)
        texts = documentation(config)
        for field in dataclasses.fields(config):
            assert len(texts.get(field.name, "").split()) >= 2, f"{command.full_name}: {flag_of(field.name)}"


def test_no_room_hides_a_function_of_its_name() -> None:
    """Importing `noiseworth.evaluate` sets the attribute `evaluate` of the package; a function must not be called so."""
    code = (
        "import pkgutil, importlib, types, noiseworth as nw\n"
        "for room in pkgutil.walk_packages(nw.__path__, 'noiseworth.'):\n"
        "    room.name.endswith('__main__') or importlib.import_module(room.name)\n"
        "print([name for name in nw.__all__ if isinstance(getattr(nw, name), types.ModuleType)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Words of help texts, headings and names that are used in a special sense.
TERMS = (
    "average", "below noise", "bits", "budget", "checkpoint", "class", "clean", "consistency", "copy", "corrupt",
    "currency", "data set", "denoiser", "duplicate", "ema", "features", "fid", "flow", "frechet distance", "grid",
    "guidance", "half-life", "held-out", "images seen", "imputation", "inequalities", "label", "law", "leak",
    "learned noise", "level", "mix", "model units", "monitor", "noise distribution", "noisy image", "objective",
    "overhead", "pack", "pair", "pair sampler", "part", "posterior variance", "precision", "presentation", "preset",
    "price", "quality", "raw", "recipe", "regime", "relative width", "risk", "run", "sampler", "scaling law", "sigma",
    "split", "steps", "study", "sweep", "trial", "view", "worth",
)  # fmt: skip


@pytest.mark.parametrize("term", TERMS)
def test_the_glossary_has_the_term(term: str) -> None:
    """Claim house/words."""
    in_first_column = rf"^\|[^|]*\b{re.escape(term)}"
    in_italics = rf"\*{re.escape(term)}"
    assert re.search(f"{in_first_column}|{in_italics}", GLOSSARY, re.MULTILINE)


def test_the_glossary_has_every_option_in_a_special_sense() -> None:
    """Options named by a term of the project (the rest are plain words) are in the glossary, by name or by the term."""
    plain = {
        "out", "data", "seed", "n", "n_images", "batch", "name", "key", "label_key", "shape", "on_error", "file", "set",
        "source", "sources", "page", "picture", "title", "runs", "target", "against", "weights", "lr", "warmup", "decay",
        "clip", "use", "device", "resume", "compile", "channels_last", "channels", "size", "tensorboard", "keep", "on",
        "keep_every", "jobs", "address", "threads", "gpus", "fresh", "where", "kind", "take", "range", "float_range",
        "measured_range", "fit", "part_images", "sigma_units", "augment", "n_generated", "level_mean", "level_std",
        "total", "share", "seeds", "choose", "train", "have_clean", "have_noisy", "n_clean", "n_noisy", "noisy",
        "allow_rounding", "axes", "init", "by_row", "drop_alpha", "stored_values", "trust_sizes", "verify",
        "table", "header", "licence", "onnx", "dtype",
    }  # fmt: skip
    names = {field.name for command in COMMANDS for field in dataclasses.fields(load(command.config))} - plain
    stems = {
        name: [word.rstrip("s") for word in name.split("_") if word not in ("every", "more")]
        for name in names
    }
    assert not {name for name, words in stems.items() if not all(word in GLOSSARY for word in words)}
