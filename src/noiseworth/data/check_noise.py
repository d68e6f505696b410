"""`noise check`: whether the noise of a data set is what training takes it for."""

import numpy as np

from noiseworth.data.dataset import open_dataset
from noiseworth.data.measured import VALUES, evenly, read_finite, require_white, stored_as
from noiseworth.data.noise_config import CheckConfig
from noiseworth.errors import UserError
from noiseworth.noise.checks import check_noise
from noiseworth.noise.components import fit_components
from noiseworth.options import with_options
from noiseworth.records import NoiseCheckRecord

_FEWEST = 100  # images of each kind
_MOST = 8000  # images of each kind that are looked at


@with_options(CheckConfig)
def check_dataset(config: CheckConfig) -> list[NoiseCheckRecord]:
    """Check the noise of the noisy images of known level against the clean images.

    Raises:
        UserError: there are too few of either, an image has NaN, or the pictures hide the noise.
    """
    dataset = open_dataset(config.data)
    most = min(_MOST, max(VALUES // int(np.prod(dataset.shape)), 50))
    require_white(dataset)
    noisy, clean = (evenly(np.flatnonzero(kind), most) for kind in (dataset.sigma > 0, dataset.sigma == 0))
    remedy = "join noisy images of known level and clean ones of the same kind (`noiseworth join`), or measure first (`noise estimate`)"
    if not len(noisy) or not len(clean):
        missing = "noisy images of known level" if not len(noisy) else "clean images"
        raise UserError(f"{config.data}: has no {missing}; {remedy}")
    if min(len(noisy), len(clean)) < _FEWEST:
        few = f"{len(noisy):,} noisy and {len(clean):,} clean images"
        raise UserError(f"{config.data}: {few} are too few; {_FEWEST} of each are needed; {remedy}")
    images, pictures = read_finite(dataset, noisy), read_finite(dataset, clean)
    try:
        # Components of images that are checked would have less of their noise than others.
        components = fit_components(pictures[::2])
        checks = check_noise(
            components, images, dataset.sigma[noisy].astype(np.float64), pictures[1::2], stored_as(dataset, images)[1]
        )  # fmt: skip
    except ValueError as error:
        raise UserError(f"{config.data}: {error}; {remedy}") from None
    return [
        NoiseCheckRecord(
            name=check.name,
            verdict="fails" if check.fires else "unclear" if check.is_blind else "holds",
            effect=check.effect,
            error=check.error,
            matters=check.matters,
            words=check.words,
            remedy=check.remedy,
        )
        for check in checks
    ]
