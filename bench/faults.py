"""What each metric sees: real images made worse by known steps, measured against other real ones."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import pages
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.features import train_classifier
from noiseworth.evaluate.leak import leaked_noise
from objective import read_fashion

METRICS = ("frechet", "kernel", "sliced", "precision", "recall", "density", "coverage", "leaked_noise")
HIGHER_IS_BETTER = ("precision", "recall", "density", "coverage")


def faults(images: np.ndarray, labels: np.ndarray, others: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Images of four steps of each fault, the first without any."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(images.shape).astype(np.float32)
    blurred = sum(np.roll(images, (i, j), (2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / np.float32(9)
    classes = int(labels.max()) + 1
    fewest = int((labels < classes - 8).sum())  # as many of all, for distances depend on the number of images
    replaced = rng.permutation(len(images))
    mixtures = []
    for share in (0.0, 0.1, 0.25, 0.5):
        mixed = images.copy()
        rows = replaced[: round(share * len(images))]
        mixed[rows] = others[rng.choice(len(others), len(rows))]
        mixtures.append(mixed)
    return {
        "noise": [images + np.float32(s) * noise for s in (0.0, 0.1, 0.3, 0.8)],
        "blur": [(1 - b) * images + b * blurred for b in (0.0, 0.3, 0.6, 1.0)],
        "classes missing": [_some(images[labels < keep], fewest) for keep in (classes, classes - 2, classes - 5, classes - 8)],
        "other images among them": mixtures,
    }


def _some(images: np.ndarray, count: int) -> np.ndarray:
    return images[np.random.default_rng(1).permutation(len(images))[:count]]


def seen(name: str, data: tuple[np.ndarray, np.ndarray], held_out: tuple[np.ndarray, np.ndarray], others: np.ndarray) -> dict[str, Any]:
    """Every metric at every step of every fault, half of the images against the other half."""
    half = len(data[0]) // 2
    extract = train_classifier(*data, held_out)
    real = data[0][:half]
    base = extract(real)
    found: dict[str, Any] = {}
    for fault, steps in faults(data[0][half:], data[1][half:], others).items():
        records = [
            distances(extract(step.astype(np.float32)), base, leaked=leaked_noise(step.astype(np.float32), real)) for step in steps
        ]
        found[fault] = {metric: [float(getattr(record, metric)) for record in records] for metric in METRICS}
    print(name, json.dumps(found))
    return found


def sees(metric: str, values: list[float]) -> bool:
    """Whether a metric gets worse with every step."""
    worse = [-v for v in values] if metric in HIGHER_IS_BETTER else values
    return all(a < b for a, b in pairwise(worse))


def digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = (found.images / 8 - 1).astype(np.float32)[:, None], found.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    return (x[297:], y[297:]), (x[:297], y[:297])


def fashion(folder: Path) -> tuple[Any, Any]:
    found = read_fashion(folder, 16)
    (x, y), (a, b) = found["train"], found["held-out"]
    return (x[:10_000] / 127.5 - 1, y[:10_000].astype(np.int64)), (a[:2000] / 127.5 - 1, b[:2000].astype(np.int64))


def enlarged(images: np.ndarray) -> np.ndarray:
    """8x8 digits at 16x16."""
    return images.repeat(2, 2).repeat(2, 3)


def measure(folder: Path) -> dict[str, Any]:
    """Every metric at every step of every fault, on digits and on Fashion-MNIST of a folder; each is mixed into the other."""
    (own, kept), (dressed, dressed_kept) = digits(), fashion(folder)
    small = dressed[0][:2000].reshape(2000, 1, 8, 2, 8, 2).mean((3, 5)).astype(np.float32)
    return {
        "digits": seen("digits", own, kept, small),
        "Fashion-MNIST 16x16": seen("fashion", dressed, dressed_kept, enlarged(own[0])),
    }


def write_page(table: dict[str, Any]) -> None:
    """Which metric sees which fault."""
    rows = [f"| data | fault | {' | '.join(m.replace('_', ' ') for m in METRICS)} |", "|---|---|" + "---|" * len(METRICS)]
    for data, by_fault in table.items():
        for fault, by_metric in by_fault.items():
            cells = [f"{'sees' if sees(m, v) else '-'} ({v[0]:.3g}, {v[-1]:.3g})" for m, v in by_metric.items()]
            rows.append(f"| {data} | {fault} | {' | '.join(cells)} |")
    pages.put("evaluation.md", "table: bench/evaluation.py writes it", rows)
