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

FEWEST_PER_FEATURE = 5  # images: with fewer the bias is no longer b / n, and the limit far too low
_NEIGHBOURS = 5
_MOST = 10_000  # images, where all pairs are compared


def enough_for_limit(features: Array) -> bool:
    """Whether features (N, F) of so many images tell the limit of the Frechet distance."""
    return bool(len(features) >= FEWEST_PER_FEATURE * features.shape[1])


def distances(
    generated: Array,
    real: Array,
    *,
    copies: Memorisation | None = None,
    noise: LearnedNoise | None = None,
    seed: int = 0,
) -> DistanceRecord:
    """Compare features (N, F) of generated images with features (M, F) of real ones, by every distance.

    Neighbour scores depend on the numbers of images, so they use equally many generated and real ones.

    Args:
        copies: whether training images were copied (`neighbours.memorisation`).
        noise: the noise that a model has learned (`learned_noise`), measured on pixels, not on features.
        seed: of the bootstrap, of the random directions, and of the choice of images where not all are used.

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
    near = neighbour_scores(x, y, _NEIGHBOURS)
    warnings = []
    is_limit_known = enough_for_limit(generated)
    if not is_limit_known:
        few = f"{len(generated):,} images are too few to tell the limit of the Frechet distance in"
        needed = f"{generated.shape[1]:,} features (at least {FEWEST_PER_FEATURE * generated.shape[1]:,} are needed)"
        warnings.append(f"{few} {needed}: generate more, or compare in fewer features")
    elif frechet.distance - frechet.limit > frechet.distance / 2:
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
        kernel_low=kernel.low,
        kernel_high=kernel.high,
        sliced=sliced_wasserstein(x, y, seed=seed),
        neighbours=_NEIGHBOURS,
        compared=count,
        precision=near.precision,
        recall=near.recall,
        density=near.density,
        coverage=near.coverage,
        copied=None if copies is None else copies.share,
        copied_by_chance=None if copies is None else copies.by_chance,
        learned_noise=None if noise is None else noise.value,
        learned_noise_low=None if noise is None else noise.low,
        learned_noise_high=None if noise is None else noise.high,
        warnings=warnings,
    )
