"""What to beware of in a price: quality at its floor, and ways of pricing that disagree, each with its reason."""

import numpy as np

from noiseworth.laws.inequalities import PriceInterval, price_intervals
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations

_NEAR = 2.0  # typical residuals: models so near to the floor cannot be told from it
_MANY = 0.25  # share of models


def floor_remark(law: Law, observations: Observations) -> str | None:
    """A sentence where many models are at the law's floor, which no image lowers; else None."""
    floor = float(np.exp(law.parameters[0]))
    at_floor = int((observations.quality <= floor * (1 + _NEAR * law.scale)).sum())
    if at_floor < _MANY * len(observations):
        return None
    return (
        f"{at_floor} of {len(observations)} models are at the floor of the quality, {floor:.3g}: images no longer decide"
        " there, and the price is that of the others; longer training lowers the floor"
    )


def inequality_remark(
    law: Law, observations: Observations, bounds: PriceInterval, low: float, high: float
) -> str | None:
    """A sentence where a law's price interval, `low` to `high`, and the inequalities exclude each other; else None.

    Inequalities know no error: a pair of models whose qualities differ by less than the law's residuals
    decides them as well as any other.
    """
    if not bounds.contradictory and bounds.low <= high and (bounds.high is None or low <= bounds.high):
        return None
    what = (
        "the inequalities contradict each other"
        if bounds.contradictory
        else f"the law ({low:.3g} to {high:.3g}) and the inequalities disagree"
    )
    noise = _NEAR * 2**0.5 * law.scale
    sure = price_intervals(observations, noise)[law.column(bounds.sigma)]
    if sure.contradictory or sure.low > high or (sure.high is not None and low > sure.high):
        return f"{what}, also without pairs of models that differ by chance alone: one law does not hold for all these mixes"
    upper = "any" if sure.high is None else f"{sure.high:.3g}"
    return (
        f"{what}: pairs of models decide whose qualities differ by less than {noise:.1%}, which is chance (twice the typical"
        f" residual of a difference); without these the inequalities say {sure.low:.3g} to {upper}"
    )


def prediction_remark(
    predicted: tuple[float, float | None], low: float, high: float, at_floor: bool
) -> str | None:
    """A sentence where what a single training can say, from the least to the greatest price, excludes the law's; else None."""
    least, most = predicted
    if least <= high and (most is None or low <= most):
        return None
    if at_floor:
        why = "at its floor the quality says little of images, while a single training prices them as if they still mattered"
    else:
        why = "a single training prices images by the noise of their targets, as if its error fell as 1 / N at every level"
    return f"the law and the prediction by one training disagree, whatever imputed images are worth: {why}"
