"""What the benches of several issues write: checks as a table, figures, and their block on a page of docs/."""

import re
from pathlib import Path

from noiseworth.records import Check, Panel, write_atomically
from noiseworth.report.theory import figure_file

DOCS = Path(__file__).parent.parent / "docs"


def check_rows(checks: list[Check]) -> list[str]:
    """A Markdown table, a line each."""
    rows = ["| line | measured | bound | |", "|---|---|---|---|"]
    for c in checks:
        bound = f"{'at most' if c.direction == 'max' else 'at least'} {c.bound:g}"
        rows.append(f"| {c.line} | {c.what}: {c.value:.3g} | {bound} | {'holds' if c.holds else '**fell short**'} |")
    return rows


def figure_rows(panels: list[Panel]) -> list[str]:
    """Write the figures, and the lines that show them with what to see in them."""
    (DOCS / "figures").mkdir(parents=True, exist_ok=True)
    rows = []
    for panel in panels:
        write_atomically(DOCS / "figures" / f"{panel.name}.svg", figure_file(panel))
        words = f"{panel.title}. {panel.caption}" if panel.caption else panel.title
        rows += [f"![{panel.title}](figures/{panel.name}.svg)", "", f"*{words}*", ""]
    return rows


def put(page: str, mark: str, rows: list[str]) -> None:
    """Put lines between `<!-- mark -->` and `<!-- end -->` of a page, if it is there."""
    path = DOCS / page
    if path.is_file():
        pattern = rf"(<!-- {re.escape(mark)} -->\n).*?(<!-- end -->)"
        text = path.read_text(encoding="utf-8")
        write_atomically(path, re.sub(pattern, lambda m: m[1] + "\n".join(rows).rstrip() + "\n" + m[2], text, flags=re.DOTALL))


def say(checks: list[Check]) -> None:
    """Print them."""
    for c in checks:
        print(f"line {c.line}: {c.what}: {c.value:.4g} ({c.direction} {c.bound:g}) {'' if c.holds else 'FELL SHORT'}")
