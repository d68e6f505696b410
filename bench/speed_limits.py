"""Parts of `bench/speed.py`: presets against a bare loop, other projects' loops, growing data, kills; its worker."""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from checks import RESULTS, Check, Checklist
from engine import kill_and_resume, measure_speed
from noiseworth.data.pack import pack
from noiseworth.records import from_json
from speed_cases import Inputs, run_worker

if TYPE_CHECKING:
    import torch

# Name -> precision and optimizer of our trainer.
OURS: dict[str, tuple[Literal["auto", "fp32"], Literal["muon", "adam"]]] = {
    "ours": ("auto", "muon"),
    "ours in fp32": ("fp32", "muon"),
    "ours in fp32 by Adam": ("fp32", "adam"),
}


def convolution_peak(dtype: "torch.dtype") -> float:
    """Operations a second of 3x3 convolutions alone, forward, on this processor, at the best of some sizes that networks have."""
    import torch
    from torch.nn import functional

    best = 0.0
    for count, channels, side in ((64, 64, 32), (64, 128, 16), (128, 256, 8)):
        x = torch.randn(count, channels, side, side, dtype=dtype).contiguous(
            memory_format=torch.channels_last
        )
        weight = torch.randn(channels, channels, 3, 3, dtype=dtype)
        times = []
        for _ in range(9):
            began = time.perf_counter()
            with torch.no_grad():
                functional.conv2d(x, weight, padding=1)
            times.append(time.perf_counter() - began)
        best = max(best, 2 * 9 * channels**2 * side**2 * count / median(times[3:]))
    return best


def check_utilisation(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """The presets against a bare loop, and against convolutions alone."""
    import torch

    records: list[dict[str, Any]] = []
    for preset, size, channels, batch, steps in (
        ("medium", 8, 1, 64, 60), ("light", 28, 1, 64, 20), ("light", 32, 3, 64, 20), ("medium", 32, 3, 64, 10),
        ("heavy", 32, 3, 32, 8), ("digits", 8, 1, 64, 60), ("mini", 28, 1, 64, 20), ("small", 32, 3, 16, 6),
    ):  # fmt: skip
        values = {"preset": preset, "size": size, "channels": channels, "batch": batch, "steps": steps}
        # In a process of its own, whose peak memory is that of this network.
        record = measure_speed(*(f"--{name}={value}" for name, value in values.items()))
        dtype = torch.bfloat16 if record.precision == "bf16" else torch.float32
        peak = convolution_peak(dtype)
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
        for name, (precision, optimizer) in OURS.items():
            config = TrainConfig(
                data=str(inputs.data / data / "mixed"), out=str(inputs.work / f"peer-{data}-{precision}-{optimizer}"), preset=preset,
                batch=batch, precision=precision, optimizer=optimizer, device="cpu", below_noise="none",
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
        where = f"network {preset}, {data}, batch {batch}, without imputation, over {fastest} ({best:.0f} images/s)"
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
        what = f"images/s at equal precision and with Adam, as the others have, {where}"
        checklist.add("speed/peers", what, rates["ours in fp32 by Adam"] / best, 0.98, "min", "ratio")
        kept[data] = rates
    return kept


@dataclass(frozen=True)
class Growth:
    """A made-up data set of 8x8 images: their number, number of noise levels, and channels."""

    images: int
    levels: int
    channels: int = 1


SMALLEST = Growth(1_000, 2)
GROWTHS = {
    "images, of 2 levels": [SMALLEST, Growth(10**4, 2), Growth(10**5, 2), Growth(10**6, 2)],
    "levels, of a million images": [Growth(10**6, n) for n in (2, 100, 10**4, 10**6)],
    "channels, of 1,000 images": [Growth(1_000, 2, n) for n in (1, 2, 3)],
}


def make_grown(growth: Growth, work: Path) -> Path:
    """Its data set, unless it is there."""
    name = f"{growth.images}-{growth.levels}-{growth.channels}"
    out, source = work / f"grown-{name}", work / f"grown-{name}.npy"
    if not out.exists():
        rng = np.random.default_rng(0)
        levels = np.linspace(0.0, 1.0, growth.levels, dtype=np.float32)
        shape = (growth.images, growth.channels, 8, 8)
        np.save(source, (0.5 * rng.standard_normal(shape)).astype(np.float16))
        table = source.with_suffix(".csv")
        sigma = levels[np.arange(growth.images) % growth.levels]
        np.savetxt(table, sigma, fmt="%.7g", header="sigma", comments="")
        pack(str(source), out, sigma=str(table), by_row=True, range=(-1.0, 1.0), allow_rounding=True)
        table.unlink()
        source.unlink()
    return out


def grown_config(growth: Growth, work: Path) -> dict[str, Any]:
    """The settings of a training on it."""
    data = make_grown(growth, work)
    return {
        "data": str(data),
        "out": f"{data}-run",
        "n_images": 64 * 200,
        "device": "cpu",
        "below_noise": "none",
    }


def peak_mib(growth: Growth, inputs: Inputs) -> float:
    """Memory of a training on it, in a process of its own."""
    settings: dict[str, Any] = {
        "train": grown_config(growth, inputs.work),
        "held_out": None,
        "points": [],
        "sample": None,
    }
    return float(run_worker(inputs, "memory", settings, False)["peak_mib"])


def check_scale(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Time of a step and memory as images, noise levels and channels grow."""
    from noiseworth.train.config import TrainConfig
    from noiseworth.train.trainer import Trainer

    every = list(dict.fromkeys(growth for growths in GROWTHS.values() for growth in growths))
    memory = {
        growth: peak_mib(growth, inputs) for growth in (SMALLEST, Growth(10**6, 2), Growth(10**6, 10**6))
    }
    running = {growth: Trainer(TrainConfig(**grown_config(growth, inputs.work))).steps() for growth in every}
    times: dict[Growth, list[float]] = {growth: [] for growth in every}
    for number in range(199):  # three updates of the pair sampler
        for growth, steps in running.items():
            began = time.perf_counter()
            next(steps)
            if number >= 7:
                times[growth].append(time.perf_counter() - began)
    # The mean, since the pair sampler's updates are part of the cost; without the slowest 2%, which are the machine's.
    mean = {growth: float(np.mean(np.sort(t)[: int(0.98 * len(t))])) for growth, t in times.items()}
    for name, growth, base in (
        ("1e6 images over that with 1e3", Growth(10**6, 2), SMALLEST),
        ("1e6 levels over that with 2, a million images", Growth(10**6, 10**6), Growth(10**6, 2)),
    ):
        what = f"time of a step with {name}, 8x8, mean of 192 without the slowest 2%"
        checklist.add("speed/scale", what, mean[growth] / mean[base], 1.05, "max", "ratio")
        what = f"peak memory with {name}, 8x8, images read from disk"
        checklist.add("speed/scale", what, memory[growth] / memory[base], 1.2, "max", "ratio")
    curves = [
        {"label": label, "x": [g.levels if "levels" in label[:6] else g.channels if "channels" in label[:8] else g.images for g in growths],
         "y": [1000 * mean[g] for g in growths]}
        for label, growths in GROWTHS.items()
    ]  # fmt: skip
    return {"curves": curves, "memory_mib": {str(growth): value for growth, value in memory.items()}}


def check_resuming(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """SIGKILL and resume, in every choice that a training may make by itself."""
    kills = {}
    for words in ("--precision=bf16", "--precision=fp32", "--channels-last --preset=digits", "--compile"):
        with tempfile.TemporaryDirectory(prefix="noiseworth-speed-") as work:
            result = kill_and_resume(
                inputs.data / "digits" / "mixed", Path(work), tuple(words.split()), kills=5, saved=True
            )
        kills[words] = result["kills"]
        stops = len({kill["to"] for kill in result["kills"]})
        what = f"killed by SIGKILL 5 times ({stops} different steps) and resumed, {words}: same SHA-256 of weights, average, optimiser"
        checklist.yes("speed/resume", what, result["same"])
    return {"kills": kills}


def check_clone(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """The demo and the tests, as `bench/fresh_clone.py` timed them last."""
    stored = json.loads((RESULTS / "demo.json").read_text(encoding="utf-8"))
    timed = "python bench/fresh_clone.py"
    for row in stored["checks"]:
        check = from_json(Check, row, "demo.json")
        if check.claim == "numbers/demo" and check.what.startswith("compute"):
            checklist.add("speed/demo", check.what, check.value, 150, "max", "s", timed)
        elif check.claim == "clone/tests" and check.unit == "s":
            checklist.add("speed/tests", check.what, check.value, 420, "max", "s", timed)
    seconds = stored["data"]["make_demo_seconds"]
    checklist.add(
        "speed/demo", "make demo from a fresh clone, installing included", seconds, 195, "max", "s", timed
    )
    return {}


def check_gpu(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """What needs a GPU; `bench/device.sh` writes its file."""
    checklist.yes(
        "speed/gpu", "measured on a GPU", (RESULTS / "engine-gpu.json").is_file(), "bench/device.sh"
    )
    return {}
