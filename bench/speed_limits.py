"""Parts of `bench/speed.py`: presets against a bare loop, other projects' loops, growing data, kills."""

import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np

from checks import Checklist
from engine import kill_and_resume
from noiseworth.data.pack import pack

OURS: dict[str, Literal["auto", "fp32"]] = {"ours": "auto", "ours in fp32": "fp32"}


@dataclass(frozen=True)
class Inputs:
    """Directories: of data, of the checkout of the state before, and of everything that is made."""

    data: Path
    before: Path
    work: Path


def check_utilisation(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """The presets against a bare loop, and against convolutions alone."""
    import torch

    from noiseworth.train.benchmark import convolution_peak, measure_speed

    records: list[dict[str, Any]] = []
    for preset, size, channels, batch, steps in (
        ("medium", 8, 1, 64, 60), ("light", 28, 1, 64, 20), ("light", 32, 3, 64, 20), ("medium", 32, 3, 64, 10),
        ("heavy", 32, 3, 32, 8), ("digits", 8, 1, 64, 60), ("mini", 28, 1, 64, 20), ("small", 32, 3, 16, 6),
    ):  # fmt: skip
        record = measure_speed(preset=preset, size=size, channels=channels, batch=batch, steps=steps)
        dtype = torch.bfloat16 if record.precision == "bf16" else torch.float32
        peak = convolution_peak(torch.device("cpu"), dtype)
        share = record.tflops * 1e12 / peak
        where = f"{preset}, {size}x{size}, batch {batch}, {record.precision}"
        if size > 8:
            what = f"share of the arithmetic of convolutions alone ({peak / 1e9:.0f} GFLOP/s), {where}"
            checklist.add("speed/utilisation", what, share, 0.5, "min", "ratio")
        what = f"overhead over a bare loop ({record.images_per_second:.0f} images/s), {where}"
        checklist.add("speed/overhead", what, record.overhead, 0.03, "max", "ratio")
        records.append(asdict(record) | {"peak_gflops": peak / 1e9})
    return {"records": records}


def check_peers(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Steps of our trainer and of other loops, in turn, around the same network."""
    import torch

    from noiseworth.data.dataset import open_dataset, read_all
    from noiseworth.train.config import TrainConfig
    from noiseworth.train.trainer import Trainer
    from peers import LOOPS

    kept: dict[str, Any] = {}
    for data, preset, batch, rounds in (("digits", "digits", 64, 60), ("fashion", "mini", 64, 20)):
        images = torch.from_numpy(read_all(open_dataset(inputs.data / data / "all" / "train"))[:5000])
        steps: dict[str, Callable[[], object]] = {
            name: make(preset, images, batch) for name, make in LOOPS.items()
        }
        for name, precision in OURS.items():
            config = TrainConfig(
                data=str(inputs.data / data / "mixed"), out=str(inputs.work / f"peer-{data}-{precision}"), preset=preset,
                batch=batch, precision=precision, n_images=10**6, device="cpu", below_noise="none",
            )  # fmt: skip
            running = Trainer(config).steps()
            steps[name] = lambda running=running: next(running)  # type: ignore[misc]
        times: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(rounds + 3):
            for name, step in steps.items():
                began = time.perf_counter()
                step()
                if number >= 3:
                    times[name].append(time.perf_counter() - began)
        rates = {name: batch / median(values) for name, values in times.items()}
        best = max(rates[name] for name in LOOPS)
        fastest = next(name for name in LOOPS if rates[name] == best)
        where = f"network {preset}, {data}, batch {batch}, over {fastest} ({best:.0f} images/s)"
        checklist.add(
            "speed/peers", f"images/s at our defaults, {where}", rates["ours"] / best, 1.3, "min", "ratio"
        )
        checklist.add(
            "speed/peers",
            f"images/s at equal precision, {where}",
            rates["ours in fp32"] / best,
            0.98,
            "min",
            "ratio",
        )
        kept[data] = rates
    return kept


def check_scale(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Time of a step and memory as images and noise levels grow."""
    from noiseworth.train.config import TrainConfig
    from noiseworth.train.trainer import Trainer

    rng = np.random.default_rng(0)
    running: dict[str, Any] = {}
    memory: dict[str, float] = {}
    for name, count, levels in (
        ("1e3 images", 1_000, 2),
        ("1e6 images", 10**6, 2),
        ("1e6 levels", 10**6, 10**6),
    ):
        source = inputs.work / f"scale-{count}-{levels}.npy"
        sigma = np.where(rng.random(count) < 0.1, 0, 0.5) if levels == 2 else rng.uniform(0.1, 1.0, count)
        out = inputs.work / f"scale-{count}-{levels}"
        if not out.exists():
            np.save(source, (0.5 * rng.standard_normal((count, 1, 8, 8))).astype(np.float16))
            np.save(source.with_suffix(".sigma.npy"), sigma.astype(np.float32))
            pack(str(source), out, sigma=str(source.with_suffix(".sigma.npy")), range=(-1.0, 1.0))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        trainer = Trainer(
            TrainConfig(
                data=str(out),
                out=str(inputs.work / f"run-{count}-{levels}"),
                n_images=10**6,
                device="cpu",
                below_noise="none",
            )
        )
        running[name] = trainer.steps()
        for _ in range(70):  # past the first update of the pair sampler
            next(running[name])
        memory[name] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(192):  # three updates of the pair sampler
        for name, steps in running.items():
            began = time.perf_counter()
            next(steps)
            times[name].append(time.perf_counter() - began)
    mean = {
        name: float(np.mean(np.sort(values)[: int(0.98 * len(values))])) for name, values in times.items()
    }
    for name, other in (("1e6 images", "1e3 images"), ("1e6 levels", "1e6 images")):
        over = "2 levels" if name == "1e6 levels" else other
        what = f"time of a step with {name} over that with {over}, 8x8, mean of 192 without the slowest 2%"
        checklist.add("speed/scale", what, mean[name] / mean[other], 1.05, "max", "ratio")
    what = "memory that a million images of a million levels take beyond what was there, over 4 numbers of 8 bytes for each and 64 MiB"
    checklist.add("speed/scale", what, memory["1e6 levels"] / (64 + 32e6 / 2**20), 1.0, "max", "ratio")
    return {"step_seconds": mean, "memory_mib": memory}


def check_resuming(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """SIGKILL and resume, in every choice that a training may make by itself."""
    for words in ("--precision=bf16", "--precision=fp32", "--channels-last --preset=digits", "--compile"):
        work = Path(tempfile.mkdtemp(prefix="noiseworth-speed-"))
        result = kill_and_resume(inputs.data / "digits" / "mixed", work, tuple(words.split()), kills=5)
        what = f"killed by SIGKILL 5 times and resumed, {words}: weights, average and optimiser of the same SHA-256"
        checklist.yes("speed/resume", what, result["same"])
    return {}
