"""A run's directory: `config.yaml`, `env.json`, `metrics.jsonl`, `checkpoints/`, `DONE.json`, and how to open one."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from noiseworth.data.dataset import open_dataset
from noiseworth.errors import UserError, first_line
from noiseworth.process import holder, lock
from noiseworth.progress import notice
from noiseworth.records import (
    DoneRecord,
    StepRecord,
    from_json,
    load_json,
    load_record,
    machine,
    to_line,
    versions,
    write_atomically,
)
from noiseworth.train.config import TrainConfig

# What may differ between the command that began a run and the one that goes on with it. (The data may have
# moved; that they are the same is checked by their fingerprint.)
_FREE = ("out", "data", "resume", "device", "held_out", "monitor_every", "tensorboard", "keep", "keep_every")


# Defaults of runs and sweeps that were begun before Muon was the default, and the settings that a new run decides for itself.
BEFORE_MUON: dict[str, Any] = {
    "optimizer": "adam",
    "batch": 128,
    "precision": "fp32",
    "compile": False,
    "channels_last": False,
}
_DECIDED = ("preset", "precision", "compile", "channels_last")


@contextmanager
def hold(run: Path) -> Iterator[None]:
    """Hold the run's directory, so that no other process trains there.

    Raises:
        UserError: another process holds it.
    """
    path = run / ".lock"
    with lock(path) as is_ours:
        if not is_ours:
            by = holder(path)
            who = "unknown" if by is None else f"{by[0]}, process {by[1]}"
            raise UserError(f"{run}: is being trained by another process ({who}); stop it first")
        yield


def as_begun(config: TrainConfig) -> TrainConfig:
    """The settings; of a run that was begun, what they leave open is as it was decided then.

    A run that was begun before Muon was the default goes on with its optimizer, rate and batch where the command names none; one that was
    begun before clean images were held back goes on with all of them.
    """
    path = Path(config.out) / "config.yaml"
    if not path.is_file():
        return config
    begun = load_config(Path(config.out))
    kept = {name: getattr(begun, name) for name in _DECIDED if getattr(config, name) in (None, "auto")}
    if _is_default(config, "held_out") and begun.held_out is None:
        kept["held_out"] = None
    is_named = config.optimizer != TrainConfig.optimizer
    if not is_named and "optimizer:" not in path.read_text(encoding="utf-8"):
        notice(f"{config.out}: was begun when Adam was the default, and goes on by it")
        kept["optimizer"] = begun.optimizer
        kept |= {name: getattr(begun, name) for name in ("lr", "batch") if _is_default(config, name)}
    return dataclasses.replace(config, **kept)


def _is_open(name: str, value: Any) -> bool:
    """Whether a setting is one that a run decides for itself, and is left to it."""
    return name in _DECIDED and value in (None, "auto")


def _is_default(config: TrainConfig, name: str) -> bool:
    return bool(getattr(config, name) == getattr(TrainConfig, name))


def check(config: TrainConfig) -> None:
    """Make sure that the run's directory is free, or was begun by the same settings. Writes nothing.

    `n_images` may grow, which makes the run longer.

    Where nothing was saved yet, the settings may change: a run that failed at its first steps can be corrected.

    Raises:
        UserError: it holds something else.
    """
    run = Path(config.out)
    if run.exists() and not run.is_dir():
        raise UserError(f"{run}: is a file; --out names a directory")
    if (run / "config.yaml").is_file():
        if config.resume == "never":
            raise UserError(
                f"{run}: holds a run already; choose another --out, or leave out --resume never to go on"
                " with it"
            )
        before, after = dataclasses.asdict(load_config(run)), dataclasses.asdict(config)
        changed = [
            f"{key} was {before[key]!r}, is {after[key]!r}"
            for key in before
            if key not in _FREE
            and not _is_open(key, after[key])
            and before[key] != after[key]
            and not (key == "n_images" and before[key] < after[key])
        ]
        if changed and is_begun(run):
            raise UserError(
                f"{run}: was begun with other settings ({'; '.join(changed)}); choose another --out or"
                " remove it"
            )
    elif run.is_dir() and any(
        path.name != "env.json" and not path.name.startswith(".") for path in run.iterdir()
    ):
        raise UserError(f"{run}: is not empty and holds no run; choose another --out")


def is_begun(run: Path) -> bool:
    """Whether anything of a run was saved: until then its settings may change."""
    return (run / "DONE.json").is_file() or any((run / "checkpoints").glob("step-*"))


def check_data(config: TrainConfig, fingerprint: str) -> None:
    """Raises UserError if the data set of `config` is not the one with this fingerprint, which the run began with."""
    if open_dataset(config.data).record.fingerprint != fingerprint:
        raise UserError(f"{config.out}: was begun on other data than {config.data} (fingerprints differ)")


def begin(config: TrainConfig, init: dict[str, Any] | None = None) -> None:
    """Make the run's directory, unless something was saved in it before; make a run that is to be longer now unfinished again.

    Args:
        init: what `env.json` is to say of the run that this one begins from.
    """
    run = Path(config.out)
    if not (run / "config.yaml").is_file() or not is_begun(run):
        run.mkdir(parents=True, exist_ok=True)
        _write_env(run, {"machine": machine(), "versions": versions()} | ({"init": init} if init else {}))
    elif (before := load_config(run).n_images) < config.n_images:
        (run / "DONE.json").unlink(missing_ok=True)
        env = load_json(run / "env.json") if (run / "env.json").is_file() else {}
        lengthened, new = env.get("lengthened", []), [before, config.n_images]
        _write_env(run, env | {"lengthened": lengthened if lengthened[-1:] == [new] else [*lengthened, new]})
    else:
        return
    write_atomically(run / "config.yaml", yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))


def _write_env(run: Path, env: dict[str, Any]) -> None:
    write_atomically(run / "env.json", json.dumps(env, indent=1) + "\n")


def load_config(run: Path) -> TrainConfig:
    """The resolved settings of a run.

    Raises:
        UserError: `run` is not a run, or its settings cannot be read.
    """
    path = run / "config.yaml"
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(settings, dict):
            settings = BEFORE_MUON | settings
        return from_json(TrainConfig, settings, str(path))
    except FileNotFoundError:
        raise UserError(f"{run}: not a run (no config.yaml); make one with `noiseworth train`") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({first_line(error)})") from None


def rewind_metrics(run: Path, step: int) -> None:
    """Cut `metrics.jsonl` back to the records up to `step`, which the steps to come will follow."""
    path = run / "metrics.jsonl"
    if path.is_file():
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                break  # the end of a line that was being written when the process died
            if record["step"] <= step:
                kept.append(line + "\n")
        write_atomically(path, "".join(kept))


def append_metrics(run: Path, records: list[StepRecord]) -> None:
    """Add records to `metrics.jsonl`."""
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("".join(to_line(record) for record in records))
        file.flush()
        os.fsync(file.fileno())


def load_done(run: Path) -> DoneRecord | None:
    """`DONE.json`, or None if the run is not complete."""
    path = run / "DONE.json"
    return load_record(DoneRecord, path) if path.is_file() else None
