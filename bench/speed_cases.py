"""What `bench/speed.py` trains on, and how: data sets, settings, and trainings in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from objective import read_cifar, read_idx, write_some
from processes import ROOT

BEFORE = "6d2227d"  # the last commit with Adam, 32 bits and diffusers' U-Net by default


@dataclass(frozen=True)
class Inputs:
    """Directories: of data, of the checkout of the state before, and of everything that is made."""

    data: Path
    before: Path
    work: Path


@dataclass(frozen=True)
class Case:
    """A data set, the preset that its size called for before, and the length of the training.

    Attributes:
        every: images between measurements of the risk.
        sampled: images that are generated where sampling is timed.
    """

    data: str
    size: str
    preset_before: str
    n_images: int
    every: int
    sampled: int


# The first has the default length; the others are as long as the time allows that the state before takes.
CASES = (
    Case("digits", "8x8", "digits", 100_000, 2_000, 2_048),
    Case("fashion", "28x28", "mini", 50_000, 1_000, 512),
    Case("cifar", "32x32", "small", 4_096, 128, 64),
)


def prepare(work: Path, fashion: Path, cifar: Path | None) -> Inputs:
    """Pack the data sets and check out the state before, unless they are there."""
    data, before = work / "data", work / "before"
    if not (data / "digits" / "mixed").exists():
        pack("sklearn:digits", data / "digits" / "all", sigma=0.0, held_out=297)
        corrupt(data / "digits" / "all" / "train", data / "digits" / "mixed", clean_fraction=0.1, sigma=0.5)
    readers: dict[str, Callable[[], dict[str, tuple[np.ndarray, np.ndarray]]]] = {
        "fashion": lambda: read_fashion(fashion)
    }
    if cifar is not None:
        readers["cifar"] = lambda: read_cifar(cifar, 32)
    for name, reader in readers.items():
        if not (data / name / "mixed").exists():
            for split, (images, labels) in reader().items():
                count = 500 if split == "held-out" else 50_000
                write_some(data / name / "all" / split, name, images, labels, 0, count)
            corrupt(data / name / "all" / "train", data / name / "mixed", clean_fraction=0.1, sigma=0.5)
    if not before.exists():
        before.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", BEFORE, "src"], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "x"], cwd=before, input=archive.stdout, check=True)
    return Inputs(data, before / "src", work)


def read_fashion(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fashion-MNIST at its own size: split -> images (N, 1, 28, 28), labels."""
    return {
        split: (pixels[:, None].astype(np.float32), labels)
        for split, (pixels, labels) in read_idx(folder).items()
    }


def training_of(inputs: Inputs, case: Case, seed: int, is_before: bool) -> dict[str, Any]:
    """Settings of `speed_worker.py`."""
    name = f"{case.data}-{seed}-{'before' if is_before else 'now'}"
    return {
        "train": {
            "data": str(inputs.data / case.data / "mixed"),
            "out": str(inputs.work / "runs" / name),
            "n_images": case.n_images,
            "seed": seed,
            "device": "cpu",
            **({"preset": case.preset_before} if is_before else {}),
        },
        "held_out": str(inputs.data / case.data / "all" / "held-out"),
        "points": [case.n_images]
        if is_before
        else [*range(case.every, case.n_images, case.every), case.n_images],
        "sample": None,
    }


def run_worker(inputs: Inputs, name: str, settings: dict[str, Any], is_before: bool) -> dict[str, Any]:
    """What `speed_worker.py` measured with these settings, by this checkout or the one before."""
    file = inputs.work / f"{name}.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(inputs.before if is_before else ROOT / "src")}
    words = [sys.executable, str(Path(__file__).with_name("speed_worker.py")), str(file)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def train(inputs: Inputs, case: Case, seed: int, is_before: bool) -> dict[str, Any]:
    """One training by this checkout or the one before, in a process of its own."""
    name = f"{case.data}-{seed}-{'before' if is_before else 'now'}"
    result = run_worker(inputs, name, training_of(inputs, case, seed, is_before), is_before)
    print(name, result["curve"][-1], flush=True)
    return result
