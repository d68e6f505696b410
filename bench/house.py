"""Measure issue 1 from a fresh clone and write `results/demo.json`: `python bench/house.py --looked`. About 12 minutes on two cores.

Expected: `make demo` under 4 minutes of compute and 2 GiB; `mixed` at most a third of `clean_small` and `noisy` for seeds 0, 1, 2;
`make test` under 8 minutes. Needs git, make and Python; installs into the clone. `--looked` says that a person has looked at the
rendered report.
"""

import argparse
import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from noiseworth.records import Check, DemoSummary, Results, load_record, machine, now, to_json, versions, write_atomically

ROOT = Path(__file__).parent.parent
SEEDS = (0, 1, 2)


def timed(command: str, folder: Path) -> tuple[float, int]:
    """Seconds and exit code of a shell command, whose output goes through."""
    began = monotonic()
    code = subprocess.run(command, shell=True, cwd=folder, check=False).returncode
    return monotonic() - began, code


def measure(looked: bool) -> Results:
    """Do everything in a fresh clone."""
    checks: list[Check] = []
    data: dict[str, Any] = {"seeds": {}}

    def check(line: int, what: str, value: float, unit: str, bound: float, direction: Any, command: str) -> None:
        checks.append(Check(1, line, what, round(value, 4), unit, bound, direction, command))
        print(f"line {line}: {what}: {value:.4g} {unit} ({direction} {bound:g})", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "noiseworth"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        seconds, code = timed("make demo", clone)
        check(1, "make demo passes from a fresh clone", float(code == 0), "yes", 1, "min", "make demo")
        data["make_demo_seconds"] = round(seconds, 1)
        again, _ = timed("make demo", clone)
        check(1, "second make demo, from start to end (all is done)", again, "s", 10, "max", "make demo")
        for seed in SEEDS:
            out = f"runs/demo-{seed}" if seed else "runs/demo"
            command = f"make demo ARGS='--seed {seed} --out {out}'"
            timed(command, clone)
            summary = load_record(DemoSummary, clone / out / "summary.json")
            data["seeds"][str(seed)] = {
                "seconds": summary.seconds,
                "peak_rss_mb": summary.peak_rss_mb,
                "held_out_distance": summary.held_out_distance,
                "accuracy": summary.features.accuracy,
                "regimes": {k: dataclasses.asdict(r) | {"worth": None} for k, r in summary.regimes.items()},
                "mean_worth": summary.regimes["mixed"].worth.mean_worth,
            }
            check(1, f"compute of the demo, seed {seed}", summary.seconds, "s", 240, "max", command)
            check(1, f"peak memory of the demo, seed {seed}", summary.peak_rss_mb, "MiB", 2048, "max", command)
            mixed = summary.regimes["mixed"].frechet_distance
            for other in ("clean_small", "noisy"):
                ratio = mixed / summary.regimes[other].frechet_distance
                check(2, f"Frechet distance of mixed over {other}, seed {seed}", ratio, "ratio", 1 / 3, "max", command)
        seconds, code = timed("make test", clone)
        check(3, "make test from a fresh clone, its own installing included", seconds, "s", 480, "max", "make test")
        check(3, "all tests pass", float(code == 0), "yes", 1, "min", "make test")
        _, code = timed(".venv/bin/python -m pytest tests/test_imports.py", clone)
        check(4, "imports follow the table", float(code == 0), "yes", 1, "min", "pytest tests/test_imports.py")
        _, code = timed("make check", clone)
        check(4, "ruff and mypy --strict are clean", float(code == 0), "yes", 1, "min", "make check")
        _, code = timed(".venv/bin/python -m pytest tests/test_readme.py", clone)
        check(5, "every command in the README runs in a test", float(code == 0), "yes", 1, "min", "pytest tests/test_readme.py")
        check(
            5,
            "the report was looked at, rendered, at 1280 px and at phone width",
            float(looked),
            "yes",
            1,
            "min",
            "chromium --headless",
        )
        for what in ("import noiseworth", "noiseworth --help"):
            command = ".venv/bin/noiseworth --help > /dev/null" if "help" in what else f".venv/bin/python -c '{what}'"
            best = min(timed(command, clone)[0] for _ in range(3))
            check(5, f"seconds of `{what}`", best, "s", 1, "max", command)
    return Results("issue 1 from a fresh clone", "python bench/house.py", now(), machine(), versions(), list(SEEDS), checks, data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--looked", action="store_true")
    results = measure(parser.parse_args().looked)
    (ROOT / "results").mkdir(exist_ok=True)
    write_atomically(ROOT / "results" / "demo.json", to_json(results) + "\n")
    print(json.dumps([c.what for c in results.checks if not c.holds], indent=1))
