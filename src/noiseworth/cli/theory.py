"""What the theory's studies print."""

from pathlib import Path

from noiseworth.records import TheoryStudy
from noiseworth.studies.config import TheoryConfig


def print_studies(config: TheoryConfig, studies: list[TheoryStudy]) -> None:
    """Every number of the studies, and where their page is."""
    from noiseworth.report.theory import theory_table

    print(theory_table(studies))
    print(f"\nreport: {Path(config.out) / 'report.html'}")
