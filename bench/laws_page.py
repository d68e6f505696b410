"""The commands of `docs/laws.md`, run as they are written: `python bench/laws_page.py`.

Runs every block of commands of the page's first three sections in an empty folder, and compares the prices that
come out with those that the page prints: each must lie within the other's interval. Then runs them once more
with a third of the training, where another price comes out.

Writes `results/laws-page.json`; with `--write` also what the commands printed into the page. About five
minutes on two cores.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pages
from checks import Checklist
from noiseworth.records import QuoteRecord, from_json

CLAIM = "numbers/docs-reproduce"
PAGE = pages.DOCS / "laws.md"
MARK = "output: bench/laws_page.py --write writes it"
FILE = "laws-page.json"
SHORTER = ("--n-images 60000", "--n-images 20000")


def commands() -> list[str]:
    """The page's commands on clean and noisy images: those on exposures need models of several noise levels."""
    text = PAGE.read_text(encoding="utf-8").partition("## How long to expose")[0]
    blocks = re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def printed_price() -> tuple[float, float, float] | None:
    """The average price that the page prints, with its interval; None before it was ever written."""
    number = r"([\d.]+)"
    match = re.search(rf"on average +{number} \({number} to {number}\)", PAGE.read_text(encoding="utf-8"))
    return None if match is None else (float(match[1]), float(match[2]), float(match[3]))


def run(lines: list[str], folder: Path) -> tuple[str, QuoteRecord]:
    """Run commands in a folder; what `fit`, `price` and `plan` printed, and the price."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    shown, quote = [], None
    for line in lines:
        print(f"$ {line}", flush=True)
        done = subprocess.run(
            shlex.split(line), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        if line.split()[1] in ("fit", "price", "plan"):
            shown += [
                f"$ {line}",
                *(row for row in done.stdout.splitlines() if "open it in a" not in row),
                "",
            ]
        if line.split()[1] == "price":
            words = [*shlex.split(line), "--json"]
            text = subprocess.run(
                words, cwd=folder, env=environment, capture_output=True, text=True, check=True
            )
            quote = from_json(QuoteRecord, json.loads(text.stdout), line)
    if quote is None:
        raise AssertionError("the page prices something")
    return "\n".join(shown).strip(), quote


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put what was printed into the page")
    write = parser.parse_args().write
    checklist = Checklist("python bench/laws_page.py")
    lines = commands()
    with tempfile.TemporaryDirectory() as folder:
        shown, quote = run(lines, Path(folder))
    shorter = [line.replace(*SHORTER) for line in lines]
    assert shorter != lines
    with tempfile.TemporaryDirectory() as folder:
        shown_shorter, short = run(shorter, Path(folder))
    if write:
        pages.put("laws.md", MARK, ["```text", shown, "```"])
    printed = printed_price()
    if printed is None:
        raise SystemExit(f"{PAGE}: prints no price; give --write")
    value, low, high = printed
    where = f"page {value:g} ({low:g} to {high:g}), again {quote.average:.3g} ({quote.average_low:.3g} to {quote.average_high:.3g})"
    checklist.yes(
        CLAIM, f"the price found again lies in the page's interval: {where}", low <= quote.average <= high
    )
    is_inside = quote.average_low <= value <= quote.average_high
    checklist.yes(CLAIM, f"the page's price lies in the interval found again: {where}", is_inside)
    predicted = f"{quote.predicted:.3g}, {quote.predicted_low:.3g} to {quote.predicted_high:.3g}"
    overlap = (quote.predicted_low or 0) <= quote.average_high and quote.average_low <= (
        quote.predicted_high or 1e9
    )
    what = f"the prediction by one training ({predicted}) and the sweep's interval do not exclude each other"
    checklist.yes(CLAIM, what, overlap)
    data = {
        "commands": lines,
        "printed": shown,
        "printed_after_20000": shown_shorter,
        "price_after_20000": short.average,
    }
    checklist.write(FILE, "the commands of docs/laws.md, run as written", 0, data)


if __name__ == "__main__":
    main()
