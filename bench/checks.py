"""Claims and the numbers that they are held to: what every file under `results/` carries as its `checks`."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from noiseworth.records import machine, to_json, versions, write_atomically

RESULTS = Path(__file__).parent.parent / "results"
FORMAT = 2  # 1 had numbers in place of the names of claims
_DIGITS = 6  # significant digits that are kept of a value

Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Check:
    """One measured number that a claim is held to: `value` is at most ("max") or at least ("min") `bound`.

    A claim is a readable key, such as "objective/images-to-match"; it may have several checks. `what` says
    what was measured, in which case; a yes/no is 1 or 0, against at least 1.
    """

    claim: str
    what: str
    value: float
    unit: str
    bound: float
    direction: Direction
    command: str

    @property
    def holds(self) -> bool:
        """Whether the value is on the right side of its bound."""
        return self.value <= self.bound if self.direction == "max" else self.value >= self.bound


@dataclass(frozen=True)
class Results:
    """A file under `results/`: what was run, where, when, with what, and its checks."""

    what: str
    command: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    seed: int | list[int] | None
    checks: list[Check]
    data: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


class Checklist:
    """The checks of one bench: adds, prints, and writes them.

    Attributes:
        checks: in the order in which they were added.
    """

    def __init__(self, command: str) -> None:
        """`command`: what measures the numbers, where a check does not name another one."""
        self.command = command
        self.checks: list[Check] = []

    def add(
        self,
        claim: str,
        what: str,
        value: float,
        bound: float,
        direction: Direction,
        unit: str = "",
        command: str | None = None,
    ) -> Check:
        """Add a number, and print how it stands."""
        value = float(f"{float(value):.{_DIGITS}g}")
        check = Check(claim, what, value, unit, float(bound), direction, command or self.command)
        self.checks.append(check)
        print(line_of(check), flush=True)
        return check

    def yes(self, claim: str, what: str, value: bool, command: str | None = None) -> Check:
        """Add a claim that holds or does not."""
        return self.add(claim, what, float(value), 1, "min", "yes", command)

    def write(
        self, file: str, what: str, seed: int | list[int] | None = None, data: dict[str, Any] | None = None
    ) -> Results:
        """Write `results/FILE`.

        Args:
            what: what was measured.
            seed: of the measurements.
            data: everything else that was measured.
        """
        results = Results(what, self.command, now(), machine(), versions(), seed, self.checks, data or {})
        RESULTS.mkdir(exist_ok=True)
        write_atomically(RESULTS / file, to_json(results) + "\n")
        return results

    def update(self, file: str, data: dict[str, Any] | None = None) -> None:
        """Put the checks into `results/FILE` in place of those of the same claims, and keep the others, each with the command that measured
        it; `data` goes under the name of the first claim."""
        path = RESULTS / file
        claims = {check.claim for check in self.checks}
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        kept = [Check(**check) for check in before.get("checks", []) if check["claim"] not in claims]
        made = {name: value for name, value in before.get("data", {}).items() if name not in claims}
        where = {"date": now(), "machine": machine(), "versions": versions()}
        made[self.checks[0].claim] = where | (data or {})
        whole = Checklist(before.get("command", self.command))
        whole.checks = sorted([*kept, *self.checks], key=lambda check: check.claim)
        whole.write(file, before.get("what", file.removesuffix(".json")), before.get("seed"), made)


def line_of(check: Check) -> str:
    """A check in a line of text."""
    verdict = "holds" if check.holds else "FELL SHORT"
    return f"{verdict}: {check.claim}: {check.what}: {_measured(check, 4)} (wanted: {bound_of(check)})"


def table_rows(checks: list[Check]) -> list[str]:
    """Checks as a Markdown table, a line each; a claim is named once."""
    rows = ["| claim | measured | bound | |", "|---|---|---|---|"]
    claim = ""
    for check in checks:
        name = "" if check.claim == claim else check.claim.partition("/")[2].replace("-", " ")
        claim = check.claim
        verdict = "holds" if check.holds else "**fell short**"
        rows.append(f"| {name} | {check.what}: {_measured(check, 3)} | {bound_of(check)} | {verdict} |")
    return rows


def _measured(check: Check, digits: int) -> str:
    if check.unit == "yes":
        return "yes" if check.value >= 1 else "no"
    unit = "" if check.unit in ("", "ratio") else f" {check.unit}"
    return f"{check.value:.{digits}g}{unit}"


def bound_of(check: Check) -> str:
    """What a check was to be, in words."""
    if check.unit == "yes":
        return "yes"
    return f"{'at most' if check.direction == 'max' else 'at least'} {check.bound:g}"


def now() -> str:
    """The date and time, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
