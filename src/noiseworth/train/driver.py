"""Carrying a run through: resume, progress bar, metrics, checkpoints, signals, `DONE.json`."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from noiseworth.data.inspect import group_sigmas
from noiseworth.diffusion.worth import imputed_worth, worth
from noiseworth.errors import Stopped, UserError
from noiseworth.networks import count_parameters
from noiseworth.records import DoneRecord, StepRecord, WatchRecord, WorthRecord, to_json, write_atomically
from noiseworth.train import checkpoint, run
from noiseworth.train.config import TrainConfig
from noiseworth.train.loop import Trainer

_FLUSH_SECONDS = 2.0
_WORTH_LEVELS = 41
_WORTH_RANGE = (0.02, 20.0)


Watch = Callable[[Trainer], WatchRecord]


def run_training(config: TrainConfig, *, watch: Watch | None = None, label: str | None = None, quiet: bool = False) -> DoneRecord:
    """Train until done, going on from the last checkpoint; a run that is done is returned at once.

    Args:
        watch: looks at how training goes, every `config.look_every` images and at the end; `experiments.watch.watch`.
        label: shown before the progress bar; by default the run's name.
        quiet: no progress bar.

    Raises:
        UserError: settings, data or run directory do not fit.
        Stopped: SIGINT or SIGTERM came; the state is saved.
    """
    place = Path(config.out)
    run.check(config)
    if (done := run.load_done(place)) is not None:
        run.check_data(config, done.data_fingerprint)
        return done
    trainer = Trainer(config)
    with run.lock(place) if trainer.accelerator.is_main_process else nullcontext():
        run.check(config)  # somebody else may have begun, and ended, while this process was starting
        return _train(trainer, place, watch, label, quiet)


def _train(trainer: Trainer, place: Path, watch: Watch | None, label: str | None, quiet: bool) -> DoneRecord:
    config, main = trainer.config, trainer.accelerator.is_main_process
    if main:
        run.begin(config)
    board = _board(config) if main else None
    for line in trainer.restore():
        print(f"noiseworth: passing over a damaged checkpoint: {line}", file=sys.stderr)
    if main:
        run.rewind_metrics(place, trainer.step)
    pending: list[StepRecord] = []
    flushed = monotonic()

    def flush() -> None:
        if main and pending:
            run.append_metrics(place, pending)
        pending.clear()

    bar = tqdm(
        total=config.steps * config.batch, initial=trainer.n_images, unit="img", unit_scale=True, desc=label or place.name,
        disable=quiet or not main, dynamic_ncols=True, mininterval=0.5, leave=False,
    )  # fmt: skip
    with _signals() as received, bar:
        saved = trainer.n_images
        for record in trainer.steps():
            if watch is not None and _due(record.n_images, config.batch, config.look_every, trainer.step == config.steps):
                record = replace(record, watch=_look(trainer, watch, place, quiet))
            pending.append(record)
            if board is not None:
                board(record)
            bar.update(config.batch)
            bar.set_postfix(loss=f"{record.loss:.3f}", refresh=False)
            due = record.n_images // config.checkpoint_every > saved // config.checkpoint_every
            stop = trainer.any_process(bool(received))
            if due or stop or trainer.step == config.steps:
                flush()
                trainer.save()
                saved = record.n_images
            elif monotonic() - flushed > _FLUSH_SECONDS:
                flush()
                flushed = monotonic()
            if stop and trainer.step < config.steps:
                raise Stopped(
                    f"{place}: stopped and saved at {record.n_images:,} images; the same command goes on from there",
                    received[0] if received else signal.SIGTERM,
                )
    return _finish(trainer, place)


def _due(n_images: int, batch: int, every: int, last: bool) -> bool:
    return every > 0 and (last or n_images // every > (n_images - batch) // every)


def _look(trainer: Trainer, watch: Watch, place: Path, quiet: bool) -> WatchRecord | None:
    """Look at the run, by the main process alone; warnings are said at once."""
    found = None
    if trainer.accelerator.is_main_process:
        try:
            found = watch(trainer)
        except Exception as error:  # whatever it is, training goes on, and the other processes are waiting
            print(f"noiseworth: {place}: could not be looked at ({type(error).__name__}: {error})", file=sys.stderr)
        if found is not None and not quiet:
            for warning in found.warnings:
                tqdm.write(f"noiseworth: {place}: at {trainer.n_images:,} images: {warning}", file=sys.stderr)
    trainer.accelerator.wait_for_everyone()
    return found


def _board(config: TrainConfig) -> Callable[[StepRecord], None] | None:
    """Writes records for TensorBoard, if that is asked for."""
    if not config.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("--tensorboard: needs the package tensorboard: pip install tensorboard") from None
    writer = SummaryWriter(str(Path(config.out) / "tensorboard"))

    def write(record: StepRecord) -> None:
        for name, value in (("loss", record.loss), ("gradient norm", record.gradient_norm), ("learning rate", record.lr)):
            writer.add_scalar(name, value, record.n_images)
        if record.watch is not None and record.watch.risk is not None:
            writer.add_scalar("risk", record.watch.risk, record.n_images)

    return write


def _finish(trainer: Trainer, place: Path) -> DoneRecord:
    found = checkpoint.load_newest(place / "checkpoints")
    if found is None:
        raise UserError(f"{place}: its checkpoints have gone while it ran")
    done = DoneRecord(
        n_images=trainer.n_images,
        seconds=found[0].seconds,
        parameters=count_parameters(trainer.denoiser),
        trained_from=trainer.law.trained_from,
        data_fingerprint=found[0].data_fingerprint,
        weights=found[0].sha256,
        worth=measure_worth(trainer),
    )
    if trainer.accelerator.is_main_process:
        write_atomically(place / "DONE.json", to_json(done) + "\n")
    return done


def measure_worth(trainer: Trainer) -> WorthRecord:
    """What each noise level of the run's data is worth, by level and averaged over the training levels p(sigma).

    Where the run imputed its noisy images (or made them consistent), they count below their noise, with the trust they are drawn by.
    """
    grid = torch.tensor(np.geomspace(*_WORTH_RANGE, _WORTH_LEVELS))
    groups, counts = group_sigmas(trainer.data.sigma)
    s = torch.from_numpy(groups)

    def counted(levels: torch.Tensor) -> torch.Tensor:  # (groups, levels)
        own = worth(levels[None], s[:, None], trainer.v(levels)[None])
        if not len(trainer.below.rows):
            return own
        imputed = imputed_worth(levels[None], s[:, None].clamp(min=torch.finfo(s.dtype).tiny))
        return torch.where(s[:, None] > 0, torch.maximum(own, imputed), own)

    table = counted(grid)
    # Average over p(sigma) by its quantiles: the midpoint rule in probability.
    typical = trainer.law.levels.quantile((torch.arange(4096, dtype=torch.float64) + 0.5) / 4096)
    mean = counted(typical).mean(1)
    return WorthRecord(
        levels=grid.tolist(),
        posterior_variance=trainer.v(grid).tolist(),
        sigmas=s.tolist(),
        counts=counts.tolist(),
        worth=table.tolist(),
        n_effective=(torch.from_numpy(counts)[:, None] * table).sum(0).tolist(),
        mean_worth=mean.tolist(),
        price=[1 / m if m > 0 else None for m in mean.tolist()],
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are noted in the list, to be acted on between steps; a second one ends the process as usual."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    try:
        for number in (int(signal.SIGINT), int(signal.SIGTERM)):
            before[number] = signal.signal(number, note)
    except ValueError:  # not the main thread: signals are somebody else's
        pass
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
