"""From the files of a data set, as its owners distribute them, to a trained model: pack, corrupt (perhaps), train, by one YAML file.

    source: where the files are          (or --source)
    pack:    options of `noiseworth.pack`
    use:     which of the packed splits is trained on; "" if there is one alone
    corrupt: options of `noiseworth.corrupt`; left out if the images are noisy as they are
    train:   options of `TrainConfig`

What is there already is not made again, so that the same command goes on after an interruption.
"""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.experiments.watch import watch
from noiseworth.records import DoneRecord, write_atomically
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

_STEPS: dict[str, Callable[..., Any]] = {"pack": pack, "corrupt": corrupt, "train": TrainConfig}
_OWN = {"source", "out", "data", "quiet"}  # set by the recipe's command


def load_recipe(path: Path | str, changes: list[str]) -> dict[str, Any]:
    """Read a recipe and change it.

    Args:
        changes: "train.n_images=1000" and the like.

    Raises:
        UserError: no such file, or a key that no step knows.
    """
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe; they are YAML files, see the folder recipes") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(recipe, dict) or "pack" not in recipe or "train" not in recipe:
        raise UserError(f"{path}: a recipe has at least the keys pack and train")
    for change in changes:
        name, equals, value = change.partition("=")
        step, dot, key = name.partition(".")
        if not (equals and dot and step in _STEPS):
            raise UserError(f"--set {change}: must be pack.KEY=VALUE, corrupt.KEY=VALUE or train.KEY=VALUE")
        recipe[step] = (recipe.get(step) or {}) | {key: value if "=" in value else _number_or(yaml.safe_load(value))}
    for step in recipe:
        if step not in (*_STEPS, "source", "use"):
            raise UserError(f"{path}: unknown key {step!r}; there are source, pack, use, corrupt, train")
    if recipe.get("corrupt") and not {"sigma", "clean_fraction"} <= set(recipe["corrupt"]):
        raise UserError(f"{path}: corrupt needs clean_fraction and sigma")
    for step, function in _STEPS.items():
        known = set(inspect.signature(function).parameters) - _OWN | ({"measured_range"} if step == "pack" else set())
        if unknown := sorted(set(recipe.get(step) or {}) - known):
            raise UserError(f"{path}: {step} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
    return recipe


def _number_or(value: Any) -> Any:
    """YAML takes 1e-3 for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def run_recipe(recipe: dict[str, Any], source: str | None, out: Path | str, *, quiet: bool = False) -> DoneRecord:
    """Carry a recipe through.

    Args:
        recipe: by `load_recipe`.
        source: the files; by default those that the recipe names.
        out: directory of everything: `data`, `mixed`, `run`.

    Raises:
        UserError: anything that `pack`, `corrupt` and `train` refuse, or `out` holds what other settings made.
    """
    files = source or recipe.get("source")
    place, told = Path(out), {"recipe": recipe, "source": str(Path(files).resolve()) if files and Path(files).exists() else files}
    if not told["source"]:
        raise UserError("--source: the recipe names no files; say where they are")
    note = place / "recipe.json"
    if note.is_file():
        if json.loads(note.read_text(encoding="utf-8")) != json.loads(json.dumps(told)):
            raise UserError(f"{place}: was made by other settings, or of other files; choose another --out or remove it")
    elif place.exists():
        raise UserError(f"{place}: exists and was made by no recipe; choose another --out")
    else:
        place.mkdir(parents=True)
        write_atomically(note, json.dumps(told, indent=1) + "\n")
    data, mixed = place / "data", place / "mixed"
    if not data.exists():
        options = dict(recipe["pack"] or {})
        if options.pop("measured_range", False):
            options["value_range"] = "measured"
        for key in ("shape", "value_range"):
            if isinstance(options.get(key), list):
                options[key] = tuple(options[key])
        pack(str(told["source"]), data, **options, quiet=quiet)
    train_on = data / (recipe.get("use") or "")
    if recipe.get("corrupt"):
        if not mixed.exists():
            corrupt(train_on, mixed, **recipe["corrupt"])
        train_on = mixed
    config = TrainConfig(data=str(train_on), out=str(place / "run"), **(recipe["train"] or {}))
    return run_training(config, watch=watch, quiet=quiet)
