"""A picture far larger than the images that a run was trained on: memory, seams, and the same bytes after kills."""

import random
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
from noiseworth.restore.restorer import Restorer
from noiseworth.runs.model import load_run
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

SEAMS = 500  # places
SIDE, TILE, NOISE = 4096, 32, 1500.0  # pixels, pixels, raw units of 16 bits
KILLS = 20
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def check_large(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """Restore a picture of cells without maps, at a stretch, with kills, and with maps; Fashion-MNIST has no part in it."""
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
    memory = _peak([*command, str(folder / "whole")])
    seconds = time.monotonic() - began
    code = f"import time; from noiseworth.runs.model import load_run; load_run({str(run)!r}); time.sleep(0.2)"
    bare = _peak([sys.executable, "-c", code])
    checklist.add(
        "restore/large",
        "memory above that of a process with the model, 4,096 x 4,096 pixels of 16 bits",
        memory - bare,
        2,
        "max",
        "GiB",
    )
    # Memory is what the arrays of the picture need, whatever the network; a quick one makes the maps in minutes.
    quick = _trained(folder, "light+haar:1")
    mapped = [
        sys.executable,
        "-m",
        "noiseworth.cli",
        "restore",
        str(quick),
        str(folder / "in"),
        str(folder / "maps"),
    ]
    _forget(folder / "maps")
    with_maps = _peak([*mapped, "--sigma", str(NOISE), "--batch", "256"])
    checklist.add(
        "restore/large",
        "the same with standard deviations, intervals and share",
        with_maps - bare,
        2,
        "max",
        "GiB",
    )
    restored = tifffile.imread(folder / "whole" / "cells.tif").astype(np.float64)
    checklist.add(
        "restore/large",
        "steps that tiles add where they begin, over the noise",
        _seams(run, noisy.clip(0, 65535).round(), restored) / NOISE,
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


def _cells(side: int, seed: int) -> Array:
    """Smooth blobs with sharp rims on a dark ground, in raw units."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((side, side)), 4, mode="wrap")
    field /= field.std()
    texture = gaussian_filter(rng.standard_normal((side, side)), 1.5, mode="wrap")
    picture: Array = 6000.0 + 14000 * (field > 0.6) + 3000 * texture / texture.std() * (field > 0.6)
    return picture


def _trained(folder: Path, preset: str = "light") -> Path:
    if not (folder / "mixed").exists():
        np.save(folder / "clean.npy", _cells(2048, 0)[None].astype(np.float32))
        pack(
            str(folder / "clean.npy"), folder / "tiles", sigma=0.0, range=(0.0, 32768.0), fit=f"tiles:{TILE}"
        )
        corrupt(folder / "tiles", folder / "mixed", clean_fraction=0.1, sigma=NOISE / 16384)
    run = folder / ("run" if preset == "light" else preset)
    run_training(TrainConfig(data=str(folder / "mixed"), out=str(run), n_images=30_000, preset=preset))
    return run


def _seams(run: Path, noisy: Array, restored: Array) -> float:
    """Root mean square of the steps that tiles add where they begin, in raw units.

    In the middle of each tile two others meet. There the step from one row to the next is compared with that of this tile alone,
    which has no seam.
    """
    model = load_run(run)
    half, around = TILE // 2, 4
    rng = np.random.default_rng(0)
    starts = half * rng.integers(0, SIDE // half - 2, (SEAMS, 2))
    tiles = np.stack([noisy[r : r + TILE, c : c + TILE] for r, c in starts])[:, None]
    scaled = ((tiles - model.offset) / model.scale).astype(np.float32)
    s = np.full(SEAMS, NOISE / model.scale)
    alone = (
        Restorer(model, 64, 0)(scaled, s, np.arange(SEAMS), maps=False).mean[:, 0] * model.scale
        + model.offset
    )
    middle = slice(half - around, half + around)
    added = []
    for (row, column), tile in zip(starts, alone, strict=True):
        whole = restored[row : row + TILE, column : column + TILE]
        steps = [image[half, middle] - image[half - 1, middle] for image in (whole, tile)]
        added.append(steps[0] - steps[1])
        steps = [image[middle, half] - image[middle, half - 1] for image in (whole, tile)]
        added.append(steps[0] - steps[1])
    return float(np.sqrt(np.mean(np.square(added))))


def _peak(command: list[str]) -> float:
    """The most memory that a process had, in GiB. (What the system says of a child that has ended counts its parent's, too.)"""
    peak = 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, int(status.split("VmHWM:")[1].split()[0]))
            except (OSError, IndexError):
                pass
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{command} failed")
    return peak / 2**20


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
