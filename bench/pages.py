"""What the benches write on the pages of docs/: figures, and their block of lines."""

import re
from pathlib import Path

from noiseworth.records import Panel, write_atomically
from noiseworth.report.theory import figure_file

DOCS = Path(__file__).parent.parent / "docs"


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
    if not path.is_file():
        return
    pattern = rf"(<!-- {re.escape(mark)} -->\n).*?(<!-- end -->)"
    block = "\n".join(rows).rstrip() + "\n"
    text = path.read_text(encoding="utf-8")
    write_atomically(path, re.sub(pattern, lambda m: m[1] + block + m[2], text, flags=re.DOTALL))
