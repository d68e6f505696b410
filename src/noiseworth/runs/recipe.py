"""From the files of a data set, as its owners distribute them, to a trained model, by one YAML file:

    source:  where the files are         (or --source)
    pack:    options of `noiseworth pack`
    use:     which of the packed splits is trained on; left out if there is only one
    corrupt: options of `noiseworth corrupt`; left out if the images are noisy already
    train:   options of `noiseworth train`

Every option is checked before anything is done. What exists already is not made again, so that the same command
continues after an interruption, and a recipe that failed can be corrected: settings of steps that are not done
may change.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseworth.data.config import CorruptConfig, PackConfig
from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.options import renamed, with_options
from noiseworth.records import DoneRecord, write_atomically
from noiseworth.records.yaml_files import load_yaml, parse_yaml
from noiseworth.runs.config import RecipeConfig
from noiseworth.train import run_directory
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

_STEPS: dict[str, type] = {"pack": PackConfig, "corrupt": CorruptConfig, "train": TrainConfig}
_OWN = {"source", "sources", "out", "data"}  # options that the command sets itself
_NOTE = "recipe.json"


@dataclass(frozen=True)
class _Steps:
    """The checked settings of each step; `corrupt` is None where there is none."""

    pack: PackConfig
    corrupt: CorruptConfig | None
    train: TrainConfig


def load_recipe(path: Path | str, changes: list[str]) -> dict[str, Any]:
    """Read a recipe, and change some of its options.

    Args:
        changes: such as "train.n_images=1000".

    Raises:
        UserError: no such file, an unknown key, or a wrong value.
    """
    if not Path(path).exists():
        raise UserError(f"{path}: no such recipe; they are YAML files, see the folder recipes")
    recipe = load_yaml(Path(path))
    if not isinstance(recipe, dict) or "pack" not in recipe or "train" not in recipe:
        raise UserError(f"{path}: a recipe needs at least the keys pack and train")
    for key, value in recipe.items():
        if key not in (*_STEPS, "source", "use"):
            raise UserError(f"{path}: unknown key {key!r}; there are source, pack, use, corrupt, train")
        kind, words = (dict, "options and their values") if key in _STEPS else (str, "text")
        if not isinstance(value, kind | None):
            raise UserError(f"{path}: {key} must be {words}, not {value!r:.60}")
    for change in changes:
        name, equals, text = change.partition("=")
        step, dot, key = name.partition(".")
        if not (equals and dot and step in _STEPS):
            raise UserError(f"--set {change}: must be pack.KEY=VALUE, corrupt.KEY=VALUE or train.KEY=VALUE")
        value = text if "=" in text else parse_yaml(text, f"--set {change}")
        recipe[step] = (recipe.get(step) or {}) | {key: value}
    if recipe.get("corrupt") and not {"sigma", "clean_fraction"} <= set(recipe["corrupt"]):
        raise UserError(f"{path}: corrupt needs clean_fraction and sigma")
    recipe |= {step: _typed(recipe[step] or {}, step, path) for step in _STEPS if step in recipe}
    _steps(recipe, str(path), "source", Path("out"))
    return recipe


def _typed(options: dict[str, Any], step: str, path: Path | str) -> dict[str, Any]:
    """Options with numbers where numbers are wanted: YAML takes 1e-3 for text, and 1e2 is a whole number.

    Raises:
        UserError: an option is unknown.
    """
    config = _STEPS[step]
    known = {field.name for field in dataclasses.fields(config)} - _OWN
    hints = typing.get_type_hints(config)
    for key in sorted(options.keys() - known):
        if key in renamed(config):
            raise UserError(f"{path}: {step}: {key!r} is called {renamed(config)[key]!r} now")
        raise UserError(f"{path}: {step} has no option {key!r}; it has {', '.join(sorted(known))}")
    return {key: _number_or(value, hints[key]) for key, value in options.items()}


def _number_or(value: Any, hint: Any) -> Any:
    """The number that a value stands for, where the option's type wants one; else the value."""
    kinds = {hint, *typing.get_args(hint)}
    is_number = isinstance(value, float) and int in kinds
    is_text = isinstance(value, str) and (float in kinds or (int in kinds and str not in kinds))
    if not (is_number or is_text):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if float not in kinds and number.is_integer() else number


def _steps(recipe: dict[str, Any], where: str, source: str, directory: Path) -> _Steps:
    """The settings of each step of a recipe that is carried out in `directory`.

    Raises:
        UserError: one is wrong; the message says in which step.
    """
    use = recipe.get("use") or ""
    if "/" in use or use in (".", ".."):
        raise UserError(f"{where}: use {use}: must be the name of a split, such as train")
    packed, mixed = directory / "data", directory / "mixed"
    is_mixed = bool(recipe.get("corrupt"))
    at = "pack"
    try:
        pack_config = PackConfig(source, str(packed), **_with_tuples(recipe["pack"]))
        at = "corrupt"
        corrupt_config = (
            CorruptConfig(str(packed / use), str(mixed), **recipe["corrupt"]) if is_mixed else None
        )
        at = "train"
        train_on = str(mixed if is_mixed else packed / use)
        return _Steps(
            pack_config,
            corrupt_config,
            TrainConfig(data=train_on, out=str(directory / "run"), **recipe["train"]),
        )
    except UserError as error:
        raise UserError(f"{where}: {at}: {error}") from None


def _with_tuples(options: dict[str, Any]) -> dict[str, Any]:
    """Options with tuples in place of YAML's lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


@with_options(RecipeConfig)
def run_recipe(config: RecipeConfig) -> DoneRecord:
    """Carry out a recipe: pack, corrupt, train. What exists already is not made again.

    Raises:
        UserError: anything that `pack`, `corrupt` and `train` refuse, or what is done in `out` was done with other
            settings.
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
    steps = _steps(recipe, "the recipe", str(files), directory)
    _claim(directory, recipe, str(Path(files).resolve()) if Path(files).exists() else files)
    run_directory.check(steps.train)
    if not Path(steps.pack.out).exists():
        pack.run(steps.pack)
    if steps.corrupt is not None and not Path(steps.corrupt.out).exists():
        corrupt.run(steps.corrupt)
    return run_training(steps.train)


def _claim(directory: Path, recipe: dict[str, Any], source: str) -> None:
    """Make the directory, or check that what is done in it was done with these settings; note the settings.

    Raises:
        UserError: it was not, or the directory is somebody else's.
    """
    note, settings = directory / _NOTE, json.loads(json.dumps({"recipe": recipe, "source": source}))
    if note.is_file():
        _check_done(directory, _read_note(note), settings)
    elif directory.exists() and (
        not directory.is_dir() or any(p.name[0] != "." for p in directory.iterdir())
    ):
        raise UserError(f"{directory}: exists and was not made by a recipe; choose another --out")
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(note, json.dumps(settings, indent=1) + "\n")


def _read_note(note: Path) -> dict[str, Any]:
    try:
        before = json.loads(note.read_text(encoding="utf-8"))
        if isinstance(before, dict) and isinstance(before.get("recipe"), dict):
            return before
    except ValueError:
        pass
    raise UserError(f"{note}: is damaged; remove {note.parent}, or choose another --out")


def _check_done(directory: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that the steps that are done were done with these settings. (Training checks its own.)

    Raises:
        UserError: some were not; they are named, with what changed.
    """
    of_data = ["source", "pack"]
    of_mixed = [*of_data, "use", "corrupt"]
    is_begun = any((directory / "run" / "checkpoints").glob("step-*"))
    outdated: list[str] = []
    changed: dict[str, str] = {}
    for name, keys, is_done in (
        ("data", of_data, (directory / "data").exists()),
        ("mixed", of_mixed, (directory / "mixed").exists()),
        ("run", of_mixed, is_begun),
    ):
        differences = {key: line for key in keys if (line := _difference(key, before, after))}
        if is_done and differences:
            outdated.append(str(directory / name))
            changed |= differences
    if outdated:
        raise UserError(
            f"{', '.join(outdated)}: made with other settings ({'; '.join(changed.values())}); remove"
            f" {'it' if len(outdated) == 1 else 'them'} to go on with these, or choose another --out"
        )


def _difference(key: str, before: dict[str, Any], after: dict[str, Any]) -> str:
    """What differs in one part of a recipe; "" if nothing does."""
    old, new = (
        note["source"] if key == "source" else note["recipe"].get(key) or "" for note in (before, after)
    )
    if old == new:
        return ""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return f"{key} was {old or 'left out'}, is {new or 'left out'}"
    options = [option for option in {**old, **new} if old.get(option) != new.get(option)]
    return ", ".join(f"{key}.{o} was {old.get(o, 'left out')}, is {new.get(o, 'left out')}" for o in options)
