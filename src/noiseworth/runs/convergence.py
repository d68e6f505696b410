"""Whether the sampler has converged: some of the images again with twice the steps."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.evaluate.features import Features
from noiseworth.evaluate.frechet import Moments, frechet_distance, moments
from noiseworth.records import ConvergenceRecord, DistanceRecord
from noiseworth.runs.config import EvaluationConfig
from noiseworth.runs.model import RunModel

_BATCH = 500
_WITHOUT_INTERVAL = 0.1  # of the distance; more than this is said to move, where no interval can be told
_FEWEST = 32  # images


def check_convergence(
    config: EvaluationConfig,
    model: RunModel,
    extract: Features,
    of_generated: NDArray[np.floating],
    reference: Moments,
    distances: DistanceRecord,
) -> ConvergenceRecord | None:
    """Generate the first images again, from the same noise with twice the steps, and compare both with the reference.

    Args:
        of_generated: features (N, F) of all generated images.
        distances: of all generated images.

    Returns:
        None where it was not asked for, or there are too few images.
    """
    n = min(config.check_steps, len(of_generated))
    if n < _FEWEST:
        return None
    steps = 2 * config.steps
    images = []
    device = next(model.denoiser.parameters()).device
    for start in range(0, n, _BATCH):
        ids = torch.arange(start, min(start + _BATCH, n), device=device)
        v = model.v if config.schedule == "data" else None
        made = sample(
            model.denoiser, ids, model.shape, config=SamplerConfig(steps=steps), v=v, trained_from=model.trained_from,
            seed=config.seed,
        )  # fmt: skip
        images.append(made.float().cpu().numpy().clip(-1, 1))
    before = frechet_distance(moments(of_generated[:n]), reference)
    after = frechet_distance(moments(extract(np.concatenate(images))), reference)
    half = _WITHOUT_INTERVAL * abs(distances.frechet)
    if distances.frechet_low is not None and distances.frechet_high is not None:
        half = (distances.frechet_high - distances.frechet_low) / 2
    return ConvergenceRecord(n, steps, before, after, half, abs(after - before) <= half)


def warning_of(convergence: ConvergenceRecord, name: Path) -> str:
    """What is to be said of a sampler that has not converged."""
    c = convergence
    return (
        f"{name.name}: with twice the steps of the sampler the Frechet distance of {c.n:,} images moves from"
        f" {c.frechet:.3g} to {c.frechet_doubled:.3g}, by more than its interval allows ({c.interval:.2g}); give more"
        " --steps"
    )
