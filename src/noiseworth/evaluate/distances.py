"""All distances between generated and real images in the same features, in one record."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.evaluate.frechet import frechet_estimate
from noiseworth.evaluate.kernel import kernel_distance
from noiseworth.evaluate.neighbours import memorisation, neighbour_scores
from noiseworth.evaluate.sliced import sliced_wasserstein
from noiseworth.records import DistanceRecord

Array = NDArray[np.floating]

_NEIGHBOURS = 5
_MOST = 10_000  # images for what compares all pairs
_FEW = 10  # samples for each dimension, below which a covariance is a poor guess


def distances(
    generated: Array, real: Array, held_out: Array | None = None, *, leaked: float | None = None, seed: int = 0
) -> DistanceRecord:
    """Everything that features (N, F) of generated, (M, F) of real and (K, F) of held-out real images say.

    Args:
        held_out: real images that were not trained on: how many of them are nearer to a training image than its own neighbour says
            how many would be by chance.
        leaked: noise that was learned (`leak.leaked_noise`), which is of pixels, not of features.
        seed: of the bootstrap, of random directions, and of the order of subsets.

    Raises:
        UserError: too few samples, different dimensions, or values that are not finite.
    """
    frechet, kernel = frechet_estimate(generated, real, seed), kernel_distance(generated, real, seed=seed)
    x, y = generated[:_MOST], real[:_MOST]
    near = neighbour_scores(x, y, _NEIGHBOURS)
    copies = None if held_out is None else memorisation(x, real, held_out)
    fewest = min(len(generated), len(real))
    warnings = []
    if fewest < _FEW * generated.shape[1]:
        warnings.append(
            f"{fewest:,} images for {generated.shape[1]:,} features: the Frechet distance is mostly bias; "
            "generate more, or use fewer features"
        )
    return DistanceRecord(
        frechet=frechet.distance,
        frechet_limit=frechet.limit,
        frechet_low=frechet.low,
        frechet_high=frechet.high,
        kernel=kernel.distance,
        kernel_low=kernel.low,
        kernel_high=kernel.high,
        sliced=sliced_wasserstein(x, y, seed=seed),
        neighbours=_NEIGHBOURS,
        precision=near.precision,
        recall=near.recall,
        density=near.density,
        coverage=near.coverage,
        copied=None if copies is None else copies.share,
        copied_by_chance=None if copies is None else copies.by_chance,
        leaked_noise=leaked,
        warnings=warnings,
    )
