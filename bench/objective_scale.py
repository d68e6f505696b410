"""What imputation costs where there are a million noisy images: time and memory. Used by `bench/objective.py --scale`.

The images are digits, each taken many times with other noise: what they show does not matter here.
"""

import time
from pathlib import Path

import numpy as np

from checks import Checklist

COUNT, CLEAN, NOISE = 1_000_000, 10_000, 0.5
N_IMAGES = 400_000
_CHUNK = 50_000


def make(out: Path, digits: Path) -> None:
    """A data set of a million digits of which one in a hundred is clean, unless it is there."""
    from noiseworth.data.dataset import open_dataset, read_all
    from noiseworth.data.writer import Columns, Part, new_directory, write_dataset

    if out.exists():
        return
    clean, generator = read_all(open_dataset(digits)), np.random.default_rng(0)
    sigma = np.where(np.arange(COUNT) < CLEAN, 0, NOISE).astype(np.float32)
    images = np.empty((COUNT, *clean.shape[1:]), np.float32)
    for first in range(0, COUNT, _CHUNK):
        rows = slice(first, first + _CHUNK)
        noise = generator.standard_normal((_CHUNK, *clean.shape[1:]), np.float32)
        images[rows] = (
            clean[generator.integers(len(clean), size=_CHUNK)] + sigma[rows, None, None, None] * noise
        )
    columns = Columns(sigma, np.arange(COUNT), None)
    with new_directory(out) as folder:
        made_by = [{"command": "bench/objective.py --scale"}]
        write_dataset(
            folder,
            [Part(columns, images)],
            name="a million digits",
            offset=0.0,
            scale=1.0,
            units="model",
            provenance=made_by,
        )


def resident() -> float:
    """Memory of this process, GiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**30


def measure(data: Path, out: Path) -> dict[str, float]:
    """Train, and note the time that imputation takes and the memory at a quarter of the training and at its end."""
    from noiseworth.train.config import TrainConfig
    from noiseworth.train.trainer import Trainer

    settings = TrainConfig(
        data=str(data),
        out=str(out),
        n_images=N_IMAGES,
        batch=128,
        preset="light",
        monitor_every=0,
        device="cpu",
    )
    trainer = Trainer(settings)
    imputing, prepare = 0.0, trainer.imputation.prepare

    def timed(n_images: int) -> None:
        nonlocal imputing
        began = time.perf_counter()
        prepare(n_images)
        imputing += time.perf_counter() - began

    trainer.imputation.prepare = timed  # type: ignore[method-assign]
    began, quarter = time.perf_counter(), 0.0
    for record in trainer.steps():
        if not quarter and record.n_images >= N_IMAGES // 4:
            quarter = resident()
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "imputing": imputing,
        "imputed": float(len(trainer.imputation.rows)),
        "quarter": quarter,
        "end": resident(),
    }


def check_scale(checklist: Checklist, found: dict[str, float]) -> None:
    """The claim objective/scale, from what `measure` found."""
    share = found["imputing"] / found["seconds"]
    what = f"time of imputation over that of training, {COUNT:,} images 8x8, {N_IMAGES:,} images seen, light"
    command = "python bench/objective.py --scale"
    checklist.add("objective/scale", what, share, 0.15, "max", "ratio", command)
    words = f"memory at the end over that at a quarter ({found['end']:.2f}, {found['quarter']:.2f} GiB)"
    checklist.add("objective/scale", words, found["end"] / found["quarter"], 1.05, "max", "ratio", command)
