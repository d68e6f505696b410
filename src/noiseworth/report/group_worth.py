"""The page of `worth`: a table of groups, and their worth by level."""

from pathlib import Path
from typing import Any

from noiseworth.records import GroupWorthRecord
from noiseworth.report.figures import COLOURS, plain_label, svg
from noiseworth.report.html import write_page

_DRAWN = 12  # groups
_LISTED = 200


def write_group_worth(name: str, record: GroupWorthRecord, out: Path) -> Path:
    """Write the page, and return its path.

    Args:
        name: of the data set.
        record: what was found.
        out: the HTML file; an existing file is replaced.
    """

    def draw(axes: Any) -> None:
        lines = ("-", "--", ":")
        for number, group in enumerate(record.groups[:_DRAWN]):
            style = lines[number // len(COLOURS) % len(lines)]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(
                record.levels,
                group.by_level,
                style,
                color=colour,
                label=plain_label(group.name),
                linewidth=1.7,
            )
        axes.set(xscale="log", xlabel="level σ (model units)", ylabel="worth of one image, in clean ones")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)

    return write_page(
        "group-worth.html.j2",
        out,
        name=name,
        record=record,
        groups=record.groups[:_LISTED],
        figure=svg(draw),
        left_out=max(len(record.groups) - _LISTED, 0),
        drawn=min(len(record.groups), _DRAWN),
    )
