"""Write the README's table of the demo, and what it comes to, from `results/demo.json`: `python bench/readme_table.py`.

A test holds the two together.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
START = "<!-- demo table: bench/readme_table.py writes it from results/demo.json -->"
END = "<!-- end of demo table -->"
TITLES = {
    "clean": "all clean",
    "clean_small": "a tenth, clean, alone",
    "noisy": "all noisy (sigma 0.5)",
    "mixed": "**a tenth clean, the rest noisy**",
}


def table() -> str:
    """The table in Markdown: mean over the seeds, with the range; empty while there are no results."""
    path = ROOT / "results" / "demo.json"
    if not path.is_file():
        return ""
    seeds = json.loads(path.read_text(encoding="utf-8"))["data"]["seeds"]
    lines = [
        "| training images | clean | noisy | Frechet distance | denoising risk / sigma² |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, title in TITLES.items():
        rows = [seed["regimes"][name] for seed in seeds.values()]
        cells = [title, f"{rows[0]['n_clean']:,}", f"{rows[0]['n_noisy']:,}"]
        for key in ("frechet_distance", "denoising_risk"):
            values = [row[key] for row in rows]
            cells.append(f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    source = "[`results/demo.json`](results/demo.json) has every number"
    lines += ["", f"Mean and range over {len(seeds)} seeds, lower is better; {source}."]
    lines += ["", *_in_words(list(seeds.values()))]
    return "\n".join(lines) + "\n"


def _in_words(seeds: list[dict[str, Any]]) -> list[str]:
    """Mixed over the others, seed by seed: the ranges of their ratios."""

    def over(key: str, *others: str) -> str:
        ratios = [
            seed["regimes"]["mixed"][key] / seed["regimes"][other][key] for seed in seeds for other in others
        ]
        return f"{min(ratios):.2f} to {max(ratios):.2f}"

    risk, distance = over("denoising_risk", "clean"), over("frechet_distance", "clean")
    first = f"With a tenth of the images clean and the rest noisy the denoising risk is {risk} times that of all clean images,"
    parts = over("frechet_distance", "clean_small", "noisy")
    return [
        first,
        f"and the distance {distance} times theirs, seed by seed; it is {parts} of the distance of either part alone.",
    ]


def updated(readme: str) -> str:
    """The README with this table."""
    pattern = f"{re.escape(START)}\n.*?{re.escape(END)}"
    return re.sub(pattern, lambda _: f"{START}\n{table()}{END}", readme, flags=re.DOTALL)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
