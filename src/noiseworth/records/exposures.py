"""What a plan of exposures says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TakenRecord:
    """`count` images of one exposure: their noise `sigma` in model units, and what one more of them is worth in clean ones beside
    the others."""

    exposure: float
    count: int
    sigma: float
    worth: float


@dataclass(frozen=True)
class ExposureChoice:
    """Images to take, what they cost in all, and the predicted quality with the 95% interval of the law's uncertainty."""

    images: list[TakenRecord]
    cost: float
    quality: float
    low: float
    high: float


@dataclass(frozen=True)
class ExposureRecord:
    """What `noiseworth plan --instrument` found.

    Attributes:
        law: that predicts: "curve", "levels" or "two" (currencies).
        unit: of exposures, costs and the budget.
        budget: to be spent.
        best: the best choice, of one exposure or two.
        single: the best of one exposure; `longest` and `shortest` are those of the instrument's longest and shortest.
        over_longest, over_shortest: quality of these over the best, with the ends of its 95% interval.
        flat: the shortest and the longest single exposure whose predicted quality is within a hundredth of the best single one.
        price: what further images worth one clean image cost at the best single exposure, in units, with the ends of its 95% interval.
        beyond: what lies beyond the models that were observed, in words.
        half: by one currency the noise at which an image is worth half a clean one, by levels the level over the noise at which it is; with
            the ends of its 95% interval, by the profile likelihood (null: there is none on that side). Null by two currencies.
    """

    law: str
    unit: str
    budget: float
    best: ExposureChoice
    single: ExposureChoice
    longest: ExposureChoice
    shortest: ExposureChoice
    over_longest: tuple[float, float, float]
    over_shortest: tuple[float, float, float]
    flat: tuple[float, float]
    price: tuple[float, float, float]
    beyond: list[str]
    half: tuple[float, float | None, float | None] | None = None
