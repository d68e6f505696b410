"""What a study of the theory says."""

from dataclasses import dataclass

from noiseworth.records.checks import require, require_as_many


@dataclass(frozen=True)
class Number:
    """One measured number of a study: its 95% interval, and what the theory expects, where there is such a thing."""

    key: str
    what: str
    value: float
    low: float | None = None
    high: float | None = None
    expected: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Series:
    """Points of one curve; `low` and `high` are 95% intervals. A `guide` is theory, drawn as a thin line without points."""

    label: str
    x: list[float]
    y: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    guide: bool = False

    def __post_init__(self) -> None:
        require_as_many(self, "x", "y", "low", "high")


@dataclass(frozen=True)
class Panel:
    """One figure with logarithmic axes; `caption` tells a newcomer what to see in it."""

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: list[Series]


@dataclass(frozen=True)
class TheoryStudy:
    """What one study of `noiseworth theory` found."""

    name: str
    title: str
    lead: str
    numbers: list[Number]
    panels: list[Panel]
    seconds: float
    seed: int
    effort: float

    def __post_init__(self) -> None:
        require(len(self.numbers) >= 1, "numbers must hold at least one")

    def number(self, key: str) -> Number:
        """The number of that key.

        Raises:
            KeyError: there is none.
        """
        return {number.key: number for number in self.numbers}[key]
