"""Write the README's table from `results/demo.json`: `python bench/readme_table.py`. A test holds the two together."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
START, END = "<!-- demo table: bench/readme_table.py writes it from results/demo.json -->", "<!-- end of demo table -->"
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
    lines = ["| training images | clean | noisy | Frechet distance | denoising risk / sigma² |", "|---|---:|---:|---:|---:|"]
    for name, title in TITLES.items():
        rows = [seed["regimes"][name] for seed in seeds.values()]
        cells = []
        for key in ("frechet_distance", "denoising_risk"):
            values = [row[key] for row in rows]
            cells.append(f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        lines.append(f"| {title} | {rows[0]['n_clean']:,} | {rows[0]['n_noisy']:,} | {cells[0]} | {cells[1]} |")
    lines += [
        "",
        f"Mean and range over {len(seeds)} seeds, lower is better; [`results/demo.json`](results/demo.json) has every number.",
    ]
    return "\n".join(lines) + "\n"


def updated(readme: str) -> str:
    """The README with the table put in its place."""
    return re.sub(f"{re.escape(START)}\n.*?{re.escape(END)}", lambda _: f"{START}\n{table()}{END}", readme, flags=re.DOTALL)


if __name__ == "__main__":
    README = ROOT / "README.md"
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
