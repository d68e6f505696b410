"""The training engine: exact, and how fast: `python bench/engine.py`.

Line 1 kills a training 20 times with SIGKILL at random moments; line 2 damages checkpoints and fills a real small disk (as root);
line 3 trains on 1, 2 and 4 processes, and in pieces; line 4 times training against a bare loop of the same network; line 5 makes an
average afterwards; line 6 looks at the demo's runs. Writes `results/engine.json` and the tables of `docs/training.md`. About 12 minutes
on two cores. With `--device-only`, line 4 alone, for a GPU.
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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import pages
from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from noiseworth.networks import PRESETS
from noiseworth.records import (
    Check,
    Results,
    SpeedRecord,
    StepRecord,
    from_json,
    load_lines,
    machine,
    now,
    sha256_of,
    to_json,
    versions,
    write_atomically,
)
from noiseworth.train.config import TrainConfig
from noiseworth.train.ema import PowerEma, combine, find_snapshots
from noiseworth.train.loop import Trainer

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "engine.json"
ISSUE, COMMAND = 4, "python bench/engine.py"
KILLS, KILLED_STEPS = 20, 120


def train(data: Path, out: Path, *options: str, launcher: tuple[str, ...] = (), threads: int = 1) -> list[str]:
    words = [
        "-m",
        "noiseworth.cli",
        "train",
        f"--data={data}",
        f"--out={out}",
        "--batch=64",
        "--device=cpu",
        "--watch-every=0",
        *options,
    ]
    return [*launcher, *words] if launcher else [sys.executable, *words]


def run(words: list[str], threads: int = 1) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": str(threads)})


def newest(out: Path) -> Path:
    return sorted((out / "checkpoints").glob("step-*"))[-1]


def killed(data: Path, work: Path) -> dict[str, Any]:
    """Kill at random moments (of which the seed is fixed, the machine is not), and compare with a run that nobody touched."""
    options = [f"--n-images={64 * KILLED_STEPS}", "--checkpoint-every=128"]  # a save every second step: many kills fall into one
    whole, out = work / "whole", work / "killed"
    began = time.perf_counter()
    if run(train(data, whole, *options)).returncode:
        raise SystemExit("the run that nobody touched failed")
    seconds = time.perf_counter() - began
    rng, places = random.Random(0), []
    for _ in range(KILLS):
        process = subprocess.Popen(
            train(data, out, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        before = len(list((out / "checkpoints").glob("step-*"))) and int(newest(out).name[5:])
        limit = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < limit:  # until it works on the run, then a random moment of its work
            if (out / "metrics.jsonl").is_file() and (out / ".lock").read_text().strip().endswith(f"process {process.pid}"):
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.06 * seconds))
        in_save = any((out / "checkpoints").glob(".step-*.partial"))
        process.send_signal(signal.SIGKILL)
        process.wait()
        after = int(newest(out).name[5:]) if list((out / "checkpoints").glob("step-*")) else 0
        places.append({"from": before, "to": after, "in_save": in_save})
    if run(train(data, out, *options)).returncode:
        raise SystemExit("the killed run does not end")
    files = ("model", "ema", "optimizer")
    same = all(sha256_of(newest(out) / f"{f}.safetensors") == sha256_of(newest(whole) / f"{f}.safetensors") for f in files)
    steps = [record.step for record in load_lines(StepRecord, out / "metrics.jsonl")]
    lines = [replace(r, seconds=0) for r in load_lines(StepRecord, out / "metrics.jsonl")]
    expected = [replace(r, seconds=0) for r in load_lines(StepRecord, whole / "metrics.jsonl")]
    return {"same": same, "once": steps == list(range(1, KILLED_STEPS + 1)), "metrics_same": lines == expected, "places": places}


def damaged(data: Path, work: Path) -> dict[str, bool]:
    """A flipped byte, and a missing one, in the newest checkpoint."""
    found = {}
    for name in ("flipped", "missing"):
        out = work / name
        run(train(data, out, "--n-images=640", "--checkpoint-every=192"))
        (out / "DONE.json").unlink()
        file = newest(out) / "optimizer.safetensors"
        content = file.read_bytes()
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if name == "flipped" else content[:-1])
        done = run(train(data, out, "--n-images=640", "--checkpoint-every=192"))
        said = "passing over a damaged checkpoint" in done.stderr and file.parent.name in done.stderr
        whole = sha256_of(newest(out) / "model.safetensors") == sha256_of(newest(work / "flipped") / "model.safetensors")
        found[name] = done.returncode == 0 and said and whole
    return found


def full_disk(data: Path, work: Path) -> str:
    """What training says on a disk that holds one checkpoint; empty if none can be mounted."""
    disk = work / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True, check=False).returncode:
        return ""
    try:
        done = run(train(data, disk / "run", "--n-images=1280", "--checkpoint-every=192"))
        said = [line for line in done.stderr.replace("\r", "\n").splitlines() if "error" in line]
        left = list((disk / "run" / "checkpoints").iterdir())
        from noiseworth.train import checkpoint

        fine = done.returncode == 2 and len(said) == 1 and checkpoint.load_newest(disk / "run" / "checkpoints") is not None
        return said[0] if fine else f"FAILED {done.returncode} {said} {left}"
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def apart(a: Path, b: Path) -> float:
    """Norm of the weights' difference over their norm."""
    from safetensors.torch import load_file

    x, y = (load_file(newest(out) / "model.safetensors") for out in (a, b))
    squares = sum(float((x[k].double() - y[k].double()).square().sum()) for k in x)
    return math.sqrt(squares / sum(float(v.double().square().sum()) for v in x.values()))


def ranks(data: Path, work: Path) -> dict[str, float]:
    """50 steps on 1, 2 and 4 processes (gloo), and in 4 pieces."""
    torchrun = str(Path(sys.executable).parent / "torchrun")
    options = ["--n-images=3200"]
    for n in (1, 2, 4):
        launcher = () if n == 1 else (torchrun, f"--nproc-per-node={n}", f"--master-port={29000 + n}")
        done = run(train(data, work / f"ranks-{n}", *options, launcher=launcher))
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    run(train(data, work / "pieces", *options, "--accumulate=4"))
    one = work / "ranks-1"
    found = {f"{n} processes": apart(one, work / f"ranks-{n}") for n in (2, 4)} | {"4 pieces": apart(one, work / "pieces")}
    losses = [[r.loss for r in load_lines(StepRecord, out / "metrics.jsonl")] for out in (one, work / "ranks-2", work / "ranks-4")]
    found["loss of the first step"] = max(abs(other[0] / losses[0][0] - 1) for other in losses[1:])
    return found


def averages(data: Path, work: Path) -> float:
    """Distance of an average made afterwards from one that was tracked, over the distance of that from the raw weights."""
    config = TrainConfig(
        data=str(data),
        out=str(work / "averages"),
        batch=64,
        n_images=64 * 480,
        power_ema=[0.05, 0.1],
        device="cpu",
        checkpoint_every=512,
    )
    trainer = Trainer(config)
    direct = PowerEma(trainer.denoiser, 0.075)
    for record in trainer.steps():
        direct.update(trainer.denoiser, trainer.n_images, config.batch)
        if record.step % 8 == 0:
            trainer.save()
    made = combine(find_snapshots(work / "averages"), 0.075, trainer.n_images)
    tracked, raw = direct.module.state_dict(), trainer.denoiser.state_dict()
    off, scale = (math.sqrt(sum(float((tracked[k] - o[k]).double().square().sum()) for k in made)) for o in (made, raw))
    return off / scale


def speed(*options: str) -> SpeedRecord:
    words = [sys.executable, "-m", "noiseworth.cli", "bench", "train", "--json", *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return from_json(SpeedRecord, json.loads(done.stdout), "bench train")


def on_gpu() -> list[SpeedRecord]:
    """The presets on a GPU, in bf16."""
    found = []
    for preset, size, batch, more in (
        ("small", 32, 256, ()),
        ("cifar", 32, 256, ()),
        ("cifar", 32, 256, ("--compile",)),
        ("imagenet64", 64, 128, ()),
    ):
        found.append(
            speed(
                "--preset",
                preset,
                "--size",
                str(size),
                "--batch",
                str(batch),
                "--precision",
                "bf16",
                "--channels-last",
                "--steps",
                "20",
                *more,
            )
        )
        print(found[-1], flush=True)
    return found


def demo(work: Path) -> tuple[list[str], list[str]]:
    """Warnings of the demo's mixed run, and of its few clean images alone."""
    done = subprocess.run(
        [sys.executable, "-m", "noiseworth.cli", "demo", "--out", str(work / "demo"), "--json"], check=False, capture_output=True
    )
    if done.returncode:
        raise SystemExit(done.stderr.decode()[-2000:])

    def said(regime: str) -> list[str]:
        looks = [r.watch for r in load_lines(StepRecord, work / "demo" / regime / "metrics.jsonl") if r.watch is not None]
        return [warning for look in looks for warning in look.warnings]

    return said("mixed"), said("clean_small")


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device-only", type=Path, metavar="OUT", help="time the presets on a GPU, and write this file")
    parser.add_argument(
        "--lines", default="1,2,3,4,5,6", help="measure these lines alone; the others stay as results/engine.json has them"
    )
    parser.add_argument("--tests", type=Path, help="what `make test` printed, in place of running the tests of lines 1 and 6 again")
    arguments = parser.parse_args()
    if arguments.device_only:
        write_atomically(arguments.device_only, json.dumps([asdict(s) for s in on_gpu()], indent=1) + "\n")
        return
    lines = {int(n) for n in arguments.lines.split(",")}
    made: list[Check] = []
    data: dict[str, Any] = {}

    def check(line: int, what: str, value: float, unit: str, bound: float, way: Literal["max", "min"], command: str = COMMAND) -> None:
        made.append(Check(ISSUE, line, what, round(value, 9), unit, bound, way, command))
        print(f"line {line}: {what}: {value:.6g} ({way} {bound:g}) {'' if made[-1].holds else 'FELL SHORT'}", flush=True)

    with tempfile.TemporaryDirectory(prefix="noiseworth-bench-") as folder:
        work = Path(folder)
        mixed = work / "mixed"
        pack("sklearn:digits", work / "digits", sigma=0.0, held_out=297)
        corrupt(work / "digits" / "train", mixed, clean_fraction=0.1, sigma=0.5)
        if 4 in lines:
            data["speed"] = line_4(check)
        if 1 in lines:
            data["kills"] = line_1(check, mixed, work, arguments.tests)
        if 2 in lines:
            for name, fine in damaged(mixed, work).items():
                what = f"a {name} byte in the newest checkpoint: said, the one before is used, the same weights at the end"
                check(2, what, float(fine), "yes", 1, "min")
            if said := full_disk(mixed, work):
                what = f"a full disk while saving: exit code 2, the checkpoint before is whole ({said})"
                check(2, what, float("FAILED" not in said), "yes", 1, "min")
        if 3 in lines:
            for name, value in ranks(mixed, work).items():
                what = "relative difference of the first step's loss (the same samples), 1, 2 and 4 processes"
                check(3, what if "loss" in name else f"relative difference after 50 steps, {name}", value, "ratio", 1e-5, "max")
        if 5 in lines:
            what = "an average made afterwards, off the tracked one, over that one's distance from the raw weights (60 saved pairs)"
            check(5, what, averages(mixed, work), "ratio", 0.01, "max")
        if 6 in lines:
            healthy, few = demo(work)
            check(6, "warnings in the demo's mixed run", float(len(healthy)), "warnings", 0, "max", "make demo")
            fires = tests_pass(arguments.tests, "tests/test_watch.py")
            check(6, "each monitor fires on its provoked failure", float(fires), "yes", 1, "min", "pytest tests/test_watch.py")
            data["demo"] = {"mixed": healthy, "clean_small": few}
    if RESULTS.is_file() and len(lines) < 6:  # read as late as can be: other lines may have been measured meanwhile
        before = json.loads(RESULTS.read_text(encoding="utf-8"))
        made += [Check(**c) for c in before["checks"] if c["line"] not in lines]
        data = before["data"] | data
    made.sort(key=lambda c: c.line)
    results = Results("issue 4: the engine", COMMAND, now(), machine(), versions(), 0, made, data)
    write_atomically(RESULTS, to_json(results) + "\n")
    pages.put("training.md", "results: bench/engine.py writes them", pages.check_rows(made))
    pages.put(
        "training.md",
        "speed: bench/engine.py writes it",
        speed_rows([from_json(SpeedRecord, s, "speed") for s in data.get("speed", [])]),
    )


def line_1(check: Callable[..., None], mixed: Path, work: Path, tests: Path | None) -> list[dict[str, Any]]:
    """Kills, and what the tests hold."""
    found = killed(mixed, work)
    inside = sum(p["in_save"] for p in found["places"])
    what = f"{KILLS} kills by SIGKILL ({inside} of them in a save), resumed: weights, average and optimiser of the same SHA-256"
    check(1, what, float(found["same"]), "yes", 1, "min")
    once = float(found["once"] and found["metrics_same"])
    check(1, "metrics.jsonl has each step once, with the values of the run that nobody touched", once, "yes", 1, "min")
    which = "tests/test_engine.py tests/test_train.py"
    passed = tests_pass(tests, which)
    check(1, "two interruptions within one epoch; launchers; guards", float(passed), "yes", 1, "min", f"pytest {which}")
    places: list[dict[str, Any]] = found["places"]
    return places


def line_4(check: Callable[..., None]) -> list[dict[str, Any]]:
    """Speed here, and on a GPU if it was measured."""
    speeds = [speed("--preset", "small", "--batch", "64", "--steps", "6")]
    for name, size, channels, batch, steps in (("digits", 8, 1, 128, 40), ("mini", 28, 1, 64, 12)):
        words = ("--preset", name, "--size", size, "--channels", channels, "--batch", batch, "--steps", steps)
        speeds.append(speed(*(str(word) for word in words)))
    what = f"overhead over a bare loop, small, 32x32, batch 64, CPU ({speeds[0].images_per_second:.1f} images/s)"
    check(4, what, speeds[0].overhead, "ratio", 0.05, "max", "noiseworth bench train --preset small --batch 64")
    file = ROOT / "results" / "engine-gpu.json"
    on = [from_json(SpeedRecord, record, str(file)) for record in json.loads(file.read_text())] if file.is_file() else []
    for record in (r for r in on if r.preset == "cifar"):
        check(4, f"overhead, cifar, bf16, {record.device}", record.overhead, "ratio", 0.03, "max", "bench/device.sh")
        what = f"model FLOP utilisation, cifar, bf16, {record.device}"
        check(4, what, record.utilisation or 0.0, "ratio", 0.4, "min", "bench/device.sh")
    if not on:
        check(4, "overhead and utilisation measured on a GPU (none was to be had)", 0.0, "yes", 1, "min", "bench/device.sh")
    return [asdict(s) for s in [*speeds, *on]]


def tests_pass(log: Path | None, tests: str) -> bool:
    """By running them, or by what `make test` printed."""
    if log is None:
        return subprocess.run([sys.executable, "-m", "pytest", *tests.split()], cwd=ROOT, check=False).returncode == 0
    for _ in range(900):  # it may still be running
        last = log.read_text(encoding="utf-8").strip().splitlines()[-5:]
        if any(" passed" in line or " failed" in line for line in last):
            return not any("failed" in line or "error" in line for line in last)
        time.sleep(1)
    return False


def speed_rows(records: list[SpeedRecord]) -> list[str]:
    """The presets, as they were timed."""
    rows = [
        "| preset | images | parameters | GFLOP forward | batch | images/s | overhead | peak memory | on |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for r in records:
        size = (f"{r.size}x{r.size}", f"{r.parameters / 1e6:.1f} M", f"{r.gflop_forward:.3g}", str(r.batch))
        speed = (f"{r.images_per_second:.1f}", f"{r.overhead:.1%}", f"{r.peak_gib:.1f} GiB", f"{r.device}, {r.precision}")
        cells = (r.preset, *size, *speed)
        rows.append(f"| {' | '.join(cells)} |")
    missing = [name for name in PRESETS if name not in {r.preset for r in records}]
    return [*rows, *(f"| {name} | | | | | | | | not timed here |" for name in missing)]


if __name__ == "__main__":
    main()
