"""What a pilot says: which images to take next, or that enough is known."""

from dataclasses import dataclass

from noiseworth.records.exposures import ExposureRecord


@dataclass(frozen=True)
class PilotImages:
    """`count` images of one exposure, whose noise is `sigma` (model units)."""

    exposure: float
    count: int
    sigma: float


@dataclass(frozen=True)
class PilotRecord:
    """What `noiseworth pilot` says.

    Attributes:
        unit: of exposures, costs and the budget.
        budget: that is left, in units.
        take: the images of the next round; empty where another round does not pay.
        cost: of the round.
        sigmas: noise of all images that are there after the round.
        models: what to train models on then: for each the numbers of images of each noise in `sigmas`.
        regret: how much worse than the best possible the quality is expected to be, relative, if the rest is spent by what is known now;
            None before anything is known.
        regret_after: the same after the round.
        price: what the round costs in quality, relative, as its images are not those that one would buy.
        unsure: why the models do not determine a law yet, in words; None if they do, and before there are any.
        plan: what to buy if the pilot stops now; None before anything is known.
    """

    unit: str
    budget: float
    take: list[PilotImages]
    cost: float
    sigmas: list[float]
    models: list[list[int]]
    regret: float | None = None
    regret_after: float | None = None
    price: float | None = None
    unsure: str | None = None
    plan: ExposureRecord | None = None
