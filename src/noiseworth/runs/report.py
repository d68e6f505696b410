"""`noiseworth report`: finished runs side by side on one page."""

from pathlib import Path

from noiseworth.options import with_options
from noiseworth.records import ReportRecord
from noiseworth.report.page import write_report
from noiseworth.runs.config import ReportConfig


@with_options(ReportConfig)
def make_report(config: ReportConfig) -> ReportRecord:
    """Write the page.

    Raises:
        UserError: one of the runs is not finished.
    """
    page = write_report([Path(run) for run in config.runs], Path(config.out), title=config.title)
    return ReportRecord(str(page))
