"""Damaged and extreme inputs of every kind, and extreme values of every option: `python bench/fuzz.py`. Ten minutes.

Each input runs a command in this process. It must end with exit code 0 or 2; a refusal is one line on stderr,
and leaves no output. Nothing that was there before is touched, no input takes more than 20 seconds, and
memory stays below 2 GiB. The same command goes on after an interruption; what was found is kept in
`--state`. Writes into `results/data.json`.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import io
import json
import multiprocessing
import random
import resource
import shutil
import signal
import tempfile
import typing
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from checks import Checklist
from fuzz_inputs import Sample, make
from noiseworth.cli import main
from noiseworth.commands import COMMANDS, Command, load
from noiseworth.options import flag_of, hints_of
from noiseworth.progress import progress_bar

SECONDS = 20
BATCH = 100  # inputs of one process
MEMORY = 2 << 30
EXTREMES: dict[str, list[str]] = {
    "number": [
        "0",
        "-1",
        "1e308",
        "-1e308",
        "nan",
        "inf",
        "1e-320",
        "9" * 400,
        "0x10",
        "²",
        "١",
        "",
        " ",
        "1,5",
        "1e2",
        "null",
        "[1]",
    ],
    "text": [
        "",
        ".",
        "..",
        "/",
        "a\0b",
        "\x1b[31m",
        "ü" * 300,
        "x" * 100_000,
        "${HOME}",
        "{}",
        "null",
        "-",
        "--",
        "a=b",
        "=",
        ",",
        "~",
    ],
}
HEAVY = {
    "demo",
    "train",
    "recipe",
    "theory",
    "sweep run",
    "features train",
    "bench train",
    "evaluate",
    "sample",
    "ema",
}


class _TooLong(BaseException):
    """An input took longer than it may. No `except Exception` catches it."""


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _TooLong


def mutated(content: bytes, draw: random.Random) -> bytes:
    """A damaged copy: bits, bytes, blocks, lengths; of a text, words in place of others."""
    data = bytearray(content)
    is_text = b"\0" not in content[:512]
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        at = draw.randrange(len(data)) if data else 0
        kind = draw.choice(
            (
                "flip",
                "byte",
                "cut",
                "drop",
                "repeat",
                "zeros",
                "ends",
                "word",
                "word" if is_text else "length",
            )
        )
        if kind == "flip" and data:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == "byte" and data:
            data[at] = draw.randrange(256)
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + draw.choice((1, 4, 64, 512))]
        elif kind == "repeat":
            data[at:at] = data[at : at + draw.choice((1, 16, 512))] * draw.choice((1, 2, 50))
        elif kind == "zeros":
            size = draw.choice((2, 8, 64, 512))
            data[at : at + size] = bytes(min(size, len(data) - at))
        elif kind == "ends":
            data += bytes(draw.randrange(256) for _ in range(draw.choice((1, 16, 600))))
        elif kind == "length":
            size = draw.choice((1, 2, 4, 8))
            data[at : at + size] = draw.choice((b"\xff", b"\x7f", b"\x80", b"\0")) * size
        elif kind == "word":
            words = bytes(data).split(b",") if draw.random() < 0.5 else bytes(data).split(b" ")
            value = draw.choice(EXTREMES["number"] + EXTREMES["text"][:10]).encode()
            words[draw.randrange(len(words))] = value
            data = bytearray((b"," if b"," in data else b" ").join(words))
    return bytes(data)


def command_words(draw: random.Random) -> list[str]:
    """A command with extreme values for some of its options."""
    command: Command = draw.choice(COMMANDS)
    config = load(command.config)
    hints = hints_of(config)
    fields = {f.name: f for f in dataclasses.fields(config)}
    words = command.full_name.split()
    sound = {
        "sources": "p", "source": "d", "data": "d", "out": "{out}", "runs": "d", "target": "d", "file": "r.yaml", "against": "d",
        "held_out": "1", "take": "2", "clean_fraction": "0.5", "sigma": "0.2", "budget": "10", "clean_price": "1", "noisy_price": "1",
        "page": "{out}.html", "picture": "{out}.png",
    }  # fmt: skip
    for name, field in fields.items():
        is_needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if not is_needed and draw.random() > 0.15:
            continue
        value = sound.get(name, "1")
        if draw.random() < 0.5:
            is_number = any(
                kind in typing.get_args(hints[name]) or kind is hints[name] for kind in (int, float)
            )
            value = draw.choice(EXTREMES["number" if is_number and draw.random() < 0.8 else "text"])
        words += [value] if field.metadata.get("positional") else [flag_of(name), value]
    return (
        [*words[: len(command.full_name.split())], "--dry-run", *words[len(command.full_name.split()) :]]
        if command.full_name in HEAVY
        else words
    )


def _digests(folder: Path) -> dict[str, str]:
    files = (
        p for p in sorted(folder.rglob("*")) if p.is_file() and "out" not in p.relative_to(folder).parts[0]
    )
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def run_one(index: int, folder: Path, samples: list[Sample]) -> str:
    """Run input number `index` in `folder`; returns what is wrong with how it ended, or ""."""
    draw = random.Random(index)
    out = folder / "out"
    sample: Sample | None = None
    if index % 4 == 3:
        words = command_words(draw)
    else:
        sample = samples[(index // 4 * 3 + index % 4) % len(samples)]
        words = draw.choice(sample.commands)
        path = folder / sample.file
        kept = path.read_bytes() if path.is_file() else None
        path.write_bytes(mutated(sample.content, draw))
    words = [w.replace("{file}", sample.file if sample else "").replace("{out}", "out/new") for w in words]
    out.mkdir()
    before = _digests(folder)
    fault = _fault(words, out, folder, before)
    shutil.rmtree(out, ignore_errors=True)
    if sample is not None:
        path.unlink()
        if kept is not None:
            path.write_bytes(kept)
    return f"{sample.name if sample else 'options'}: {' '.join(words)[:200]}: {fault}" if fault else ""


def _fault(words: list[str], out: Path, folder: Path, before: dict[str, str]) -> str:
    printed, errors = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            code: Any = main(words)
    except _TooLong:
        return f"took more than {SECONDS} s"
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        return f"raised {type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    lines = [line for line in errors.getvalue().splitlines() if "error:" in line]
    if code not in (0, 2):
        return f"exit code {code}: {errors.getvalue()[-300:]}"
    if "Traceback" in errors.getvalue():
        return f"traceback: {errors.getvalue()[-300:]}"
    if code == 2 and len(lines) != 1:
        return f"{len(lines)} lines of error: {errors.getvalue()[:300]}"
    rests = [str(p.relative_to(out)) for p in out.rglob("*") if code == 2 or ".partial" in p.name]
    if rests:
        return f"left {rests[:3]} with exit code {code}"
    after = _digests(folder)
    touched = sorted(name for name in before if after.get(name) != before[name])
    if touched:
        return f"touched {touched[:3]}"
    new = sorted(set(after) - set(before))  # an option may name any output
    for top in {name.split("/")[0] for name in new}:
        path = folder / top
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return f"left {new[:3]} with exit code {code}" if new and code == 2 else ""


def faults_of(numbers: Iterable[int]) -> list[str]:
    """What is wrong with how some inputs end, in this process, in a directory of its own."""
    before = signal.signal(signal.SIGALRM, _alarm)
    faults = []
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            samples = make(Path(folder))
            for index in numbers:
                fault = run_one(index, Path(folder), samples)
                if fault:
                    faults.append(f"{index}: {fault}")
    finally:
        signal.signal(signal.SIGALRM, before)
    return faults


def _batch(numbers: list[int]) -> list[str]:
    """Some inputs, in a process of their own, whose memory is measured."""
    faults = faults_of(numbers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return faults if peak <= MEMORY else [*faults, f"{numbers[0]}: memory: {peak >> 20} MiB"]


def main_bench() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first input; each number is always the same input"
    )
    parser.add_argument("--state", type=Path, default=Path("runs/fuzz.json"))
    options = parser.parse_args()
    state: dict[str, list[str]] = json.loads(options.state.read_text()) if options.state.is_file() else {}
    options.state.parent.mkdir(parents=True, exist_ok=True)
    starts = range(options.first, options.first + options.inputs, BATCH)
    waiting = [start for start in starts if str(start) not in state]
    context = multiprocessing.get_context("spawn")
    with context.Pool(2, maxtasksperchild=1) as pool:
        batches = [list(range(s, min(s + BATCH, options.first + options.inputs))) for s in waiting]
        results = pool.imap(_batch, batches)
        for start, faults in zip(
            waiting, progress_bar(results, total=len(waiting), unit="x100"), strict=True
        ):
            state[str(start)] = faults
            options.state.write_text(json.dumps(state))
            for fault in faults:
                print(fault, flush=True)
    faults = [fault for start in starts for fault in state[str(start)]]
    checklist = Checklist("python bench/fuzz.py")
    checklist.add("data/fuzz", "damaged inputs and extreme options", options.inputs, 10_000, "min", "inputs")
    what = "tracebacks, wrong exit codes, hangs over 20 s, partial outputs, touched files, memory over 2 GiB"
    checklist.add("data/fuzz", what, len(faults), 0, "max", "inputs")
    kinds = Counter(fault.split(": ")[1] for fault in faults)
    checklist.update("data.json", {"faults": faults[:50], "kinds": dict(kinds)})


if __name__ == "__main__":
    main_bench()
