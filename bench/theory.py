"""The theory, measured and held to its bounds: `python bench/theory.py`.

Runs `noiseworth theory` (or goes on with it) and the tests of the closed forms. Writes `results/theory.json`,
the figures under `docs/figures/` and the numbers in `docs/theory.md`. `--page` rewrites the page and the
figures from the results that are there. About 40 minutes on two cores, alone on the machine.

Expected: all checks hold but two. All dimensions put on one line in d/n alone give a steeper exponent, since
d = 10 lies a little higher than the others and to their left; and worth predicts the risk of a network well
only when neighbouring levels are allowed to share what they learn.
"""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

from checks import RESULTS, Check, Checklist, Direction, Results, bound_of
from noiseworth.records import TheoryStudy, from_json, load_record, write_atomically
from noiseworth.report.theory import figure_file, measured
from noiseworth.studies.config import TheoryConfig
from noiseworth.studies.run import run_theory
from processes import ROOT, tests_pass

FILE = "theory.json"
PAGE = ROOT / "docs" / "theory.md"
FIGURES = ROOT / "docs" / "figures"
RATES = "theory/rates"
ONE_CURVE = "theory/one-curve"
COMPETITORS = "theory/lower-bound-and-competitors"
COST = "theory/cost"
PREDICTED_RISK = "theory/predicted-risk"


class StudyChecks:
    """Holds the numbers of the studies against their bounds."""

    def __init__(self, checklist: Checklist, studies: dict[str, TheoryStudy]) -> None:
        self.checklist, self.studies = checklist, studies

    def near(self, claim: str, study: str, key: str, tolerance: float) -> None:
        """A number that must lie within a tolerance of what the theory expects."""
        number = self.studies[study].number(key)
        if number.expected is None:
            raise AssertionError(f"{study}: {key} has no expected value")
        distance = abs(number.value - number.expected)
        what = f"{number.what}: {measured(number)}; distance"
        self.checklist.add(claim, what, distance, tolerance, "max", command=_command(study))

    def bounded(self, claim: str, study: str, key: str, bound: float, direction: Direction) -> None:
        """A number that must be on one side of a bound."""
        number = self.studies[study].number(key)
        what = f"{number.what}: {measured(number)}"
        self.checklist.add(claim, what, number.value, bound, direction, number.unit, _command(study))


def _command(studies: str) -> str:
    return f"noiseworth theory --studies {studies}"


def check_studies(checklist: Checklist, studies: dict[str, TheoryStudy]) -> None:
    """Every claim that the studies measure."""
    checks = StudyChecks(checklist, studies)
    checks.near(RATES, "separation", "k2_sampled", 0.02)
    checks.near(RATES, "separation", "k2_rate", 0.02)
    checks.near(RATES, "separation", "k2_exchange", 0.4)
    checks.near(RATES, "separation", "k3_exchange", 1.0)
    checks.near(RATES, "separation", "k3_rate", 0.02)
    for d in (10, 100, 1000):
        checks.near(RATES, "subspace", f"d{d}_exchange", 0.3)
        checks.near(RATES, "subspace", f"d{d}_rate", 0.03)
    for key in ("joint_n", "joint_d", "pooled_rate"):
        checks.near(RATES, "subspace", key, 0.03)
    for where in ("line", "space"):
        checks.near(ONE_CURVE, "mixed", f"{where}_scatter", 0.15)
        checks.near(ONE_CURVE, "mixed", f"{where}_weights", 0.15)
        checks.bounded(ONE_CURVE, "mixed", f"{where}_least", 1.0, "min")
    check_lower_bound(checklist, studies)
    checks.bounded(COMPETITORS, "competitors", "em_usual_apart", 1.0, "max")
    checks.bounded(COMPETITORS, "competitors", "em_patient_apart", 1.0, "max")
    checks.bounded(COMPETITORS, "competitors", "em_usual_merging", 1.0, "min")
    checks.bounded(COMPETITORS, "competitors", "em_patient_merging", 1.0, "min")
    checks.bounded(COST, "cost", "seconds", 30.0, "max")
    checks.bounded(COST, "cost", "memory", 4096.0, "max")
    checks.bounded(COST, "cost", "n_exponent", 1.15, "max")
    checks.bounded(COST, "cost", "d_exponent", 1.15, "max")
    checks.bounded(PREDICTED_RISK, "denoising", "plain_rank", 0.95, "min")
    checks.bounded(PREDICTED_RISK, "denoising", "shared_rank", 0.95, "min")


def check_lower_bound(checklist: Checklist, studies: dict[str, TheoryStudy]) -> None:
    """Errors over the shape of the lower bound, on the whole grid."""
    ratios = [
        number.value
        for name in ("separation", "subspace")
        for number in studies[name].numbers
        if number.key.endswith(("_least", "_most"))
    ]
    most = max(ratios)
    command = _command("separation,subspace")
    what = "greatest error over the lower bound's shape, whole grid"
    checklist.add(COMPETITORS, what, most, 3.0, "max", "ratio", command)
    what = "greatest over least of these ratios"
    checklist.add(COMPETITORS, what, most / min(ratios), 3.0, "max", "ratio", command)


def check_closed_forms(checklist: Checklist) -> None:
    """The tests of the closed forms."""
    tests = "tests/test_theory.py"
    what = "closed forms agree with integration and differences to 1e-6"
    checklist.yes("theory/closed-forms", what, tests_pass(tests), f"pytest {tests}")


def load_studies() -> tuple[list[TheoryStudy], list[Check]]:
    """The studies of the results that are there, and their checks."""
    path = RESULTS / FILE
    results = load_record(Results, path)
    studies = [from_json(TheoryStudy, s, f"{path}: {s['name']}") for s in results.data["studies"]]
    return studies, results.checks


def block(study: TheoryStudy, checks: list[Check]) -> str:
    """The figures and numbers of one study in Markdown; those that fell short are marked."""
    short = {check.what.partition(":")[0]: check for check in checks if not check.holds}

    def verdict(what: str) -> str:
        check = short.get(what)
        if check is None:
            return ""
        kind = "distance " if check.what.endswith("distance") else ""
        return f", **fell short** ({kind}{bound_of(check)} was wanted)"

    lines = [f"![{panel.title}](figures/theory-{panel.name}.svg)\n" for panel in study.panels]
    lines += ["| measured | what |", "|---|---|"]
    lines += [f"| {measured(number)}{verdict(number.what)} | {number.what} |" for number in study.numbers]
    return "\n".join(lines) + "\n"


def updated(page: str, studies: list[TheoryStudy], checks: list[Check]) -> str:
    """The page with the figures and numbers of every study."""
    blocks = {study.name: block(study, checks) for study in studies}
    pattern = r"(<!-- study (\w+): bench/theory.py writes it from results/theory.json -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda m: m[1] + blocks[m[2]] + m[3], page, flags=re.DOTALL)


def write_page() -> None:
    """Rewrite the page and the figures."""
    studies, checks = load_studies()
    FIGURES.mkdir(parents=True, exist_ok=True)
    for study in studies:
        for panel in study.panels:
            write_atomically(FIGURES / f"theory-{panel.name}.svg", figure_file(panel))
    write_atomically(PAGE, updated(PAGE.read_text(encoding="utf-8"), studies, checks))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    parser.add_argument("--studies", default="", help="measure these alone; the others stay as they are")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "theory")
    arguments = parser.parse_args()
    if not arguments.page:
        config = TheoryConfig(
            out=str(arguments.out), **({"studies": arguments.studies} if arguments.studies else {})
        )
        measured_now = {study.name: study for study in run_theory(config)}
        before = {study.name: study for study in load_studies()[0]} if arguments.studies else {}
        studies = before | measured_now
        checklist = Checklist("python bench/theory.py")
        check_studies(checklist, studies)
        check_closed_forms(checklist)
        data: dict[str, Any] = {"studies": [dataclasses.asdict(study) for study in studies.values()]}
        if arguments.studies:  # the date of the others is in the history of the file
            data["measured_alone"] = sorted(measured_now)
        what = "the theory of Gaussian mixtures under noise of mixed variance"
        checklist.write(FILE, what, config.seed, data)
    write_page()


if __name__ == "__main__":
    main()
