"""The demo, the tests and the README from a fresh clone: `python bench/fresh_clone.py --report-reviewed`.

Expected: `make demo` under 4 minutes of compute and 2 GiB; the Frechet distance of `mixed` at most a third of
those of `clean_small` and `noisy` for seeds 0, 1, 2; `make test` under 8 minutes. Needs git, make and Python;
installs into the clone. Writes `results/demo.json`, in about 12 minutes on two cores.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from checks import RESULTS, Check, Checklist
from noiseworth.records import DemoSummary, Evaluation, load_record

ROOT = Path(__file__).parent.parent
SEEDS = [0, 1, 2]


def timed(command: str, folder: Path) -> tuple[float, int]:
    """Seconds and exit code of a shell command, whose output goes through."""
    began = monotonic()
    code = subprocess.run(command, shell=True, cwd=folder, check=False).returncode
    return monotonic() - began, code


def check_make_demo(checklist: Checklist, clone: Path) -> float:
    """`make demo`, and once more when all is done; returns the seconds of the first."""
    claim, command = "clone/demo", "make demo"
    seconds, code = timed(command, clone)
    checklist.yes(claim, "make demo passes from a fresh clone", code == 0, command)
    again, _ = timed(command, clone)
    what = "second make demo, from start to end (all is done)"
    checklist.add(claim, what, again, 10, "max", "s", command)
    return seconds


def check_seed(checklist: Checklist, clone: Path, seed: int, run: bool = True) -> dict[str, Any]:
    """The demo with a seed, run by make unless it was already; returns its numbers."""
    out = f"runs/demo-{seed}" if seed else "runs/demo"
    command = f"make demo ARGS='--seed {seed} --out {out}'"
    if run:
        timed(command, clone)
    summary = load_record(DemoSummary, clone / out / "summary.json")
    # Times compare on a machine that does nothing else.
    what = f"compute of the demo, seed {seed}"
    checklist.add("numbers/demo", what, summary.seconds, 240, "max", "s", command)
    what = f"peak memory of the demo, seed {seed}"
    checklist.add("numbers/demo", what, summary.peak_rss_mb, 2048, "max", "MiB", command)
    mixed = summary.regimes["mixed"]
    for other, most in (("clean_small", 0.5), ("noisy", 0.5), ("clean", 1.6)):
        ratio = mixed.frechet_distance / summary.regimes[other].frechet_distance
        what = f"Frechet distance of mixed over {other}, seed {seed}, sampling converged"
        checklist.add("numbers/demo", what, ratio, most, "max", "ratio", command)
    for name in summary.regimes:
        evaluation = load_record(Evaluation, clone / out / name / "evaluation.json")
        c = evaluation.convergence
        if c is None:
            raise AssertionError("the demo checks its sampler")
        moved, what = (
            abs(c.frechet_doubled - c.frechet),
            f"twice the steps move the distance of {name}, seed {seed}",
        )
        checklist.add(
            "numbers/converged",
            f"{what}, over half its interval",
            moved / c.interval,
            1,
            "max",
            "ratio",
            command,
        )
    for other in ("clean_small", "noisy"):
        ratio = mixed.frechet_distance / summary.regimes[other].frechet_distance
        what = f"Frechet distance of mixed over {other}, seed {seed}"
        checklist.add("clone/mixed-beats-its-parts", what, ratio, 1 / 3, "max", "ratio", command)
    return {
        "seconds": summary.seconds,
        "peak_rss_mb": summary.peak_rss_mb,
        "held_out_distance": summary.held_out_distance,
        "accuracy": summary.features.accuracy,
        "regimes": {k: dataclasses.asdict(r) | {"worth": None} for k, r in summary.regimes.items()},
        "mean_worth": mixed.worth.mean_worth,
    }


def check_tests(checklist: Checklist, clone: Path) -> None:
    """`make test`, imports, types."""
    seconds, code = timed("make test", clone)
    what = "make test from a fresh clone, its own installing included"
    checklist.add("clone/tests", what, seconds, 480, "max", "s", "make test")
    checklist.yes("clone/tests", "all tests pass", code == 0, "make test")
    claim, imports = "clone/imports-and-types", "lint-imports --no-cache"
    _, code = timed(f".venv/bin/{imports}", clone)
    checklist.yes(claim, "imports follow the table", code == 0, imports)
    _, code = timed("make check", clone)
    checklist.yes(claim, "ruff and mypy --strict are clean", code == 0, "make check")


def check_readme(checklist: Checklist, clone: Path, report_reviewed: bool) -> None:
    """The README's commands, the report, and how quickly the package starts."""
    claim, tests = "clone/readme", "pytest tests/test_readme.py"
    _, code = timed(f".venv/bin/python -m {tests}", clone)
    checklist.yes(claim, "every command in the README runs in a test", code == 0, tests)
    what = "a person reviewed the report, rendered, at 1280 px and at phone width"
    checklist.yes(claim, what, report_reviewed, "chromium --headless")
    for what, command in (
        ("import noiseworth", ".venv/bin/python -c 'import noiseworth'"),
        ("noiseworth --help", ".venv/bin/noiseworth --help > /dev/null"),
    ):
        best = min(timed(command, clone)[0] for _ in range(3))
        checklist.add(claim, f"seconds of `{what}`", best, 1, "max", "s", command)


def measure_demo(checklist: Checklist) -> None:
    """The demo's numbers, by this Python."""
    before = json.loads((RESULTS / "demo.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        by_seed = {}
        for seed in SEEDS:
            out = f"runs/demo-{seed}" if seed else "runs/demo"
            timed(f"{sys.executable} -m noiseworth.cli demo --seed {seed} --out {out}", Path(folder))
            by_seed[str(seed)] = check_seed(checklist, Path(folder), seed, run=False)
    claims = {check.claim for check in checklist.checks}
    kept = [Check(**check) for check in before["checks"] if check["claim"] not in claims]
    checklist.checks = sorted([*kept, *checklist.checks], key=lambda check: check.claim)
    data = before["data"] | {"seeds": by_seed}
    checklist.write("demo.json", before["what"], SEEDS, data)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--report-reviewed",
        action="store_true",
        help="say that a person has reviewed the rendered report, wide and narrow",
    )
    parser.add_argument(
        "--demo-only",
        action="store_true",
        help="measure the demo alone, by this Python; keep the other numbers",
    )
    parser.add_argument(
        "--tests-only", action="store_true", help="run the tests alone; keep the other numbers"
    )
    options = parser.parse_args()
    report_reviewed = options.report_reviewed
    checklist = Checklist("python bench/fresh_clone.py")
    if options.demo_only:
        measure_demo(checklist)
        return
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "noiseworth"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        if options.tests_only:
            timed("make .venv/.ready", clone)
            check_tests(checklist, clone)
            checklist.update("demo.json")
            return
        seconds = check_make_demo(checklist, clone)
        by_seed = {str(seed): check_seed(checklist, clone, seed) for seed in SEEDS}
        check_tests(checklist, clone)
        check_readme(checklist, clone, report_reviewed)
    data = {"seeds": by_seed, "make_demo_seconds": round(seconds, 1)}
    checklist.write("demo.json", "the demo, the tests and the README from a fresh clone", SEEDS, data)


if __name__ == "__main__":
    main()
