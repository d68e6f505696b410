"""Carrying a training run through: resume, progress bar, metrics, monitors, checkpoints, signals, `DONE.json`."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from noiseworth.data.dataset import open_dataset
from noiseworth.data.fingerprint import verify_fingerprint
from noiseworth.data.inspect import group_sigmas
from noiseworth.data.storage import is_address
from noiseworth.data.value_range import narrow_words
from noiseworth.diffusion.profiles import Profiles
from noiseworth.diffusion.replaced import replaced_by, risk_levels
from noiseworth.errors import Stopped, UserError
from noiseworth.networks import count_parameters
from noiseworth.process import noted_signals
from noiseworth.progress import notice, progress_bar
from noiseworth.records import DoneRecord, MonitorRecord, StepRecord, WorthRecord, to_json, write_atomically
from noiseworth.train import checkpoint, run_directory
from noiseworth.train.choices import advice
from noiseworth.train.config import TrainConfig
from noiseworth.train.devices import any_process
from noiseworth.train.monitors import monitor
from noiseworth.train.trainer import Trainer

_FLUSH_SECONDS = 2.0
_LONG_SECONDS = 86_400  # of training, from which a shorter one is advised before it begins
_WORTH_LEVELS = 41
_WORTH_RANGE = (0.02, 20.0)


def run_training(config: TrainConfig, *, label: str | None = None) -> DoneRecord:
    """Train until done, going on from the last checkpoint; a run that is done is returned at once, unless it is to be longer now.

    Every `config.monitor_interval` images and at the end the monitors measure how training goes
    (`train/monitors.py`). Their record goes to `metrics.jsonl`, and their warnings to stderr.

    Args:
        config: the settings.
        label: shown before the progress bar; by default the run's name.

    Raises:
        UserError: settings, data or run directory do not fit.
        Stopped: SIGINT or SIGTERM came; the state is saved.
    """
    config, run = run_directory.as_begun(config), Path(config.out)
    run_directory.check(config)
    done = run_directory.load_done(run)
    if done is not None and done.n_images >= config.steps * config.batch:
        run_directory.check_data(config, done.data_fingerprint)
        return done
    trainer = Trainer(config)
    if not trainer.accelerator.is_main_process:
        return _train(trainer, run, label)
    with run_directory.hold(run):
        # Another process may have begun, and ended, while this one was starting.
        run_directory.check(trainer.config)
        return _train(trainer, run, label)


def _train(trainer: Trainer, run: Path, label: str | None) -> DoneRecord:
    config, is_main = trainer.config, trainer.accelerator.is_main_process
    if is_main:
        run_directory.begin(config, None if trainer.start is None else trainer.start.record)
    write_to_tensorboard = _tensorboard_writer(config) if is_main and config.tensorboard else None
    if is_main:
        _check_data(trainer)
    for line in trainer.restore():
        notice(f"passing over a damaged checkpoint: {line}")
    if is_main:
        run_directory.rewind_metrics(run, trainer.step)
        _tell_choices(trainer)
    metrics = _Metrics(run, write=is_main)
    with noted_signals() as received, _progress(trainer, label or run.name) as bar:
        saved_at = trainer.n_images
        for record in trainer.steps():
            if _is_due(record.n_images, config.batch, config.monitor_interval, trainer.step == config.steps):
                record = replace(record, monitor=_monitor(trainer, run))
            metrics.add(record)
            if write_to_tensorboard is not None:
                write_to_tensorboard(record)
            bar.update(config.batch)
            bar.set_postfix(loss=f"{record.loss:.3f}", refresh=False)
            is_due = record.n_images // config.checkpoint_every > saved_at // config.checkpoint_every
            stop = any_process(trainer.accelerator, trainer.device, bool(received))
            if is_due or stop or trainer.step == config.steps:
                metrics.flush()
                trainer.save()
                saved_at = record.n_images
            if stop and trainer.step < config.steps:
                raise Stopped(
                    f"{run}: stopped and saved at {record.n_images:,} images; the same command goes on from"
                    " there",
                    received[0] if received else signal.SIGTERM,
                )
    return _finish(trainer, run)


def _check_data(trainer: Trainer) -> None:
    """Warn of images that fill little of their range; when a run goes on, read every byte of its images.

    Raises:
        UserError: the images are not those that were packed.
    """
    dataset = open_dataset(trainer.config.data)
    if trainer.start is not None and not is_address(dataset.path):
        verify_fingerprint(dataset)
    if narrow := narrow_words(dataset):
        notice(narrow)


def _tell_choices(trainer: Trainer) -> None:
    """One line on what was tried and kept, and one where training would take days."""
    trial, config = trainer.trial, trainer.config
    if trial is None:
        return
    if trial.kept:
        words = f"trains with {' and '.join(trial.kept)}, {trial.gain:.2f} times as fast here as without"
        notice(f"{config.out}: {words}")
    left = config.steps * config.batch - trainer.n_images
    if left * trial.seconds_per_image > _LONG_SECONDS:
        notice(f"{config.out}: {advice(trainer.denoiser, trainer.data.shape, config, trial, left)}")


class _Metrics:
    """Step records on their way to `metrics.jsonl`, written together every few seconds."""

    def __init__(self, run: Path, write: bool) -> None:
        self._run, self._write = run, write
        self._pending: list[StepRecord] = []
        self._flushed = monotonic()

    def add(self, record: StepRecord) -> None:
        self._pending.append(record)
        if monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._write and self._pending:
            run_directory.append_metrics(self._run, self._pending)
        self._pending.clear()
        self._flushed = monotonic()


def _progress(trainer: Trainer, label: str) -> Any:
    """The progress bar, in images."""
    config = trainer.config
    return progress_bar(
        total=config.steps * config.batch, initial=trainer.n_images, unit="img", unit_scale=True, desc=label,
        disable=not trainer.accelerator.is_main_process, mininterval=0.5,
    )  # fmt: skip


def _is_due(n_images: int, batch: int, every: int, last: bool) -> bool:
    """Whether something that is done every so many images, and at the end, is due after a step of `batch` images."""
    return every > 0 and (last or n_images // every > (n_images - batch) // every)


def _monitor(trainer: Trainer, run: Path) -> MonitorRecord | None:
    """The monitors' record, by the main process alone; None in the others, and where measuring failed."""
    record = None
    if trainer.accelerator.is_main_process:
        try:
            record = monitor(trainer)
        except Exception as error:  # whatever it is, training goes on, and the other processes are waiting
            notice(f"{run}: the monitors failed ({type(error).__name__}: {error}); training goes on")
        for warning in record.warnings if record is not None else []:
            notice(f"{run}: at {trainer.n_images:,} images: {warning}")
    trainer.accelerator.wait_for_everyone()
    return record


def _tensorboard_writer(config: TrainConfig) -> Callable[[StepRecord], None]:
    """A function that writes a record for TensorBoard.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--tensorboard: needs the package tensorboard: pip install tensorboard") from None
    writer = SummaryWriter(str(Path(config.out) / "tensorboard"))

    def write(record: StepRecord) -> None:
        for name, value in (
            ("loss", record.loss),
            ("gradient norm", record.gradient_norm),
            ("learning rate", record.lr),
        ):
            writer.add_scalar(name, value, record.n_images)
        if record.monitor is not None and record.monitor.risk is not None:
            writer.add_scalar("risk", record.monitor.risk, record.n_images)

    return write


def _finish(trainer: Trainer, run: Path) -> DoneRecord:
    """Write `DONE.json`."""
    newest = checkpoint.load_newest(run / "checkpoints")
    if newest is None:
        raise UserError(f"{run}: its checkpoints disappeared while it was training")
    state = newest[0]
    done = DoneRecord(
        n_images=trainer.n_images,
        seconds=state.seconds,
        parameters=count_parameters(trainer.denoiser),
        trained_from=trainer.pair_sampler.trained_from,
        data_fingerprint=state.data_fingerprint,
        weights=state.sha256,
        worth=measure_worth(trainer),
    )
    if trainer.accelerator.is_main_process:
        write_atomically(run / "DONE.json", to_json(done) + "\n")
    return done


def _prices(mean_worth: torch.Tensor, is_told: bool) -> list[float | None]:
    return [1 / m if is_told and m > 0 else None for m in mean_worth.tolist()]


def measure_worth(trainer: Trainer) -> WorthRecord:
    """What each noise level of the run's data is worth, by level and in all.

    Where the run imputed its noisy images (or made them consistent), they count below their noise, with the
    trust they are drawn by. That trust is assumed, not measured: the prices at its two ends, nothing and that of a
    clean image, say how far the price rests on it.
    """
    grid = torch.tensor(np.geomspace(*_WORTH_RANGE, _WORTH_LEVELS))
    structure, sigma = trainer.structure, trainer.data.sigma
    kinds = np.zeros(len(sigma), np.int64) if structure is None else structure.kind.numpy()
    profiles = Profiles([], 1.0, 1.0) if structure is None else structure.profiles
    tables = {kind: group_sigmas(sigma[kinds == kind]) for kind in np.unique(kinds).tolist()}
    kind = torch.tensor([k for k, (levels, _) in tables.items() for _ in levels])
    s = torch.from_numpy(np.concatenate([levels for levels, _ in tables.values()]))
    counts = np.concatenate([sizes for _, sizes in tables.values()])

    def worth_of(levels: torch.Tensor) -> torch.Tensor:  # (groups, levels)
        return profiles.worth(levels[None], kind[:, None], s[:, None], trainer.v(levels)[None])

    def worth_with_imputation(levels: torch.Tensor) -> torch.Tensor:
        direct = worth_of(levels)
        if not len(trainer.imputation.rows):
            return direct
        some = s[:, None].clamp(min=torch.finfo(s.dtype).tiny)
        imputed = profiles.imputed(levels[None], kind[:, None], some, trainer.v(levels)[None])
        is_noisy = profiles.highest(kind, s)[:, None] > 0
        return torch.where(is_noisy, torch.maximum(direct, imputed), direct)

    table = worth_with_imputation(grid)
    levels = risk_levels()
    with_imputed, direct = worth_with_imputation(levels), worth_of(levels)
    of_clean = direct
    if len(trainer.imputation.rows):
        of_clean = torch.where(direct > 0, direct, torch.ones_like(direct))
    mean, most, least = (
        replaced_by(w, torch.from_numpy(counts), trainer.v(levels), WorthRecord.FEWEST)
        for w in (with_imputed, of_clean, direct)
    )
    is_told = len(trainer.data) >= WorthRecord.FEWEST
    return WorthRecord(
        levels=grid.tolist(),
        posterior_variance=trainer.v(grid).tolist(),
        sigmas=s.tolist(),
        counts=counts.tolist(),
        worth=table.tolist(),
        n_effective=(torch.from_numpy(counts)[:, None] * table).sum(0).tolist(),
        mean_worth=mean.tolist(),
        price=_prices(mean, is_told),
        price_low=_prices(most, is_told),
        price_high=_prices(least, is_told),
        noise=[] if structure is None else [structure.words[k] for k in kind.tolist()],
    )
