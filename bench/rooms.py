"""Draw the package's rooms and what imports what: `python bench/rooms.py` writes docs/figures/rooms.svg.

Rows are the layers of pyproject.toml (a room imports lower ones alone). An arrow is an import; one that follows from
two others is left out. Modules at the bottom are open to everybody, and have no arrows.
"""

import ast
import html
import re
import tomllib
from pathlib import Path

from noiseworth.records import write_atomically

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "noiseworth"
PICTURE = ROOT / "docs" / "figures" / "rooms.svg"
OPEN_TO_ALL = ("records", "rng", "options", "progress", "process", "commands", "errors")
WORDS = {
    "cli": "the command line: prints results",
    "sweep": "many trainings by one plan",
    "runs": "sample, evaluate, demo, recipes",
    "studies": "the theory at work",
    "train": "trainer, monitors, checkpoints",
    "report": "pages and figures",
    "evaluate": "distances, risk, learned noise",
    "laws": "scaling laws, prices, budgets",
    "data": "reading, packing, noise levels",
    "diffusion": "worth, pairs, objective, sampler",
    "theory": "mixtures in closed form",
    "networks": "the networks",
    "noise": "measuring and checking noise",
}
# The middle of each box, as a share of the width, and where a long arrow goes down between boxes.
MIDDLES = {
    "cli": 0.5, "sweep": 0.3, "runs": 0.3, "studies": 0.86, "train": 0.26, "report": 0.62, "evaluate": 0.39,
    "laws": 0.65, "data": 0.37, "diffusion": 0.61, "theory": 0.86, "networks": 0.14, "noise": 0.5,
}  # fmt: skip
LANES = {("studies", "diffusion"): 0.79, ("train", "networks"): 0.15}
_TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#5b6670"/></marker>'
)
WIDTH, ROW, BOX, BOX_HEIGHT, MARGIN = 900, 84, 206, 46, 20


def layers() -> list[list[str]]:
    """Rooms by layer, top first, as pyproject.toml lists them; of those that exist."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rows = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    named = [[name.strip(" ()") for name in row.split("|")] for row in rows]
    return [
        [name for name in row if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()]
        for row in named
    ]


def imports() -> set[tuple[str, str]]:
    """(room, room that it imports)."""
    pairs = set()
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [f"{node.module}.x"] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                parts = name.split(".")
                if parts[0] == "noiseworth" and len(parts) > 2 and parts[1] != room:
                    pairs.add((room, parts[1]))
    return {(a, b) for a, b in pairs if a != "__init__" and b not in OPEN_TO_ALL and a not in OPEN_TO_ALL}


def arrows() -> set[tuple[str, str]]:
    """The imports that follow from no others."""
    pairs = imports()

    def reaches(start: str, end: str, without: tuple[str, str]) -> bool:
        steps = [b for a, b in pairs if a == start and (a, b) != without]
        return end in steps or any(reaches(step, end, without) for step in steps)

    return {pair for pair in pairs if not reaches(*pair, without=pair)}


def arrows_of(picture: str) -> set[tuple[str, str]]:
    """The arrows that a picture says it shows."""
    listed = re.search(r"<!-- arrows: (.*?) -->", picture)
    return {(a, b) for a, b in (pair.split(">") for pair in (listed[1].split() if listed else []))}


def picture() -> str:
    """The SVG."""
    rows = [[name for name in row if name not in OPEN_TO_ALL] for row in layers()]
    rows = [row for row in rows if row]
    boxes = {
        name: (MIDDLES.get(name, 0.5) * WIDTH, MARGIN + number * ROW)
        for number, row in enumerate(rows)
        for name in row
    }
    height = MARGIN + len(rows) * ROW + 70
    style = "font-family:sans-serif;font-size:14px"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" style="{style}">',
        '<rect width="100%" height="100%" fill="white"/>',
        f"<defs>{_TIP}</defs>",
    ]
    shown = sorted(arrows())
    for source, target in shown:
        lines.append(_arrow(boxes[source], boxes[target], LANES.get((source, target))))
    for name, (middle, top) in boxes.items():
        lines.append(_box(name, WORDS.get(name, ""), middle, top))
    bottom = MARGIN + len(rows) * ROW
    names = ", ".join(name for row in layers() for name in row if name in OPEN_TO_ALL)
    lines.append(
        f'<rect x="{MARGIN}" y="{bottom}" width="{WIDTH - 2 * MARGIN}" height="46" rx="6" fill="#eef1f3"/>'
        f'<text x="{WIDTH / 2}" y="{bottom + 28}" text-anchor="middle" fill="#333">open to all: {names}</text>'
    )
    lines.append(f"<!-- arrows: {' '.join(f'{a}>{b}' for a, b in shown)} -->")
    return "\n".join([*lines, "</svg>"]) + "\n"


def _box(name: str, words: str, middle: float, top: float) -> str:
    return (
        f'<rect x="{middle - BOX / 2:.0f}" y="{top:.0f}" width="{BOX}" height="{BOX_HEIGHT}" rx="6" fill="#e3eef7"'
        f' stroke="#1b6ca8"/><text x="{middle:.0f}" y="{top + 19:.0f}" text-anchor="middle" font-weight="bold"'
        f' fill="#123">{name}</text><text x="{middle:.0f}" y="{top + 37:.0f}" text-anchor="middle" font-size="11.5"'
        f' fill="#444">{html.escape(words)}</text>'
    )


def _arrow(source: tuple[float, float], target: tuple[float, float], lane: float | None) -> str:
    """From the bottom of one box to the top of another; a long one goes down a lane between boxes first."""
    (x0, y0), (x1, y1) = source, target
    reach = 0.36 * BOX
    lean = max(-1.0, min(1.0, (x1 - x0) / 200))
    start, end, down = x0 + reach * lean, x1 - reach * lean, y0 + BOX_HEIGHT
    path = f"M{start:.0f} {down:.0f}"
    if lane is not None:
        start, down = lane * WIDTH, y1 - ROW + BOX_HEIGHT
        path = f"M{start:.0f} {y0 + BOX_HEIGHT:.0f}V{down:.0f}"
    half = (down + y1) / 2
    path += f"C{start:.0f} {half:.0f} {end:.0f} {half:.0f} {end:.0f} {y1 - 2:.0f}"
    return f'<path d="{path}" fill="none" stroke="#5b6670" stroke-width="1.3" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    write_atomically(PICTURE, picture())
    print(PICTURE)
