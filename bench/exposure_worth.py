"""Worth of twelve groups of images against leaving them out and training again. Used by `bench/exposure.py --claims worth`.

Digits: groups of 30 to 150 images, clean and of four noise levels; one has the scenes of another, one has them with noise of its own. And
the same with half as many images, as these are so many that the quality is near its floor, where no group matters much.
"""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from checks import Checklist
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.pack import pack
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.records import DoneRecord, load_record
from noiseworth.runs.group_worth import measure_groups
from noiseworth.runs.model import load_run
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

CLAIM = "exposure/worth"
SEEDS = (0, 1, 2, 3, 4, 5)
# Images, their noise, and the group whose scenes they show (None: new ones).
GROUPS: list[tuple[int, float, int | None]] = [
    (30, 0.0, None), (60, 0.0, None), (60, 0.1, None), (120, 0.1, None), (60, 0.2, None), (150, 0.2, None),
    (60, 0.4, None), (150, 0.4, None), (60, 0.8, None), (150, 0.8, None), (60, 0.0, 1), (120, 0.1, 3),
]  # fmt: skip


PARTS = (1, 2)  # of the images: all, half


def prefix_of(part: int) -> str:
    """Of the names of data sets and runs."""
    return "worth" if part == 1 else f"worth-{part}"


def make_data(work: Path, part: int) -> None:
    """`worth-all` and, without each group, `worth-0` to `worth-11`."""
    if not (work / "digits").exists():
        pack("sklearn:digits", work / "digits", sigma=0.0, held_out=297)
    clean = open_dataset(work / "digits" / "train")
    rng = np.random.default_rng(0)
    order, taken = rng.permutation(len(clean)), 0
    rows: list[np.ndarray[Any, np.dtype[np.int64]]] = []
    images, sigmas = [], []
    for whole, sigma, of in GROUPS:
        count = whole // part
        if of is None:
            rows.append(order[taken : taken + count])
            taken += count
        else:
            rows.append(rows[of])
        pixels = clean.read(rows[-1])
        images.append(pixels + np.float32(sigma) * rng.standard_normal(pixels.shape).astype(np.float32))
        sigmas.append(np.full(count, sigma))
    for left_out in (None, *range(len(GROUPS))):
        out = work / f"{prefix_of(part)}-{'all' if left_out is None else left_out}"
        if out.exists():
            continue
        kept = [k for k in range(len(GROUPS)) if k != left_out]
        array, table = out.with_suffix(".npy"), out.with_suffix(".csv")
        np.save(array, np.concatenate([images[k] for k in kept])[:, 0])
        values = np.concatenate([sigmas[k] for k in kept])
        table.write_text("\n".join(["sigma", *(f"{s:g}" for s in values)]) + "\n", encoding="utf-8")
        pack(str(array), out, sigma=str(table), by_row=True, range=(-1.0, 1.0))


def train_some(work: Path, part: int, worker: int, workers: int) -> None:
    """Some of the trainings; those that are done stay."""
    held_out = read_all(open_dataset(work / "digits" / "held-out"))
    names = [(str(k), seed) for seed in SEEDS for k in ("all", *range(len(GROUPS)))]
    for name, seed in names[worker::workers]:
        run = work / f"{prefix_of(part)}-run-{name}-{seed}"
        risk = run.with_suffix(".txt")
        if risk.exists():
            continue
        config = TrainConfig(
            data=str(work / f"{prefix_of(part)}-{name}"),
            out=str(run),
            n_images=40_000,
            batch=128,
            preset="light",
            seed=seed,
        )
        run_training(config)
        found = denoising_risk(load_run(run).denoiser, held_out, seed=0).relative
        risk.write_text(f"{found}\n", encoding="utf-8")


def check_worth(checklist: Checklist, work: Path) -> dict[str, Any]:
    """Predicted and measured loss of every group, with all of the images and with half of them."""
    return {f"1/{part} of the images": check_part(checklist, work, part) for part in PARTS}


def check_part(checklist: Checklist, work: Path, part: int) -> dict[str, Any]:
    """The same with a part of the images."""
    make_data(work, part)
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, str(work), str(part), str(worker), "2"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        for worker in range(2)
    ]
    if any(process.wait() for process in workers):
        raise SystemExit("a training did not end well")
    risk = np.array(
        [
            [
                float((work / f"{prefix_of(part)}-run-{name}-{seed}.txt").read_text(encoding="utf-8"))
                for seed in SEEDS
            ]
            for name in ("all", *range(len(GROUPS)))
        ]
    )
    measured = np.log(risk[1:] / risk[0])
    data = open_dataset(work / f"{prefix_of(part)}-all")
    groups = np.repeat(np.arange(len(GROUPS)), [count // part for count, _, _ in GROUPS])
    done = load_record(DoneRecord, work / f"{prefix_of(part)}-run-all-0" / "DONE.json")
    names = [str(k) for k in range(len(GROUPS))]
    record = measure_groups(data, groups, names, done.worth)
    alone = measure_groups(data, groups, names)
    loss, bound = ({g.name: g.loss for g in r.groups} for r in (record, alone))
    predicted = np.array([loss[name] for name in names])
    images = f"{len(data)} images in {len(GROUPS)} groups, without which the risk grows by up to {measured.mean(axis=1).max():.1%}"
    what = f"{images}: rank correlation of predicted and retrained loss, {len(SEEDS)} seeds"
    checklist.add(CLAIM, what, float(spearmanr(predicted, measured.mean(axis=1)).statistic), 0.8, "min")
    by_bound = np.array([bound[name] for name in names])
    what = f"{len(data)} images: the same without a run, by the bound from the images alone"
    checklist.add(CLAIM, what, float(spearmanr(by_bound, measured.mean(axis=1)).statistic), 0.8, "min")
    return {
        "groups": [{"count": c // part, "sigma": s, "repeats": of} for c, s, of in GROUPS],
        "predicted": predicted.tolist(),
        "by the bound": by_bound.tolist(),
        "measured, ln of the risk": measured.tolist(),
        "found": asdict(record)["groups"],
    }


if __name__ == "__main__":
    train_some(Path(sys.argv[1]), *map(int, sys.argv[2:5]))
