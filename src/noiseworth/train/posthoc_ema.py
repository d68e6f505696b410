"""A run's weights averaged in another way, after training, as a run of its own that can be sampled and evaluated."""

import shutil
from dataclasses import replace
from pathlib import Path

from noiseworth.data.made_by import Making
from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.records import AverageRecord
from noiseworth.train import checkpoint
from noiseworth.train.config import EmaConfig
from noiseworth.train.ema import combine, find_snapshots


@with_options(EmaConfig)
def make_average(config: EmaConfig) -> AverageRecord:
    """Write a run whose averaged weights are the power-function average of this width (arXiv 2312.02696, appendix C).

    Raises:
        UserError: too few averages were saved, or `out` holds something else.
    """
    making = Making("ema", config)
    if (earlier := making.found(AverageRecord)) is not None:
        return replace(earlier, out=str(config.out))
    run = Path(config.run)
    newest = checkpoint.load_newest(run / "checkpoints", checkpoint.USED)
    if newest is None or not (run / "config.yaml").is_file():
        raise UserError(f"{run}: not a run with a checkpoint")
    state, tensors, _ = newest
    n_images = state.n_images if config.n_images is None else config.n_images
    if not 0 < n_images <= state.n_images:
        raise UserError(f"--n-images {n_images}: the run stands at {state.n_images:,}")
    weights = combine(find_snapshots(run), config.sigma_rel, n_images)
    buffers = {
        name: value for name, value in tensors["ema"].items() if name not in weights
    }  # they are not averaged
    with new_directory(Path(config.out)) as folder:
        shutil.copy(run / "config.yaml", folder / "config.yaml")
        checkpoint.save(
            folder / "checkpoints",
            replace(state, n_images=n_images, use_best=False),
            {"ema": weights | buffers},
        )
        making.note(folder, AverageRecord("", n_images))
    return AverageRecord(str(config.out), n_images)
