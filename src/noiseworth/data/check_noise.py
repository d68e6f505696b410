"""`noise check`: whether the noise of a data set is what training takes it for."""

from dataclasses import asdict

import numpy as np

from noiseworth.data.dataset import Dataset
from noiseworth.data.measured import VALUES, evenly, read_finite, require_white, stored_as
from noiseworth.errors import UserError
from noiseworth.noise.checks import check_noise
from noiseworth.noise.comparison import compare
from noiseworth.noise.components import fit_components
from noiseworth.records import ComparisonRecord, NoiseCheckRecord

_FEWEST = 100  # images of each kind
_MOST, _MOST_IN_SHORT = 8000, 1000  # images of each kind that are looked at


def noise_checks(dataset: Dataset, in_short: bool) -> list[NoiseCheckRecord]:
    """Check the noise of the noisy images of known level against the clean images.

    Args:
        in_short: looks at fewer images, and makes no pictures.

    Raises:
        UserError: there are too few of either, an image has NaN, the noise is said not to be white, or the pictures hide it.
    """
    most = min(_MOST_IN_SHORT if in_short else _MOST, max(VALUES // int(np.prod(dataset.shape)), 50))
    require_white(dataset)
    noisy, clean = (evenly(np.flatnonzero(kind), most) for kind in (dataset.sigma > 0, dataset.sigma == 0))
    remedy = "join noisy images of known level and clean ones of the same kind (`noiseworth join`), or measure first (`noise estimate`)"
    if not len(noisy) or not len(clean):
        missing = "noisy images of known level" if not len(noisy) else "clean images"
        raise UserError(f"{dataset.path}: has no {missing}; {remedy}")
    if min(len(noisy), len(clean)) < _FEWEST:
        few = f"{len(noisy):,} noisy and {len(clean):,} clean images"
        raise UserError(f"{dataset.path}: {few} are too few; {_FEWEST} of each are needed; {remedy}")
    images, pictures = read_finite(dataset, noisy), read_finite(dataset, clean)
    sigma, others = dataset.sigma[noisy].astype(np.float64), pictures[1::2]
    try:
        # Components of images that are checked would have less of their noise than others.
        components = fit_components(pictures[::2])
        checks = check_noise(components, images, sigma, others, stored_as(dataset, images)[1])
        shown = compare(components, images, sigma, others) if not in_short else {}
    except ValueError as error:
        raise UserError(f"{dataset.path}: {error}; {remedy}") from None
    return [
        NoiseCheckRecord(
            name=check.name,
            verdict="fails" if check.fires else "unclear" if check.is_blind else "holds",
            effect=check.effect,
            error=check.error,
            matters=check.matters,
            words=check.words,
            remedy=check.remedy,
            picture=ComparisonRecord(**asdict(shown[check.name])) if not in_short else None,
        )
        for check in checks
    ]
