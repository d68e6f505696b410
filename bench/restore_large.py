"""A picture far larger than the images that a run was trained on: memory, seams, and the same bytes after kills."""

import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from checks import Checklist
from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

SIDE, TILE, NOISE = 4096, 32, 1500.0  # pixels, pixels, raw units of 16 bits
KILLS = 20


def check_large(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """Restore a picture of cells without maps, once at a stretch and once with kills; Fashion-MNIST has no part in it."""
    del fashion
    folder = work / "large"
    (folder / "in").mkdir(parents=True, exist_ok=True)
    run = _trained(folder)
    picture = _cells(SIDE, 1)
    noisy = picture + NOISE * np.random.default_rng(2).standard_normal(picture.shape)
    tifffile.imwrite(folder / "in" / "cells.tif", noisy.clip(0, 65535).round().astype(np.uint16))
    command = [sys.executable, "-m", "noiseworth.cli", "restore", str(run), str(folder / "in")]
    command += ["--sigma", str(NOISE), "--no-maps", "--batch", "256"]
    began = time.monotonic()
    _forget(folder / "whole")
    subprocess.run([*command, str(folder / "whole")], check=True)
    seconds = time.monotonic() - began
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    bare = _memory_of_model(run)
    checklist.add(
        "restore/large",
        "memory above that of a process with the model, 4,096 x 4,096 pixels of 16 bits",
        memory - bare,
        2,
        "max",
        "GiB",
    )
    restored = tifffile.imread(folder / "whole" / "cells.tif").astype(np.float64)
    checklist.add(
        "restore/large",
        "seams of tiles, over the noise",
        _seams(restored - picture) / NOISE,
        0.01,
        "max",
        "ratio",
    )
    _forget(folder / "killed")
    draw = random.Random(0)
    for _ in range(KILLS):
        process = subprocess.Popen([*command, str(folder / "killed")], stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(1, min(seconds, 30)))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(folder / "killed")], check=True)
    same = (folder / "whole" / "cells.tif").read_bytes() == (folder / "killed" / "cells.tif").read_bytes()
    checklist.yes("restore/large", f"the same bytes after {KILLS} kills", same)
    rests = [path.name for path in (folder / "killed").rglob("*") if "partial" in path.name]
    checklist.yes("restore/large", "nothing is left behind by them", not rests)
    error = float(np.sqrt(np.mean((restored - picture) ** 2)))
    return {
        "seconds": seconds,
        "error over noise": error / NOISE,
        "memory of a process with the model, GiB": bare,
    }


def _cells(side: int, seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Smooth blobs with sharp rims on a dark ground, in raw units."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((side, side)), 4, mode="wrap")
    field /= field.std()
    texture = gaussian_filter(rng.standard_normal((side, side)), 1.5, mode="wrap")
    picture: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = (
        6000.0 + 14000 * (field > 0.6) + 3000 * texture / texture.std() * (field > 0.6)
    )
    return picture


def _trained(folder: Path) -> Path:
    if not (folder / "mixed").exists():
        np.save(folder / "clean.npy", _cells(2048, 0)[None].astype(np.float32))
        pack(
            str(folder / "clean.npy"), folder / "tiles", sigma=0.0, range=(0.0, 32768.0), fit=f"tiles:{TILE}"
        )
        corrupt(folder / "tiles", folder / "mixed", clean_fraction=0.1, sigma=NOISE / 16384)
    run_training(
        TrainConfig(data=str(folder / "mixed"), out=str(folder / "run"), n_images=30_000, preset="light")
    )
    return folder / "run"


def _seams(error: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """How much larger steps are where tiles begin or end than elsewhere, in root mean square."""
    worst = 0.0
    for axis in (0, 1):
        steps = np.diff(error, axis=axis)
        power = np.mean(steps**2, axis=1 - axis)
        at = np.zeros(len(power), bool)
        at[TILE // 2 - 1 :: TILE // 2] = True
        worst = max(worst, np.sqrt(max(power[at].mean() - power[~at].mean(), 0.0)))
    return float(worst)


def _memory_of_model(run: Path) -> float:
    """Of a process that loads the run and does nothing with it, in GiB."""
    code = (
        "import resource; from noiseworth.runs.model import load_run; "
        f"load_run({str(run)!r}); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(printed.stdout) / 2**20


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
