"""`sweep.yaml`: made from a grid, written for people to edit, and checked before anything is trained."""

import dataclasses
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from noiseworth.data.dataset import open_clean
from noiseworth.errors import UserError
from noiseworth.networks import choose_preset
from noiseworth.options import renamed, with_options
from noiseworth.progress import notice
from noiseworth.records import SWEEP_FORMAT, NoisyPart, SweepPlan, Trial, from_json, write_atomically
from noiseworth.records.yaml_files import parse_yaml
from noiseworth.sweep.config import SweepConfig
from noiseworth.sweep.images import Images
from noiseworth.train.config import TrainConfig
from noiseworth.train.run_directory import BEFORE_MUON

FILE = "sweep.yaml"
_REMEDY = "correct it, or remove it and plan the sweep again (trainings that are done stay done)"
_FEWEST = 8  # images, so that every distance can be measured
_OWN = ("data", "out", "seed", "resume", "use")  # settings of `train` that the sweep sets itself


@with_options(SweepConfig)
def plan_sweep(config: SweepConfig) -> SweepPlan:
    """Make the plan of a grid, and write it.

    Raises:
        UserError: see `make_plan` and `save_plan`.
    """
    plan, too_many = make_plan(config)
    save_plan(plan, Path(config.out))
    if too_many:
        notice(f"{too_many} of the mixes need more images than {config.data} has, and were left out")
    return plan


def make_plan(config: SweepConfig) -> tuple[SweepPlan, int]:
    """The plan of a grid, and the number of its mixes left out since they need more images than there are.

    Raises:
        UserError: the data cannot be used, nothing of the grid is left, or a setting of a training is wrong.
    """
    images = Images(config.data)
    trials: list[Trial] = []
    too_many = 0
    axes = config.train_axes
    for clean, noisy, levels in config.mixes():
        lacking = images.lacking(clean, _parts(noisy, levels))
        if lacking:
            if config.total and not config.clean:
                raise UserError(f"{lacking}; give a smaller --total")
            too_many += 1
            continue
        for values in product(*axes.values()):
            trials += [
                Trial(clean, _parts(noisy, levels), seed, dict(zip(axes, values, strict=True)))
                for seed in range(config.seed, config.seed + config.seeds)
            ]
    # Mixes without noisy images are the same at every noise level: keep one of each name.
    trials = list({trial.name: trial for trial in trials}.values())
    if config.choose and config.choose < len(trials):
        rows = np.sort(np.random.default_rng(config.seed).choice(len(trials), config.choose, replace=False))
        trials = [trials[row] for row in rows]
    if not trials:
        raise UserError(f"{config.data}: has too few images for any combination of this grid")
    plan = SweepPlan(
        data=config.data,
        held_out=config.held_out,
        trials=trials,
        train={name: values[0] for name, values in config.settings.items() if len(values) == 1}
        | _decided(config, images)
        | config.train,
        n_generated=config.n_generated,
        steps=config.steps,
        threads=config.threads,
        gpus=config.gpus,
        schedule="data",
    )
    check_plan(plan, Path(config.out))
    return plan, too_many


def _decided(config: SweepConfig, images: Images) -> dict[str, Any]:
    """What `noiseworth train` would decide for each training by itself: the plan says it, so that all have the same."""
    decided: dict[str, Any] = {
        "optimizer": TrainConfig.optimizer,
        "batch": TrainConfig.batch,
        "precision": "auto",
    }
    if config.preset is None:
        decided["preset"] = choose_preset(images.dataset.shape, len(images.dataset), config.gpus > 0)
    return decided


def _parts(noisy: int, levels: tuple[float, ...]) -> list[NoisyPart]:
    """Noisy images, equally many at each level."""
    if not noisy:
        return []
    counts = [len(piece) for piece in np.array_split(np.arange(noisy), len(levels))]
    return [NoisyPart(level, count) for level, count in zip(levels, counts, strict=True) if count]


def save_plan(plan: SweepPlan, out: Path) -> Path:
    """Write `sweep.yaml`, a line for each trial. The same plan may be there already.

    Raises:
        UserError: the directory holds another plan, or something else.
    """
    path = out / FILE
    if path.exists():
        if _read_plan(path) == plan:
            return path
        raise UserError(f"{path}: exists already, with another plan; edit it, or choose another directory")
    others = [p for p in out.iterdir() if p.name[0] != "." and p.name != "trials"] if out.is_dir() else [out]
    if out.exists() and others:
        raise UserError(f"{out}: exists and holds no sweep; choose another directory")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, plan_text(plan))
    return path


def plan_text(plan: SweepPlan) -> str:
    """The plan as YAML for people."""
    values = dataclasses.asdict(plan)
    trials = values.pop("trials")
    lines = [
        (
            "# A sweep: `noiseworth sweep run` on its directory trains what is not trained yet. Trials may be"
            " added, changed and removed;"
        ),
        (
            "# those that are done stay done. `train` holds settings of `noiseworth train`; those of a trial"
            " replace those of all."
        ),
        yaml.safe_dump(values, sort_keys=False).rstrip(),
        "trials:" if trials else "trials: []",
    ]
    for trial in trials:
        kept = {key: value for key, value in trial.items() if value not in ([], {})}
        lines.append(
            f"- {yaml.safe_dump(kept, default_flow_style=True, sort_keys=False, width=10**6).strip()}"
        )
    return "\n".join(lines) + "\n"


def load_plan(out: Path) -> SweepPlan:
    """Read and check `sweep.yaml`.

    Raises:
        UserError: it is missing, or something in it is wrong; the message says what.
    """
    if not (out / FILE).exists():
        raise UserError(f"{out}: not a sweep (no {FILE}); make one with `noiseworth sweep plan`")
    plan = _read_plan(out / FILE)
    check_plan(plan, out)
    return plan


def _read_plan(path: Path) -> SweepPlan:
    """Read a plan.

    Raises:
        UserError: it is damaged, or edited into something else; the message says how to get it back.
    """
    try:
        return parse_plan(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file; {_REMEDY}") from None
    except UserError as error:
        raise UserError(f"{error}; {_REMEDY}") from None


def parse_plan(text: str, where: str) -> SweepPlan:
    """Read a plan as `plan_text` writes it, perhaps edited; it is not checked against its data.

    Raises:
        UserError: the text is not a plan.
    """
    plan = from_json(SweepPlan, parse_yaml(text, where), where)
    if plan.format != SWEEP_FORMAT:
        raise UserError(f"{where}: has format {plan.format}, this version reads {SWEEP_FORMAT}")
    return plan


def check_plan(plan: SweepPlan, out: Path) -> None:
    """Check the plan and every trial's settings, before the first is trained.

    Raises:
        UserError: the data or a number does not fit, or a trial is wrong, listed twice, or needs more images
            than there are.
    """
    images, held_out = Images(plan.data), open_clean(plan.held_out)
    data = images.dataset
    if held_out.shape != data.shape:
        raise UserError(f"{plan.held_out}: its images have another shape than those of {plan.data}")
    if len(held_out) < 2:
        raise UserError(f"{plan.held_out}: holds fewer than 2 images to measure with")
    if held_out.record.fingerprint == data.record.fingerprint:
        raise UserError(
            f"{plan.held_out}: holds the images that are trained on; measure with others (`noiseworth pack"
            " --held-out`)"
        )
    if (
        plan.threads < 1
        or plan.gpus < 0
        or plan.steps < 2
        or (plan.n_generated and plan.n_generated < _FEWEST)
    ):
        raise UserError(
            "threads must be at least 1, gpus at least 0, steps at least 2, and n_generated 0 or at least"
            f" {_FEWEST}"
        )
    if not plan.trials:
        raise UserError(f"{out / FILE}: has no trials")
    seen: set[str] = set()
    for trial in plan.trials:
        if trial.name in seen:
            raise UserError(
                f"{out / FILE}: trial {trial.name} is listed twice; remove one, or give it another seed"
            )
        seen.add(trial.name)
        if lacking := images.lacking(trial.clean, trial.noisy):
            raise UserError(f"{out / FILE}: trial {trial.name}: {lacking}")
        train_config(plan, trial, out)


def _with_new_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as TrainConfig names them now: a plan that an older version wrote may hold old names."""
    return {renamed(TrainConfig).get(key, key): value for key, value in settings.items()}


def train_config(plan: SweepPlan, trial: Trial, directory: Path) -> TrainConfig:
    """The settings of a trial's training in `directory`.

    Raises:
        UserError: an unknown setting, or a wrong value.
    """
    given: dict[str, Any] = plan.train | trial.train
    if own := [key for key in given if key in _OWN]:
        raise UserError(f"sweep.yaml: train: {own[0]!r} is set by the sweep itself; remove it")
    device = "auto" if plan.gpus else "cpu"
    values = BEFORE_MUON | {
        "device": device,
        "monitor_every": 0,
    }  # new plans name the optimizer
    values |= _with_new_names(given)
    values |= {"data": str(directory / "data"), "out": str(directory / "run"), "seed": trial.seed}
    return from_json(TrainConfig, values, f"sweep.yaml: train of {trial.name}")
