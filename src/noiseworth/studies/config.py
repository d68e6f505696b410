"""Options of `noiseworth theory`. The module imports no torch, so that `--help` is quick."""

from dataclasses import dataclass

from noiseworth.errors import UserError
from noiseworth.options import check, require, require_new_name

STUDIES = (
    "separation",
    "subspace",
    "regimes",
    "mixed",
    "few_clean",
    "small_sigma",
    "competitors",
    "cost",
    "denoising",
)


@dataclass(frozen=True)
class TheoryConfig:
    """Measure the theory of mixtures under mixed noise: rates, exchange rates, estimators (40 minutes)."""

    studies: str = "all"
    """"all", or names of studies, separated by commas: separation, subspace, regimes, mixed, few_clean,
    small_sigma, competitors, cost, denoising."""
    out: str = "runs/theory"
    """Directory for the results and for report.html."""
    seed: int = 0
    """Seed of every random draw."""
    effort: float = 1.0
    """Number of repetitions, in multiples of that of the published figures; 0.05 gives a first impression."""
    fresh: bool = False
    """Remove earlier studies in the directory first."""

    def __post_init__(self) -> None:
        check(self)
        require_new_name(self)
        require(0 < self.effort <= 100, "effort", f"{self.effort:g}", "above 0 and at most 100")
        unknown = [name for name in self.names if name not in STUDIES]
        if unknown or not self.names:
            wrong = unknown[0] if unknown else ""
            raise UserError(
                f"--studies {self.studies}: there is no study {wrong!r}; the studies are {', '.join(STUDIES)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the studies to run, in order."""
        asked = [name.strip() for name in self.studies.split(",") if name.strip()]
        return STUDIES if asked == ["all"] else tuple(asked)
