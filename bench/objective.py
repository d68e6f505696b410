"""Our objective against the published one, on real images: `python bench/objective.py --cifar ARCHIVE`.

The same network, optimiser, seeds, data, batch and images seen; only the objective differs. The data are
Fashion-MNIST (padded) and CIFAR-10-JPEG (ARCHIVE), both at 16x16 (averaged 2x2). A tenth of the images is
clean, the rest has noise 0.2 or 0.5; N = 50,000 (compute is short) and N = 5,000 (clean images are short).
Other trainings have noisy images alone, or a handful of clean digits (8x8) among noisy ones.

Writes `results/objective.json` and the figures of `docs/objective.md`. About 3 hours on two cores; the same
command goes on after an interruption. `--report` writes the results from the trainings that are there, and
those of other trainings as they were; `--page` rewrites the page from the results that are there.

Results on CIFAR-10 encoded as JPEG compare with each other, not with published CIFAR-10 numbers.
"""

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noiseworth.records import write_atomically

if TYPE_CHECKING:
    from noiseworth.train.trainer import Trainer

DATA = ("fashion", "cifar")
SIGMAS = (0.2, 0.5)
# Thousands of images seen at which a training is measured.
POINTS = (
    *(4, 8, 12, 16, 24, 32, 40, 50, 60, 70, 80, 90, 100, 110, 120, 140, 160),
    *(200, 250, 300, 350, 400, 500, 600, 700, 800),
)
HELD_OUT = 1000
SEEDS = 3
STEERING = 50  # further clean images, for trainings that are given some
BASE: dict[str, Any] = {"batch": 128, "precision": "bf16", "decay": "none", "ema": 20_000, "monitor_every": 0}
BY_SIZE: dict[int, dict[str, Any]] = {
    16: {"preset": "light", "device": "cpu"},
    32: {"preset": "medium", "device": "auto"},
}
ARMS: dict[str, dict[str, Any]] = {
    "published": {"objective": "published"},
    "worth": {},
    "worth-none": {"below_noise": "none"},
    "worth-unsteered": {"held_out": "none"},
    "worth-50": {},  # with `STEERING` more clean images, none of them trained on
    "published-our-levels": {"objective": "published", "level_mean": -1.6},
    "published-lr-0.01": {"objective": "published", "lr": 0.01},
    "published-lr-0.04": {"objective": "published", "lr": 0.04},
}


@dataclass(frozen=True)
class Cell:
    """One training. `sigma` 0 is all clean; `clean` is the share of clean images otherwise."""

    data: str
    count: int
    sigma: float
    clean: float
    arm: str
    seed: int
    n_images: int

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.data}-{self.count}-s{self.sigma:g}-c{self.clean:g}-{self.arm}-{self.seed}"


def plan() -> list[Cell]:
    """All trainings, in the order of the claims, seed by seed."""
    mixed = [(data, sigma) for sigma in SIGMAS for data in DATA]
    both = ("published", "worth")
    cells = handfuls()
    for seed in range(SEEDS):
        cells += [Cell(d, 5_000, s, 0.1, arm, seed, 800_000) for d, s in reversed(mixed) for arm in both]
        cells += [Cell(d, 5_000, 0.0, 1.0, "worth", seed, 800_000) for d in DATA]
        for d, s in mixed:
            cells.append(Cell(d, 50_000, s, 0.1, "published", seed, 400_000))
            cells.append(Cell(d, 50_000, s, 0.1, "worth", seed, 160_000))
        if not seed:
            cells += [Cell(d, 50_000, s, 0.0, arm, 0, 120_000) for d, s in mixed for arm in both]
            cells += [Cell(d, 5_000, s, 0.1, "worth-50", 0, 400_000) for d, s in mixed]
            cells += [
                Cell("fashion", 5_000, 0.5, 0.1, arm, 0, 400_000) for arm in ("worth-none", "worth-unsteered")
            ]
            cells += [Cell(d, 50_000, 0.2, 0.1, "published-our-levels", 0, 160_000) for d in DATA]
            rates = ("published-lr-0.01", "published-lr-0.04")
            cells += [Cell("fashion", 50_000, 0.2, 0.1, arm, 0, 160_000) for arm in rates]
    return cells


def handfuls() -> list[Cell]:
    """Trainings on few digits of which none, a handful or many are clean."""
    cells = []
    for count, sigma, shares in (
        (150, 0.7, (0.0, 0.1, 0.4)),
        (150, 1.2, (0.0, 0.1, 0.4)),
        (1200, 0.4, (0.0, 0.02)),
    ):
        for share in shares:
            arms = ("worth", "worth-unsteered", "published") if share else ("worth",)
            cells += [
                Cell("digits", count, sigma, share, arm, seed, 40_000)
                for arm in arms
                for seed in range(SEEDS)
            ]
    return cells


def read_idx(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fashion-MNIST's IDX files as they are: split -> images (N, 28, 28) of bytes, labels."""

    def values(name: str, skip: int) -> np.ndarray:
        return np.frombuffer(gzip.open(folder / name).read(), np.uint8, offset=skip)

    return {
        split: (
            values(f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28),
            values(f"{stem}-labels-idx1-ubyte.gz", 8),
        )
        for split, stem in (("train", "train"), ("held-out", "t10k"))
    }


def read_fashion(folder: Path, size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Fashion-MNIST, padded and averaged: split -> images (N, 1, size, size), labels."""
    return {
        split: (averaged(np.pad(pixels, ((0, 0), (2, 2), (2, 2))), size)[:, None], labels)
        for split, (pixels, labels) in read_idx(folder).items()
    }


def averaged(images: np.ndarray, size: int) -> np.ndarray:
    """Images (N, 32, 32, ...) averaged down to (N, size, size, ...), float32."""
    share = 32 // size
    blocks = images.reshape(len(images), size, share, size, share, *images.shape[3:])
    small: np.ndarray = blocks.mean((2, 4), dtype=np.float32)
    return small


def read_cifar(archive: Path, size: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """CIFAR-10 as JPEG: split -> images (N, 3, size, size), labels."""
    from PIL import Image

    images: dict[str, list[tuple[str, str, np.ndarray]]] = {"train": [], "test": []}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".jpg"):
                split, label = member.name.split("/")[-3:-1]
                file = tar.extractfile(member)
                assert file is not None
                images[split].append((label, member.name, np.asarray(Image.open(file))))
    splits = {}
    for split, stem in (("train", "train"), ("held-out", "test")):
        rows = sorted(images[stem], key=lambda row: row[:2])
        classes = sorted({row[0] for row in rows})
        pixels = averaged(np.stack([row[2] for row in rows]), size).transpose(0, 3, 1, 2)
        splits[split] = pixels, np.array([classes.index(row[0]) for row in rows])
    return splits


def prepare(work: Path, sources: dict[str, Path], size: int, cells: list[Cell]) -> None:
    """Pack the data sets of the cells, and corrupt them as these want."""
    from noiseworth.data.corrupt import corrupt
    from noiseworth.data.pack import pack
    from noiseworth.data.views import subset

    readers = {"fashion": read_fashion, "cifar": read_cifar}
    for data in {cell.data for cell in cells} & readers.keys():
        reader, directory = readers[data], work / "data" / data
        if not (directory / "steering").exists():
            for split, (images, labels) in reader(sources[data], size).items():
                rows = {"5000": (0, 5_000), "50000": (0, 50_000)}
                if split == "held-out":
                    rows = {"held-out": (0, HELD_OUT), "steering": (HELD_OUT, HELD_OUT + STEERING)}
                for name, (first, last) in rows.items():
                    write_some(directory / name, f"{data} {size}x{size}", images, labels, first, last)
    digits = work / "data" / "digits"
    if "digits" in {cell.data for cell in cells} and not (digits / "held-out").exists():
        pack("sklearn:digits", digits, sigma=0.0, held_out=297)
    for cell in cells:
        out = dataset_of(work, cell)
        source = work / "data" / cell.data / str(cell.count)
        if not source.exists():
            subset(digits / "train", source, take=cell.count)
        if not out.exists():
            corrupt(source, out, clean_fraction=cell.clean, sigma=cell.sigma, seed=0)


def write_some(out: Path, name: str, images: np.ndarray, labels: np.ndarray, first: int, last: int) -> None:
    """A data set of the images from `first` to `last`, in an order drawn at random, unless it is there."""
    from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
    from noiseworth.rng import Stream, permutation

    if out.exists():
        return
    rows = permutation(0, Stream.HELD_OUT, len(images)).numpy()[first:last]
    columns = Columns(np.zeros(len(rows), np.float32), rows, labels[rows].astype(np.int64))
    part = Part(columns, images[rows])
    made_by = {"command": "bench/objective.py"}
    with new_directory(out) as folder:
        write_dataset(
            folder, [part], name=name, offset=127.5, scale=127.5, units="8-bit", provenance=[made_by]
        )


def dataset_of(work: Path, cell: Cell) -> Path:
    """Directory of the images that a cell trains on."""
    base = work / "data" / cell.data
    if cell.clean == 1:
        return base / str(cell.count)
    return base / f"{cell.count}-s{cell.sigma:g}-c{cell.clean:g}"


def train(work: Path, cell: Cell, size: int) -> None:
    """One training, measured on the way; goes on from its last measurement."""
    import torch

    from noiseworth.data.dataset import open_dataset, read_all
    from noiseworth.evaluate.risk import DEFAULT_LEVELS
    from noiseworth.train.config import TrainConfig
    from noiseworth.train.trainer import Trainer

    run = work / "cells" / cell.name
    run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    settings = BASE | BY_SIZE[size] | ARMS[cell.arm]
    if cell.arm == "worth-50":
        settings["held_out"] = str(work / "data" / cell.data / "steering")
    data = str(dataset_of(work, cell))
    trainer = Trainer(
        TrainConfig(data=data, out=str(run), n_images=cell.n_images, seed=cell.seed, **settings)
    )
    trainer.restore()
    held_out = read_all(open_dataset(work / "data" / cell.data / "held-out"))
    curve_file = run / "curve.json"
    curve = json.loads(curve_file.read_text()) if curve_file.is_file() else []
    curve = [row for row in curve if row["n_images"] <= trainer.n_images]
    points = [1000 * p for p in POINTS if trainer.n_images < 1000 * p <= cell.n_images]
    for record in trainer.steps():
        if not points or record.n_images < points[0]:
            continue
        points.pop(0)
        row = measure(trainer, held_out) | {"loss": record.loss}
        row["kept"] = kept_risk(trainer, held_out) if trainer.steering.passed_by() else row["relative"]
        curve.append(row)
        if row["relative"] <= min(other["relative"] for other in curve):
            keep_best(trainer, run)
        trainer.save()
        write_atomically(curve_file, json.dumps(curve))
        levels = " ".join(f"{r / s**2:.3f}" for r, s in zip(row["risk"], DEFAULT_LEVELS, strict=True))
        summary = f"{row['relative']:.4f} | {levels} | {row['seconds']:.0f} s"
        print(f"{cell.name} {record.n_images} {summary}", flush=True)
    (run / "done").touch()


def measure(trainer: "Trainer", held_out: np.ndarray) -> dict[str, Any]:
    """The risk of the averaged network. The time of measuring is not counted as training."""
    from noiseworth.evaluate.risk import denoising_risk

    seconds = trainer.elapsed()
    risk = denoising_risk(trainer.averaged, held_out, device=trainer.device)
    trainer.seconds -= trainer.elapsed() - seconds
    return {
        "n_images": trainer.n_images,
        "risk": risk.risk,
        "error": risk.standard_error,
        "relative": risk.relative,
        "seconds": seconds,
    }


def kept_risk(trainer: "Trainer", held_out: np.ndarray) -> float:
    """The risk of the best average that was measured on the way, which is the model now."""
    weights = trainer.ema.module
    present = {name: tensor.clone() for name, tensor in weights.state_dict().items()}
    weights.load_state_dict(trainer.steering.best)
    risk = float(measure(trainer, held_out)["relative"])
    weights.load_state_dict(present)
    return risk


def keep_best(trainer: "Trainer", run: Path) -> None:
    """Keep the averaged weights, and what is needed to use them."""
    from safetensors.torch import save_file

    weights = {name: tensor.contiguous() for name, tensor in trainer.ema.module.state_dict().items()}
    save_file(weights, run / "best.safetensors")
    facts = {
        "trained_from": trainer.pair_sampler.trained_from,
        "sigma_data": trainer.sigma_data,
        "preset": trainer.config.preset,
        "v": trainer.v.state(),
    }
    (run / "best.json").write_text(json.dumps(facts))


def run_all(work: Path, jobs: int, only: str, size: int, cells: list[Cell]) -> None:
    """Every one of the trainings that is not done and whose name matches, `jobs` at a time, each on one core.

    Raises:
        SystemExit: one failed; the others are done first.
    """
    waiting = [cell.name for cell in cells if re.search(only, cell.name)]
    waiting = [name for name in waiting if not (work / "cells" / name / "done").exists()]
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed: list[str] = []
    print(f"{len(waiting)} trainings to do", flush=True)
    while waiting or running:
        failed += [name for name, process in running.items() if process.poll()]
        running = {name: process for name, process in running.items() if process.poll() is None}
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            command = [sys.executable, __file__, "--work", str(work), "--size", str(size), "--cell", name]
            running[name] = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        time.sleep(1)
    if failed:
        names = ", ".join(failed)
        raise SystemExit(f"failed: {names}; what it printed says why, the same command tries again")


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/objective"))
    parser.add_argument(
        "--size",
        type=int,
        choices=sorted(BY_SIZE),
        default=16,
        help="32 is for a GPU, in a --work of its own",
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-report", action="store_true", help="train, and leave the results as they are")
    parser.add_argument(
        "--report", action="store_true", help="write the results from the trainings that are there"
    )
    parser.add_argument(
        "--handful",
        action="store_true",
        help="train the digits alone, write what they say, and stop: 6 minutes",
    )
    parser.add_argument(
        "--scale",
        action="store_true",
        help="measure what imputation costs with a million noisy images, write it, and stop: 3 minutes",
    )
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    parser.add_argument(
        "--only", default="", help="train only the cells whose name this regular expression matches"
    )
    parser.add_argument("--cell", help="train this cell alone")
    arguments = parser.parse_args()
    if arguments.cell:
        train(arguments.work, {cell.name: cell for cell in plan()}[arguments.cell], arguments.size)
        return
    import objective_report
    import objective_scale

    if arguments.scale:
        prepare(arguments.work, {}, arguments.size, handfuls())
        data = arguments.work / "data"
        objective_scale.make(data / "million", data / "digits" / "train")
        found = objective_scale.measure(data / "million", arguments.work / "million")
        write_atomically(arguments.work / "scale.json", json.dumps(found))
        objective_report.write_handful(arguments.work, handfuls())
        return
    if arguments.page:
        objective_report.rewrite_page(plan())
        return
    cells = handfuls() if arguments.handful else plan()
    if not arguments.report:
        prepare(
            arguments.work, {"fashion": arguments.fashion, "cifar": arguments.cifar}, arguments.size, cells
        )
        run_all(arguments.work, arguments.jobs, arguments.only, arguments.size, cells)
    if arguments.handful:
        objective_report.write_handful(arguments.work, cells)
        return
    if not (arguments.report or arguments.no_report):
        cells = [c for c in plan() if c.data != "digits" and (c.count == 5_000 or c.clean == 0)]
        objective_report.measure_distances(arguments.work, cells)
    if not arguments.no_report:
        objective_report.write(arguments.work, plan())


if __name__ == "__main__":
    main()
