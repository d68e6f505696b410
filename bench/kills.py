"""Commands killed at random moments (SIGKILL), and carried out again: `python bench/kills.py`. Fifteen minutes on two cores.

The same command again must end well and give the same bytes as one that nothing disturbed, but for times and
processes in records; it must print the same lines; and nothing else may be left: no `*.partial`, no hidden
rest. Two of three moments are uniform between the start and 1.1 times the usual duration; each third
is just before one of the things that the command does to files (open, rename, remove, lock, ...), all equally
likely, since the dangerous moments are short. Half of the sweeps that are killed die with their workers, the
others alone. The same command of this bench goes on after an interruption.
"""

import argparse
import csv
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import shlex
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from checks import Checklist
from kill_cases import CASES, Case, make_inputs
from kill_processes import count_of, import_again, kill, start, wait, wait_for_orphans
from noiseworth.progress import progress_bar

LEAST = 500
LATE = 1.1  # of the usual duration: the last moment
PATIENCE = 120.0  # seconds that a command may take
TIMES = {"seconds", "peak_rss_mb", "made_by"}  # keys of records that differ; `made_by` holds times of inputs
OWN_TIMES = ("lock", ".lock", "workers.log")  # files whose content names processes and times


@dataclass(frozen=True)
class Outcome:
    """What an undisturbed command leaves and prints, and how long it takes."""

    files: dict[str, str]
    lines: list[str]
    seconds: float
    events: int = 0  # things that it does to files


@dataclass
class Killed:
    """One kill: the faults of the command that was carried out again, by their kind."""

    case: str
    inside: bool  # the kill came before the command had ended
    at_file: bool = False  # just before the command did something to a file
    other_bytes: list[str] = field(default_factory=list)
    rests: list[str] = field(default_factory=list)


def place(case: Case, inputs: Path, folder: Path) -> None:
    """A folder with the inputs of a case."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for entry in inputs.iterdir():
        if entry.name != "cache":
            (folder / entry.name).symlink_to(entry)
    if case.has_cache:
        shutil.copytree(inputs / "cache", folder / "cache")
    if case.begins_with:
        shutil.copytree(inputs / case.begins_with, folder / "out")


def files_of(folder: Path) -> dict[str, str]:
    """Name and SHA-256 of each file that is no input, without what differs from one time to the next."""
    digests = {}
    for directory, names, files in os.walk(folder):
        for name in files + [n for n in names if n.startswith(".")]:
            path = Path(directory) / name
            if path.is_symlink():
                continue
            digests[str(path.relative_to(folder))] = "" if path.is_dir() else _digest(path)
    return digests


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.name in OWN_TIMES:
        content = b""
    elif path.suffix == ".json":
        content = json.dumps(_without_times(json.loads(content))).encode()
    elif path.suffix == ".jsonl":
        content = json.dumps([_without_times(json.loads(line)) for line in content.splitlines()]).encode()
    elif path.suffix == ".csv" and b"seconds" in content:
        rows = csv.DictReader(io.StringIO(content.decode()))
        content = json.dumps([_without_times(row) for row in rows]).encode()
    elif path.suffix == ".html":  # the last column of its table: seconds of training
        content = re.sub(rb"<td>\d+</td></tr>", b"", content)
    return hashlib.sha256(content).hexdigest()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def whole(case: Case, folder: Path, deadly: int | None = None) -> Outcome:
    """Carry out a command to its end.

    Raises:
        RuntimeError: it fails, or takes too long.
    """
    began = time.monotonic()
    child = start(shlex.split(case.words), folder, deadly=deadly)
    code = wait(child, PATIENCE)
    seconds = time.monotonic() - began
    if code is None:
        kill(child, with_workers=True)
    if code != 0:
        raise RuntimeError(f"exit code {code}: {Path(f'{folder}.stderr').read_text()[-300:]}")
    lines = [] if case.tells_times else Path(f"{folder}.stdout").read_text().splitlines()
    return Outcome(files_of(folder), lines, seconds)


def undisturbed(number: int, inputs: Path) -> Outcome:
    """A command that nothing disturbs, twice: what it gives must not differ by itself."""
    case = CASES[number]
    outcomes = []
    events = 0
    for time_of in ("first", "second"):
        folder = inputs.parent / f"{case.name}-{time_of}"
        place(case, inputs, folder)
        outcomes.append(whole(case, folder, 0 if time_of == "first" else None))
        events = events or count_of(folder)
        shutil.rmtree(folder)
    first, second = outcomes
    differing = [n for n in {**first.files, **second.files} if first.files.get(n) != second.files.get(n)]
    if differing or first.lines != second.lines:
        raise RuntimeError(f"{case.words}: differs by itself: {differing or [first.lines, second.lines]}")
    return Outcome(first.files, first.lines, min(first.seconds, second.seconds), events)


def one_kill(number: int, case: Case, usual: Outcome, inputs: Path) -> Killed:
    """Kill a command at a random moment, carry it out again, and compare."""
    draw = random.Random(number)
    folder = inputs.parent / f"{case.name}-{number}"
    place(case, inputs, folder)
    killed = Killed(case.name, False, at_file=number % 3 == 2)
    deadly = draw.randint(1, usual.events) if killed.at_file else None
    child = start(shlex.split(case.words), folder, deadly=deadly)
    moment = PATIENCE if killed.at_file else draw.uniform(0, LATE * usual.seconds)
    code = wait(child, moment)
    killed.inside = code is None or code == -signal.SIGKILL
    if code is None:
        kill(child, with_workers=draw.random() < 0.5)
    try:
        again = whole(case, folder)
    except RuntimeError as error:
        killed.other_bytes.append(str(error))
        return killed
    wait_for_orphans(folder, PATIENCE)
    digests = files_of(folder)
    for name in sorted({**usual.files, **digests}):
        if name not in usual.files:
            killed.rests.append(name)
        elif digests.get(name) != usual.files[name]:
            killed.other_bytes.append(name)
    if again.lines != usual.lines:
        killed.other_bytes.append(f"printed {again.lines}")
    if not (killed.rests or killed.other_bytes):
        shutil.rmtree(folder)
    return killed


def _measure(task: tuple[int, Path]) -> Outcome:
    return undisturbed(*task)


def _kill(task: tuple[int, Case, Outcome, Path]) -> tuple[int, Killed]:
    return task[0], one_kill(*task)


def _prepare(root: Path) -> Path:
    inputs = root / "inputs"
    inputs.mkdir()

    def run(words: str) -> None:
        names = inputs.with_suffix(".modules")
        code = wait(start(shlex.split(words), inputs, names), PATIENCE)
        import_again(names)
        if code != 0:
            raise RuntimeError(f"{words}: exit code {code}: {Path(f'{inputs}.stderr').read_text()}")

    make_inputs(inputs, run)
    return inputs


def main_bench() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=LEAST)
    parser.add_argument("--only", default="", help="the commands whose names begin with this")
    parser.add_argument("--state", type=Path, default=Path("runs/kills.json"))
    options = parser.parse_args()
    state: dict[str, Any] = json.loads(options.state.read_text()) if options.state.is_file() else {}
    options.state.parent.mkdir(parents=True, exist_ok=True)
    turns = [number for number, case in enumerate(CASES) for _ in range(case.kills)]
    random.Random(0).shuffle(turns)
    chosen = [number for number, case in enumerate(CASES) if case.name.startswith(options.only)]
    waiting = [n for n in range(options.kills) if str(n) not in state and turns[n % len(turns)] in chosen]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        inputs = _prepare(Path(folder).resolve())
        with multiprocessing.get_context("fork").Pool(2) as pool:
            measured = pool.imap(_measure, [(number, inputs) for number in chosen], chunksize=1)
            usual = dict(zip(chosen, measured, strict=True))
            for number, outcome in usual.items():
                print(
                    f"{CASES[number].name}: {outcome.seconds:.2f} s, {len(outcome.files)} files", flush=True
                )
            which = [turns[number % len(turns)] for number in waiting]
            tasks = [(n, CASES[case], usual[case], inputs) for n, case in zip(waiting, which, strict=True)]
            for number, killed in progress_bar(pool.imap_unordered(_kill, tasks), total=len(tasks)):
                state[str(number)] = asdict(killed)
                options.state.write_text(json.dumps(state))
                if killed.other_bytes or killed.rests:
                    print(f"{number}: {killed}", flush=True)
    if options.kills >= LEAST and not options.only:
        _write([state[str(number)] for number in range(options.kills)])


def _write(kills: list[dict[str, Any]]) -> None:
    """The checks, and how many kills of each command came before its end."""
    checklist = Checklist("python bench/kills.py")
    checklist.add("data/kills", "kills by SIGKILL at random moments", len(kills), LEAST, "min", "kills")
    other = sum(bool(kill["other_bytes"]) for kill in kills)
    checklist.add("data/kills", "the same command again gives other bytes", other, 0, "max", "kills")
    rests = sum(bool(kill["rests"]) for kill in kills)
    checklist.add("data/kills", "and leaves rests", rests, 0, "max", "kills")
    inside = Counter(kill["case"] for kill in kills if kill["inside"])
    measured = {
        "kills": dict(Counter(kill["case"] for kill in kills)),
        "before the end": dict(inside),
        "just before something is done to a file": sum(kill["at_file"] for kill in kills),
        "faults": [kill for kill in kills if kill["other_bytes"] or kill["rests"]][:50],
    }
    checklist.update("data.json", measured)
    print(f"{inside.total()} of {len(kills)} kills came before the command had ended")


if __name__ == "__main__":
    main_bench()
