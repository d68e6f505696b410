"""All distances between generated and real images in the same features, in one record."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.evaluate.frechet import frechet_estimate, moments
from noiseworth.evaluate.kernel import kernel_distance
from noiseworth.evaluate.learned_noise import LearnedNoise
from noiseworth.evaluate.neighbours import Memorisation, neighbour_scores
from noiseworth.evaluate.sliced import sliced_wasserstein
from noiseworth.evaluate.validation import check_features
from noiseworth.records import DistanceRecord

Array = NDArray[np.floating]

# Images a feature. With fewer the bias of the Frechet distance is no longer b / n, and its limit far too low.
FEWEST_FOR_LIMIT = 5
FEWEST_FOR_INTERVAL = 200  # images in all: of fewer a few decide, and intervals are too narrow
# The balls of few images are so large that shapeless images lie in them, too (results/small.json).
FEWEST_FOR_NEIGHBOURS = 10
_NEIGHBOURS = 5
_MOST = 10_000  # images, where all pairs are compared


def fewest_for_limit(dimension: int) -> int:
    """Images that tell the limit of the Frechet distance, and its interval, in so many features."""
    return max(FEWEST_FOR_LIMIT * dimension, FEWEST_FOR_INTERVAL)


def distances(
    generated: Array,
    real: Array,
    *,
    copies: Memorisation | None = None,
    noise: LearnedNoise | None = None,
    seed: int = 0,
) -> DistanceRecord:
    """Compare features (N, F) of generated images with features (M, F) of real ones, by every distance.

    Neighbour scores depend on the numbers of images, so they use equally many generated and real ones; with
    fewer than 10 of each a feature they are not told.

    Args:
        copies: whether training images were copied (`neighbours.memorisation`).
        noise: the noise that a model has learned (`learned_noise`), measured on pixels, not on features.
        seed: of the order of images, of the random directions, and of the choice of images where not all are used.

    Raises:
        UserError: too few samples, different dimensions, values that are not finite, or images of one kind
            that are all the same.
    """
    check_features(generated, real, least=_NEIGHBOURS + 1)
    for features, kind in ((generated, "generated"), (real, "real")):
        if not np.any(features != features[0]):
            raise UserError(f"all {len(features):,} {kind} images are the same: there is nothing to compare")
    frechet = frechet_estimate(generated, moments(real), seed)
    kernel = kernel_distance(generated, real, seed=seed)
    rng = np.random.default_rng(seed)
    count = min(len(generated), len(real), _MOST)
    x, y = (features[np.sort(rng.permutation(len(features))[:count])] for features in (generated, real))
    size = generated.shape[1]
    near = neighbour_scores(x, y, _NEIGHBOURS) if count >= FEWEST_FOR_NEIGHBOURS * size else None
    warnings = []
    is_limit_known = len(generated) >= fewest_for_limit(size)
    has_interval = count >= FEWEST_FOR_INTERVAL
    if not is_limit_known:
        few = f"{len(generated):,} images are too few to tell the limit of the Frechet distance"
        needed = f"in {size:,} features (at least {fewest_for_limit(size):,} are needed)"
        warnings.append(f"{few} {needed}: generate more, or compare in fewer features")
    if not has_interval:
        kind = "generated" if len(generated) <= len(real) else "real"
        few = f"{count:,} {kind} images are too few to tell the interval of the kernel distance"
        warnings.append(f"{few} (at least {FEWEST_FOR_INTERVAL} of each kind are needed)")
    if near is None:
        kind = "generated" if len(generated) <= len(real) else "real"
        few = f"{count:,} {kind} images are too few to tell precision, recall, density and coverage"
        needed = f"in {size:,} features (at least {FEWEST_FOR_NEIGHBOURS * size:,} of each kind are needed)"
        warnings.append(f"{few} {needed}")
    if is_limit_known and frechet.distance - frechet.limit > frechet.distance / 2:
        warnings.append(
            f"more than half of the Frechet distance is bias, since there are only {len(generated):,} images;"
            " use its limit instead"
        )
    return DistanceRecord(
        frechet=frechet.distance,
        frechet_limit=frechet.limit if is_limit_known else None,
        frechet_low=frechet.low if is_limit_known else None,
        frechet_high=frechet.high if is_limit_known else None,
        kernel=kernel.distance,
        kernel_low=kernel.low if has_interval else None,
        kernel_high=kernel.high if has_interval else None,
        sliced=sliced_wasserstein(x, y, seed=seed),
        neighbours=_NEIGHBOURS,
        compared=count,
        precision=None if near is None else near.precision,
        recall=None if near is None else near.recall,
        density=None if near is None else near.density,
        coverage=None if near is None else near.coverage,
        copied=None if copies is None else copies.share,
        copied_low=None if copies is None else copies.interval[0],
        copied_high=None if copies is None else copies.interval[1],
        copied_by_chance=None if copies is None else copies.by_chance,
        copied_by_chance_low=None if copies is None else copies.by_chance_interval[0],
        copied_by_chance_high=None if copies is None else copies.by_chance_interval[1],
        learned_noise=None if noise is None else noise.value,
        learned_noise_low=None if noise is None else noise.low,
        learned_noise_high=None if noise is None else noise.high,
        warnings=warnings,
    )
