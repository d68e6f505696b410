"""What a checkpoint holds of a trainer."""

from pathlib import Path
from typing import TYPE_CHECKING

from noiseworth.train import checkpoint
from noiseworth.train.ema import SNAPSHOTS, PowerEma, snapshot_name

if TYPE_CHECKING:
    from noiseworth.train.trainer import Trainer


def save_trainer(trainer: "Trainer") -> None:
    """Write a checkpoint, and the power-function averages as they are now.

    Raises:
        UserError: a file could not be written (a full disk); earlier checkpoints are intact.
    """
    config, run = trainer.config, Path(trainer.config.out)
    groups = {
        "model": trainer.denoiser.state_dict(),
        **{name: average.module.state_dict() for name, average in trainer.averages.items()},
        "optimizer": checkpoint.pack_optimizer(trainer.optimizer),
        "below": trainer.imputation.state(),
        **({"best": trainer.steering.best} if trainer.steering.best else {}),
    }
    for average in trainer.averages.values():
        if isinstance(average, PowerEma):
            path = run / SNAPSHOTS / snapshot_name(trainer.n_images, average.sigma_rel)
            checkpoint.save_tensors(path, average.module.state_dict())
    checkpoint.save(
        run / "checkpoints", _state_of(trainer), groups, keep=config.keep, keep_every=config.keep_every
    )


def _state_of(trainer: "Trainer") -> checkpoint.State:
    """What a checkpoint says of the run (hashes are filled in when it is written)."""
    record = trainer.data.record
    return checkpoint.State(
        step=trainer.step,
        n_images=trainer.n_images,
        seconds=trainer.elapsed(),
        sigma_data=trainer.sigma_data,
        shape=trainer.data.shape,
        offset=record.offset,
        scale=record.scale,
        classes=trainer.classes,
        data_fingerprint=record.fingerprint,
        trained_from=trainer.pair_sampler.trained_from,
        posterior_variance=trainer.v.state(),
        sampler_refreshed_at=trainer.pair_sampler.refreshed_at,
        loss_mean=trainer.spikes.mean,
        loss_steps=trainer.spikes.steps,
        sha256={},
        stabilised=record.stabilised,
        steering=trainer.steering.state(),
        use_best=trainer.steering.passed_by(),
    )
