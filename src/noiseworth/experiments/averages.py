"""A run's weights averaged in another way, after training, as a run of its own that can be sampled and evaluated."""

import shutil
from dataclasses import replace
from pathlib import Path

from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.train import checkpoint
from noiseworth.train.ema import combine, find_snapshots


def make_average(run: Path | str, out: Path | str, *, sigma_rel: float, n_images: int | None = None) -> int:
    """Write a run whose averaged weights are the power-function average of this width (arXiv 2312.02696, appendix C).

    Args:
        run: a run that was trained with `power_ema`.
        out: the new run's directory.
        sigma_rel: relative width.
        n_images: where in training; by default where the run stands.

    Returns:
        The images seen there.

    Raises:
        UserError: too few averages were saved, or `out` exists.
    """
    run = Path(run)
    found = checkpoint.load_newest(run / "checkpoints")
    if found is None or not (run / "config.yaml").is_file():
        raise UserError(f"{run}: not a run with a checkpoint")
    state, tensors, _ = found
    at = state.n_images if n_images is None else n_images
    if not 0 < at <= state.n_images:
        raise UserError(f"--n-images {at}: the run stands at {state.n_images:,}")
    weights = combine(find_snapshots(run), sigma_rel, at)
    fixed = {name: value for name, value in tensors["ema"].items() if name not in weights}  # buffers, which are not averaged
    with new_directory(Path(out)) as folder:
        shutil.copy(run / "config.yaml", folder / "config.yaml")
        checkpoint.save(folder / "checkpoints", replace(state, n_images=at), {"ema": weights | fixed})
    return at
