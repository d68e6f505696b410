"""The training engine: whether it is exact, and how fast it is: `python bench/engine.py`.

- Resumes bit for bit: a training is killed 20 times with SIGKILL at random moments.
- Damage and full disks: checkpoints are damaged, and a real small disk runs full (as root).
- Processes and pieces: training on 1, 2 and 4 processes, and in pieces.
- Overhead: training is timed against a bare loop of the same network.
- Average made afterwards: against one that was tracked.
- Monitors: their warnings in the demo's runs.

Writes `results/engine.json` and a table of `docs/training.md`; `--page` rewrites the table from the
results that are there. About 12 minutes on two cores. `--device-only` times the presets on a GPU alone.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pages
from checks import RESULTS, Checklist, Results, table_rows
from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from noiseworth.process import holder
from noiseworth.records import (
    SpeedRecord,
    StepRecord,
    from_json,
    load_lines,
    load_record,
    sha256_of,
    write_atomically,
)
from noiseworth.train import checkpoint
from noiseworth.train.config import TrainConfig
from noiseworth.train.ema import PowerEma, combine, find_snapshots
from noiseworth.train.trainer import Trainer
from processes import command_line, noiseworth, small_disk, tests_pass

FILE = "engine.json"
GPU_FILE = "engine-gpu.json"  # what bench/device.sh brings back
KILLS = 20
KILLED_STEPS = 120
ON_ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Inputs:
    """What is measured on.

    Attributes:
        mixed: a data set, a tenth of it clean.
        work: directory for everything that is made.
        tests: what `make test` printed, or None to run the tests that are needed.
    """

    mixed: Path
    work: Path
    tests: Path | None


def train_words(data: Path, out: Path, *options: str) -> list[str]:
    """`noiseworth train` without monitors."""
    common = (f"--data={data}", f"--out={out}", "--batch=64", "--device=cpu", "--monitor-every=0")
    return command_line("train", *common, *options)


def train(data: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Train on one thread, to the end."""
    words = train_words(data, out, *options)
    return subprocess.run(words, capture_output=True, text=True, check=False, env=ON_ONE_THREAD)


def newest(out: Path) -> Path:
    """The newest checkpoint of a run."""
    return sorted((out / "checkpoints").glob("step-*"))[-1]


def saved_steps(out: Path) -> int:
    """Steps in the newest checkpoint of a run; 0 if there is none."""
    checkpoints = sorted((out / "checkpoints").glob("step-*"))
    return int(checkpoints[-1].name.removeprefix("step-")) if checkpoints else 0


def kill_once(data: Path, out: Path, options: list[str], wait: float, saved: bool = False) -> dict[str, Any]:
    """Train, and kill the process `wait` seconds after it has begun to work on the run; or, with `saved`, after it has saved anew."""
    process = subprocess.Popen(
        train_words(data, out, *options),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ON_ONE_THREAD,
    )
    before = saved_steps(out)
    limit = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < limit:
        held = holder(out / ".lock")
        has_begun = (out / "metrics.jsonl").is_file() and held is not None and held[1] == process.pid
        if has_begun and (not saved or saved_steps(out) > before):
            break
        time.sleep(0.01)
    time.sleep(wait)
    in_save = any((out / "checkpoints").glob(".step-*.partial"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    return {"from": before, "to": saved_steps(out), "in_save": in_save}


def kill_and_resume(
    data: Path, work: Path, words: tuple[str, ...] = (), kills: int = KILLS, saved: bool = False
) -> dict[str, Any]:
    """Kill at random moments (with a fixed seed), and compare with a run that nobody touched; arguments as in `kill_once`."""
    options = [f"--n-images={64 * KILLED_STEPS}", "--checkpoint-every=128", *words]  # saved every second step
    whole = work / "whole"
    out = work / "killed"
    began = time.perf_counter()
    if train(data, whole, *options).returncode:
        raise SystemExit("the run that nobody touched failed")
    seconds = time.perf_counter() - began
    rng = random.Random(0)
    longest = 0.3 if saved else 0.06 * seconds
    killed = [kill_once(data, out, options, rng.uniform(0.0, longest), saved) for _ in range(kills)]
    if train(data, out, *options).returncode:
        raise SystemExit("the killed run does not end")
    files = [f"{name}.safetensors" for name in ("model", "ema", "optimizer")]
    records = [replace(r, seconds=0) for r in load_lines(StepRecord, out / "metrics.jsonl")]
    expected = [replace(r, seconds=0) for r in load_lines(StepRecord, whole / "metrics.jsonl")]
    return {
        "same": all(sha256_of(newest(out) / file) == sha256_of(newest(whole) / file) for file in files),
        "once": [record.step for record in records] == list(range(1, KILLED_STEPS + 1)),
        "metrics_same": records == expected,
        "kills": killed,
    }


def check_resuming(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Kills, and what the tests hold."""
    claim = "engine/resumes-bit-for-bit"
    result = kill_and_resume(inputs.mixed, inputs.work)
    inside = sum(kill["in_save"] for kill in result["kills"])
    same = "weights, average and optimiser of the same SHA-256"
    what = f"{KILLS} kills by SIGKILL ({inside} of them in a save), resumed: {same}"
    checklist.yes(claim, what, result["same"])
    what = "metrics.jsonl has each step once, with the values of the run that nobody touched"
    checklist.yes(claim, what, result["once"] and result["metrics_same"])
    tests = "tests/test_engine.py tests/test_train.py"
    what = "two interruptions within one epoch; launchers; guards"
    checklist.yes(claim, what, tests_passed(inputs.tests, tests), f"pytest {tests}")
    return {"kills": result["kills"]}


def damage(data: Path, work: Path) -> dict[str, bool]:
    """A flipped byte, and a missing one, in the newest checkpoint: whether the run goes on as it should."""
    options = ("--n-images=640", "--checkpoint-every=192")
    is_right = {}
    for name in ("flipped", "missing"):
        out = work / name
        train(data, out, *options)
        expected = sha256_of(newest(out) / "model.safetensors")
        (out / "DONE.json").unlink()
        file = newest(out) / "optimizer.safetensors"
        content = bytearray(file.read_bytes())
        if name == "flipped":
            content[len(content) // 2] ^= 1
        else:
            content.pop()
        file.write_bytes(content)
        done = train(data, out, *options)
        is_reported = "passing over a damaged checkpoint" in done.stderr and file.parent.name in done.stderr
        is_same = sha256_of(newest(out) / "model.safetensors") == expected
        is_right[name] = done.returncode == 0 and is_reported and is_same
    return is_right


def fill_disk(data: Path, work: Path) -> tuple[bool, str] | None:
    """Train on a disk that holds one checkpoint: whether it ends as it should, and its message.

    None if no disk can be mounted.
    """
    disk = work / "disk"
    with small_disk(disk, "12m") as is_mounted:
        if not is_mounted:
            return None
        done = train(data, disk / "run", "--n-images=1280", "--checkpoint-every=192")
        errors = [line for line in done.stderr.replace("\r", "\n").splitlines() if "error" in line]
        is_whole = checkpoint.load_newest(disk / "run" / "checkpoints") is not None
        return done.returncode == 2 and len(errors) == 1 and is_whole, " ".join(errors)


def check_damage(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Damaged checkpoints, and a full disk."""
    claim = "engine/damage-and-full-disks"
    for name, is_right in damage(inputs.mixed, inputs.work).items():
        answer = "reported, the one before is used, the same weights at the end"
        checklist.yes(claim, f"a {name} byte in the newest checkpoint: {answer}", is_right)
    filled = fill_disk(inputs.mixed, inputs.work)
    if filled is not None:
        is_right, message = filled
        what = f"a full disk while saving: exit code 2, the checkpoint before is whole ({message})"
        checklist.yes(claim, what, is_right)
    return {}


def relative_difference(a: Path, b: Path) -> float:
    """Norm of the difference of two runs' weights, over the norm of the first one's."""
    from safetensors.torch import load_file

    x, y = (load_file(newest(out) / "model.safetensors") for out in (a, b))
    squares = sum(float((x[k].double() - y[k].double()).square().sum()) for k in x)
    return math.sqrt(squares / sum(float(v.double().square().sum()) for v in x.values()))


def train_on_processes(data: Path, out: Path, n: int, *options: str) -> None:
    """Train on `n` processes (gloo), by torchrun."""
    torchrun = str(Path(sys.executable).parent / "torchrun")
    launcher = [torchrun, f"--nproc-per-node={n}", f"--master-port={29000 + n}"]
    words = launcher + train_words(data, out, *options)[1:]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=ON_ONE_THREAD)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def check_processes(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """50 steps on 1, 2 and 4 processes, and in 4 pieces."""
    claim = "engine/processes-and-pieces"
    options = ("--n-images=3200", "--precision=fp32")
    one, two, four, pieces = (inputs.work / name for name in ("ranks-1", "ranks-2", "ranks-4", "pieces"))
    done = train(inputs.mixed, one, *options)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    train_on_processes(inputs.mixed, two, 2, *options)
    train_on_processes(inputs.mixed, four, 4, *options)
    train(inputs.mixed, pieces, *options, "--accumulate=4")
    for name, out in (("2 processes", two), ("4 processes", four), ("4 pieces", pieces)):
        what = f"relative difference after 50 steps, {name}"
        checklist.add(claim, what, relative_difference(one, out), 1e-5, "max", "ratio")
    first_losses = [load_lines(StepRecord, out / "metrics.jsonl")[0].loss for out in (one, two, four)]
    largest = max(abs(loss / first_losses[0] - 1) for loss in first_losses[1:])
    what = "relative difference of the first step's loss (the same samples), 1, 2 and 4 processes"
    checklist.add(claim, what, largest, 1e-5, "max", "ratio")
    return {}


def check_average(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """An average made afterwards against one that was tracked.

    The unit is the distance of the tracked average from the raw weights.
    """
    config = TrainConfig(
        data=str(inputs.mixed),
        out=str(inputs.work / "averages"),
        batch=64,
        n_images=64 * 480,
        power_ema=[0.05, 0.1],
        device="cpu",
        checkpoint_every=512,
    )
    trainer = Trainer(config)
    direct = PowerEma(trainer.denoiser, 0.075)
    for record in trainer.steps():
        direct.update(trainer.n_images, config.batch)
        if record.step % 8 == 0:
            trainer.save()
    afterwards = combine(find_snapshots(inputs.work / "averages"), 0.075, trainer.n_images)
    tracked, raw = direct.module.state_dict(), trainer.denoiser.state_dict()
    error, scale = (
        math.sqrt(sum(float((tracked[k] - other[k]).double().square().sum()) for k in afterwards))
        for other in (afterwards, raw)
    )
    distances = "off the tracked one, over that one's distance from the raw weights (60 saved pairs)"
    what = f"an average made afterwards, {distances}"
    checklist.add("engine/average-made-afterwards", what, error / scale, 0.01, "max", "ratio")
    return {}


def measure_speed(*options: str) -> SpeedRecord:
    """`noiseworth bench train`, in a process of its own."""
    done = noiseworth("bench", "train", "--json", *options)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return from_json(SpeedRecord, json.loads(done.stdout), "bench train")


def measure_on_gpu() -> list[SpeedRecord]:
    """The presets on a GPU, in bf16."""
    common = ("--precision", "bf16", "--channels-last", "--steps", "20")
    records = []
    for options in (
        ("--preset", "heavy", "--size", "32", "--batch", "256"),
        ("--preset", "small", "--size", "32", "--batch", "256"),
        ("--preset", "cifar", "--size", "32", "--batch", "256"),
        ("--preset", "cifar", "--size", "32", "--batch", "256", "--compile"),
        ("--preset", "imagenet64", "--size", "64", "--batch", "128"),
    ):
        records.append(measure_speed(*options, *common))
        print(records[-1], flush=True)
    return records


def measure_on_cpu() -> list[SpeedRecord]:
    """The presets that two cores can train."""
    return [
        measure_speed(*words.split())
        for words in (
            "--preset small --batch 64 --steps 6",
            "--preset digits --size 8 --channels 1 --batch 128 --steps 40",
            "--preset mini --size 28 --channels 1 --batch 64 --steps 12",
        )
    ]


def check_overhead(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Speed on this machine, and on a GPU if it was measured there."""
    claim = "engine/overhead"
    on_cpu = measure_on_cpu()
    small = on_cpu[0]
    what = f"overhead over a bare loop, small, 32x32, batch 64, CPU ({small.images_per_second:.1f} images/s)"
    command = "noiseworth bench train --preset small --batch 64"
    checklist.add(claim, what, small.overhead, 0.05, "max", "ratio", command)
    file = RESULTS / GPU_FILE
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    on_gpu = [from_json(SpeedRecord, record, str(file)) for record in stored]
    command = "bench/device.sh"
    for record in on_gpu:
        if record.preset == "cifar":
            what = f"overhead, cifar, bf16, {record.device}"
            checklist.add(claim, what, record.overhead, 0.03, "max", "ratio", command)
            what = f"model FLOP utilisation, cifar, bf16, {record.device}"
            checklist.add(claim, what, record.utilisation or 0.0, 0.4, "min", "ratio", command)
    if not on_gpu:
        what = "overhead and utilisation measured on a GPU (none was to be had)"
        checklist.yes(claim, what, False, command)
    return {"speed": [asdict(record) for record in [*on_cpu, *on_gpu]]}


def run_demo(out: Path) -> dict[str, list[str]]:
    """The monitors' warnings in the demo's mixed run, and in that of its few clean images alone."""
    done = noiseworth("demo", "--out", str(out), "--json")
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    warnings: dict[str, list[str]] = {}
    for regime in ("mixed", "clean_small"):
        steps = load_lines(StepRecord, out / regime / "metrics.jsonl")
        monitored = [step.monitor for step in steps if step.monitor is not None]
        warnings[regime] = [warning for record in monitored for warning in record.warnings]
    return warnings


def check_monitors(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """No false alarm in the demo's mixed run, and an alarm at every provoked failure."""
    claim = "engine/monitors"
    warnings = run_demo(inputs.work / "demo")
    what = "warnings in the demo's mixed run"
    checklist.add(claim, what, len(warnings["mixed"]), 0, "max", "warnings", "make demo")
    tests = "tests/test_monitors.py"
    what = "each monitor fires on its provoked failure"
    checklist.yes(claim, what, tests_passed(inputs.tests, tests), f"pytest {tests}")
    return {"demo": warnings}


def tests_passed(log: Path | None, tests: str) -> bool:
    """By running them, or by what `make test` printed."""
    if log is None:
        return tests_pass(tests)
    for _ in range(900):  # it may still be running
        last = log.read_text(encoding="utf-8").strip().splitlines()[-5:]
        if any(" passed" in line or " failed" in line for line in last):
            return not any("failed" in line or "error" in line for line in last)
        time.sleep(1)
    return False


# Claim -> what checks it, in the order of the table.
CHECKS: dict[str, Callable[[Checklist, Inputs], dict[str, Any]]] = {
    "engine/resumes-bit-for-bit": check_resuming,
    "engine/damage-and-full-disks": check_damage,
    "engine/processes-and-pieces": check_processes,
    "engine/overhead": check_overhead,
    "engine/average-made-afterwards": check_average,
    "engine/monitors": check_monitors,
}


def measure(claims: list[str], tests: Path | None) -> None:
    """Check some claims, and write the results; the other claims stay as `results/engine.json` has them."""
    checklist = Checklist("python bench/engine.py")
    data: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="noiseworth-bench-") as folder:
        work = Path(folder)
        mixed = work / "mixed"
        pack("sklearn:digits", work / "digits", sigma=0.0, held_out=297)
        corrupt(work / "digits" / "train", mixed, clean_fraction=0.1, sigma=0.5)
        inputs = Inputs(mixed, work, tests)
        for claim in sorted(claims, key=lambda claim: claim != "engine/overhead"):  # speed first
            data |= CHECKS[claim](checklist, inputs)
    # The file is read as late as possible: other claims may have been measured meanwhile.
    if (RESULTS / FILE).is_file() and len(claims) < len(CHECKS):
        before = load_record(Results, RESULTS / FILE)
        checklist.checks += [check for check in before.checks if check.claim not in claims]
        data = before.data | data
    order = list(CHECKS)
    checklist.checks.sort(key=lambda check: order.index(check.claim))
    write_page(checklist.write(FILE, "the training engine", 0, data))


def speed_rows(records: list[SpeedRecord]) -> list[str]:
    """The presets, as they were timed."""
    rows = [
        "| preset | images | parameters | GFLOP forward | batch | images/s | overhead | peak memory | on |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for r in records:
        cells = (
            r.preset,
            f"{r.size}x{r.size}",
            f"{r.parameters / 1e6:.1f} M",
            f"{r.gflop_forward:.3g}",
            str(r.batch),
            f"{r.images_per_second:.1f}",
            f"{r.overhead:.1%}",
            f"{r.peak_gib:.1f} GiB",
            f"{r.device}, {r.precision}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def write_page(results: Results) -> None:
    """The table of `docs/training.md`."""
    pages.put("training.md", "results: bench/engine.py writes them", table_rows(results.checks))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--device-only", type=Path, metavar="OUT", help="time the presets on a GPU, and write this file"
    )
    names = [claim.partition("/")[2] for claim in CHECKS]
    parser.add_argument(
        "--claims",
        nargs="+",
        choices=names,
        default=names,
        metavar="CLAIM",
        help=f"measure these claims alone, of:\n{', '.join(names)};\nthe results of the others stay",
    )
    parser.add_argument(
        "--tests",
        type=Path,
        metavar="LOG",
        help="what `make test` printed, in place of running tests\nof resumes-bit-for-bit and monitors again",
    )
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    arguments = parser.parse_args()
    if arguments.page:
        write_page(load_record(Results, RESULTS / FILE))
    elif arguments.device_only:
        speeds = [asdict(record) for record in measure_on_gpu()]
        write_atomically(arguments.device_only, json.dumps(speeds, indent=1) + "\n")
    else:
        measure([f"engine/{name}" for name in dict.fromkeys(arguments.claims)], arguments.tests)


if __name__ == "__main__":
    main()
