"""From the files of a data set, as its owners distribute them, to a trained model, by one YAML file:

    source:  where the files are         (or --source)
    pack:    options of `noiseworth pack`
    use:     which of the packed splits is trained on; left out if there is only one
    corrupt: options of `noiseworth corrupt`; left out if the images are noisy already
    train:   options of `noiseworth train`

What exists already is not made again, so that the same command continues after an interruption.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from noiseworth.data.config import CorruptConfig, PackConfig
from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from noiseworth.errors import UserError, first_line
from noiseworth.options import renamed, with_options
from noiseworth.records import DoneRecord, write_atomically
from noiseworth.runs.config import RecipeConfig
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

_STEPS: dict[str, type] = {"pack": PackConfig, "corrupt": CorruptConfig, "train": TrainConfig}
_OWN = {"source", "sources", "out", "data"}  # options that the command sets itself


def load_recipe(path: Path | str, changes: list[str]) -> dict[str, Any]:
    """Read a recipe, and change some of its options.

    Args:
        changes: such as "train.n_images=1000".

    Raises:
        UserError: no such file, or an unknown key.
    """
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe; they are YAML files, see the folder recipes") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({first_line(error)})") from None
    if not isinstance(recipe, dict) or "pack" not in recipe or "train" not in recipe:
        raise UserError(f"{path}: a recipe needs at least the keys pack and train")
    for change in changes:
        name, equals, value = change.partition("=")
        step, dot, key = name.partition(".")
        if not (equals and dot and step in _STEPS):
            raise UserError(f"--set {change}: must be pack.KEY=VALUE, corrupt.KEY=VALUE or train.KEY=VALUE")
        recipe[step] = (recipe.get(step) or {}) | {
            key: value if "=" in value else _number_or(yaml.safe_load(value))
        }
    for step in recipe:
        if step not in (*_STEPS, "source", "use"):
            raise UserError(f"{path}: unknown key {step!r}; there are source, pack, use, corrupt, train")
    if recipe.get("corrupt") and not {"sigma", "clean_fraction"} <= set(recipe["corrupt"]):
        raise UserError(f"{path}: corrupt needs clean_fraction and sigma")
    for step, config in _STEPS.items():
        known = {field.name for field in dataclasses.fields(config)} - _OWN
        for key in sorted(set(recipe.get(step) or {}) - known):
            if key in renamed(config):
                raise UserError(f"{path}: {step}: {key!r} is called {renamed(config)[key]!r} now")
            raise UserError(f"{path}: {step} has no option {key!r}; it has {', '.join(sorted(known))}")
    return recipe


def _number_or(value: Any) -> Any:
    """A number such as 1e-3, which YAML reads as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@with_options(RecipeConfig)
def run_recipe(config: RecipeConfig) -> DoneRecord:
    """Carry out a recipe: pack, corrupt, train. What exists already is not made again.

    Raises:
        UserError: anything that `pack`, `corrupt` and `train` refuse, or `out` was made with other settings.
    """
    source = None if config.source is None else str(config.source)
    return carry_out(load_recipe(config.file, config.set), source, config.out)


def carry_out(recipe: dict[str, Any], source: str | None, out: Path | str) -> DoneRecord:
    """Carry out a recipe that was loaded.

    Args:
        recipe: as returned by `load_recipe`.
        source: the files; by default those that the recipe names.
        out: the directory, for `data`, `mixed` and `run`.

    Raises:
        UserError: see `run_recipe`.
    """
    directory, files = Path(out), source or recipe.get("source")
    if not files:
        raise UserError("--source: the recipe names no files; say where they are")
    _claim(directory, recipe, str(Path(files).resolve()) if Path(files).exists() else files)
    data, mixed = directory / "data", directory / "mixed"
    if not data.exists():
        pack.run(PackConfig(str(files), str(data), **_pack_options(recipe)))
    train_on = data / (recipe.get("use") or "")
    if recipe.get("corrupt"):
        if not mixed.exists():
            corrupt.run(CorruptConfig(str(train_on), str(mixed), **recipe["corrupt"]))
        train_on = mixed
    return run_training(
        TrainConfig(data=str(train_on), out=str(directory / "run"), **(recipe["train"] or {}))
    )


def _claim(directory: Path, recipe: dict[str, Any], source: str) -> None:
    """Make the directory, or check that it was made by the same recipe from the same files.

    Raises:
        UserError: it was not.
    """
    note, settings = directory / "recipe.json", {"recipe": recipe, "source": source}
    if note.is_file():
        if json.loads(note.read_text(encoding="utf-8")) != json.loads(json.dumps(settings)):
            raise UserError(
                f"{directory}: was made with other settings, or from other files; choose another --out or"
                " remove it"
            )
    elif directory.exists():
        raise UserError(f"{directory}: exists and was not made by a recipe; choose another --out")
    else:
        directory.mkdir(parents=True)
        write_atomically(note, json.dumps(settings, indent=1) + "\n")


def _pack_options(recipe: dict[str, Any]) -> dict[str, Any]:
    """Options of `pack`, with tuples instead of YAML's lists."""
    options = dict(recipe["pack"] or {})
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
