"""What is said of the noise of images that are packed: whether it can be, and the model of it."""

import logging

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.config import PackConfig
from noiseworth.data.damage import of_sigma_one, read_noise_model
from noiseworth.data.ingest import Ingested
from noiseworth.data.resize import Fit
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel

_SATURATED = 0.001  # a larger share of pixels at the ends of the integer type gives a warning
_MOST_NOISE = (
    8.0  # model units; more than four times the range of clean values is taken for a mistake of units
)
_log = logging.getLogger("noiseworth")


def own_noise(
    config: PackConfig, sigma: NDArray[np.float64], rule: Fit | None, shape: tuple[int, ...]
) -> NoiseModel | None:
    """The model of `--noise`; levels that are not known (N,) are put in where it says them.

    Raises:
        UserError: it does not go with the levels that are given, or with `--fit`.
    """
    if config.noise is None:
        return None
    if rule is not None and rule.how not in ("crop", "tiles"):
        raise UserError(
            f"--fit {rule.how}: changes the noise that --noise describes; use crop, or give neither"
        )
    model = read_noise_model(config.noise)
    model.variance(np.zeros((1, *shape)))  # refuses a map of another size
    stored, strength = of_sigma_one(model)
    if np.isnan(strength) and (sigma > 0).any():
        raise UserError(
            f"--noise {config.noise}: {model.describe()} depends on the signal, and has no one sigma; let --sigma say which"
            " images are clean, and no more (clean/=0)"
        )
    sigma[np.isnan(sigma)] = strength
    return stored


def check_units(config: PackConfig, sigma: NDArray[np.float64], ends: tuple[float, float]) -> None:
    """Raises UserError: noise of several times the whole range of values, which is most likely given in other units."""
    bad = sigma[sigma > _MOST_NOISE]
    if not len(bad):
        return
    given = bad[0] * (ends[1] - ends[0]) / 2 if config.sigma_units == "raw" else bad[0]
    if config.sigma_units == "raw":
        remedy = "is it the variance, or given in model units?"
    else:
        remedy = f"give --sigma-units raw if it is in the units of the pixels, which reach from {ends[0]:g} to {ends[1]:g}"
    raise UserError(
        f"--sigma {given:g}: noise of more than {_MOST_NOISE / 2:g} times the range of the values; {remedy}"
    )


def check_noise(
    ingested: Ingested, sigma: NDArray[np.float64], rule: Fit | None, source: str, has_model: bool
) -> None:
    """Refuse `--fit` rules by which noise is no longer white, and warn of noise that was clipped."""
    noisy = ~(sigma == 0) if has_model else sigma > 0
    if rule is not None and rule.how in ("resize", "pad") and noisy.any():
        which = ingested.names[int(np.flatnonzero(noisy)[0])]
        why = (
            "correlates the noise of neighbouring pixels" if rule.how == "resize" else "repeats noisy pixels"
        )
        raise UserError(
            f"--fit {rule.how}: {why}, and {which} has sigma {sigma[noisy][0]:g}; use crop or shrink, which"
            " keep noise white"
        )
    if noisy.any():
        share = float(np.mean(np.array(ingested.saturated)[noisy]))
        if share > _SATURATED:
            _log.warning(
                "%s: %.3g%% of the pixels of its noisy images are at the ends of %s: noise that was"
                " clipped there is not Gaussian, but training assumes that it is; use the raw data of the"
                " camera, if there are any",
                source, 100 * share, ingested.dtype,
            )  # fmt: skip
