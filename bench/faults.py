"""What each metric sees: real images made worse by known steps, measured against other real ones."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pages
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.features import train_classifier
from noiseworth.evaluate.learned_noise import learned_noise
from objective import read_fashion

METRICS = ("frechet", "kernel", "sliced", "precision", "recall", "density", "coverage", "learned_noise")
HIGHER_IS_BETTER = ("precision", "recall", "density", "coverage")
HELD_OUT_DIGITS = 297

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]  # images (N, C, H, W), labels (N,)


def make_faults(
    images: NDArray[np.float32], labels: NDArray[np.int64], others: NDArray[np.float32]
) -> dict[str, list[NDArray[Any]]]:
    """Images of four steps of each fault, the first without any."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(images.shape).astype(np.float32)
    neighbours = [np.roll(images, (i, j), (2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    blurred = sum(neighbours) / np.float32(9)
    classes = int(labels.max()) + 1
    fewest = int((labels < classes - 8).sum())  # as many of all: distances depend on the number of images
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
        "classes missing": [
            _some(images[labels < kept], fewest) for kept in (classes, classes - 2, classes - 5, classes - 8)
        ],
        "other images among them": mixtures,
    }


def _some(images: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return images[np.random.default_rng(1).permutation(len(images))[:count]]


def measure_faults(
    name: str, data: Labelled, held_out: Labelled, others: NDArray[np.float32]
) -> dict[str, Any]:
    """Every metric at every step of every fault, half of the images against the other half."""
    images, labels = data
    half = len(images) // 2
    extract = train_classifier(images, labels, held_out)
    real = images[:half]
    real_features = extract(real)
    values: dict[str, Any] = {}
    for fault, steps in make_faults(images[half:], labels[half:], others).items():
        records = []
        for step in steps:
            worse = step.astype(np.float32)
            records.append(distances(extract(worse), real_features, noise=learned_noise(worse, real)))
        values[fault] = {metric: [float(getattr(record, metric)) for record in records] for metric in METRICS}
    print(name, json.dumps(values))
    return values


def sees(metric: str, values: list[float]) -> bool:
    """Whether a metric gets worse with every step."""
    worse = [-v for v in values] if metric in HIGHER_IS_BETTER else values
    return all(a < b for a, b in pairwise(worse))


def load_digits() -> tuple[Labelled, Labelled]:
    """Digits of scikit-learn, and held-out ones."""
    from sklearn import datasets

    digits = datasets.load_digits()
    x = (digits.images / 8 - 1).astype(np.float32)[:, None]
    y = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    held_out, kept = order[:HELD_OUT_DIGITS], order[HELD_OUT_DIGITS:]
    return (x[kept], y[kept]), (x[held_out], y[held_out])


def load_fashion(folder: Path) -> tuple[Labelled, Labelled]:
    """Fashion-MNIST at 16x16, and held-out images of it."""
    by_split = read_fashion(folder, 16)
    x, y = by_split["train"]
    x_held_out, y_held_out = by_split["held-out"]
    return _scaled(x[:10_000], y[:10_000]), _scaled(x_held_out[:2000], y_held_out[:2000])


def _scaled(images: NDArray[Any], labels: NDArray[Any]) -> Labelled:
    """From 8 bits to model units."""
    return (images / 127.5 - 1).astype(np.float32), labels.astype(np.int64)


def enlarged(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """8x8 digits at 16x16."""
    return images.repeat(2, 2).repeat(2, 3)


def measure(folder: Path) -> dict[str, Any]:
    """Every metric at every step of every fault, on digits and Fashion-MNIST; each is mixed into the other.

    Args:
        folder: of Fashion-MNIST's files.
    """
    digits, held_out_digits = load_digits()
    fashion, held_out_fashion = load_fashion(folder)
    small = fashion[0][:2000].reshape(2000, 1, 8, 2, 8, 2).mean((3, 5)).astype(np.float32)
    return {
        "digits": measure_faults("digits", digits, held_out_digits, small),
        "Fashion-MNIST 16x16": measure_faults("fashion", fashion, held_out_fashion, enlarged(digits[0])),
    }


def write_page(table: dict[str, Any]) -> None:
    """Which metric sees which fault: the table of `docs/evaluation.md`."""
    rows = [
        f"| data | fault | {' | '.join(metric.replace('_', ' ') for metric in METRICS)} |",
        "|---|---|" + "---|" * len(METRICS),
    ]
    for data, by_fault in table.items():
        for fault, by_metric in by_fault.items():
            cells = []
            for metric in METRICS:
                values = by_metric[metric]
                verdict = "sees" if sees(metric, values) else "-"
                cells.append(f"{verdict} ({values[0]:.3g}, {values[-1]:.3g})")
            rows.append(f"| {data} | {fault} | {' | '.join(cells)} |")
    pages.put("evaluation.md", "table: bench/evaluation.py writes it", rows)
