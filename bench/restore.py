"""How good are restored images, and what is said of them? `python bench/restore.py`. Writes `results/restore.json`.

`psnr`: digits at sigma 0.3 and Fashion-MNIST 28x28 at 0.5, by models that were trained on a tenth clean images and noisy ones:
beside scikit-image's denoisers, each tuned on clean images that the model saw, too (`pip install scikit-image PyWavelets`),
and beside a blind-spot network of the same size and training time. `coverage`: how many clean pixels lie in the intervals of
90%. `level`: how well the run measures the noise of images. `hallucination`: whether the share of the data tells what a model
made up that was trained on shoes and restores clothes. `large`: a picture of 4,096 x 4,096 pixels, its memory, seams and bytes
after kills. `formats`: files come back with their type, units and what they say.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pages
from checks import RESULTS, Checklist, Results, table_rows
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.records import load_record
from noiseworth.restore.calibration import on_clean, without_clean
from noiseworth.restore.restorer import Restorer
from noiseworth.restore.share import data_share
from noiseworth.rng import Stream, normal
from noiseworth.runs.model import load_run
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from restore_large import check_large
from restore_others import best_classical, blind_spot

Array = NDArray[np.float32]
CLAIMS = ("psnr", "coverage", "level", "hallucination", "large", "formats")
TESTED = 600  # clean images that were never seen: half to calibrate on, half to measure on
SHOES, CLOTHES = (5, 7, 9), (0, 2, 3, 4, 6)  # classes of Fashion-MNIST


@dataclass(frozen=True)
class Case:
    """A data set, its noise, and the images seen in training."""

    name: str
    source: str
    sigma: float
    images: int
    gain: float  # decibels above the others that are asked for


def cases(fashion: Path) -> list[Case]:
    """What is restored."""
    return [
        Case("digits 8x8", "sklearn:digits", 0.3, 60_000, 2.0),
        Case("Fashion-MNIST 28x28", str(fashion), 0.5, 100_000, 1.0),
    ]


def trained(case: Case, work: Path, classes: tuple[int, ...] = ()) -> tuple[Path, Path]:
    """A run on a tenth clean images and noisy ones, of some classes alone where they are named; and held-out clean images."""
    folder = work / (case.name.replace(" ", "-") + ("-some" if classes else ""))
    data, run = folder / "data", folder / "run"
    if not data.exists():
        pack(case.source, data, sigma=0.0, held_out=TESTED, name="restored")
    train = data / "train"
    if not (folder / "noisy").exists():
        clean = open_dataset(train)
        assert clean.labels is not None
        rows = np.flatnonzero(np.isin(clean.labels, classes)) if classes else np.arange(len(clean))
        np.savez(folder / "some.npz", images=clean.read_raw(rows[:10_000]))
        ends = clean.record.offset - clean.record.scale, clean.record.offset + clean.record.scale
        pack(str(folder / "some.npz"), folder / "some", sigma=0.0, range=ends)
        corrupt(folder / "some", folder / "noisy", clean_fraction=0.1, sigma=case.sigma)
    run_training(TrainConfig(data=str(folder / "noisy"), out=str(run), n_images=case.images))
    return run, data / "held-out"


def held_out(
    path: Path, sigma: float, classes: tuple[int, ...] = ()
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Clean images, the same with noise, and their numbers."""
    data = open_dataset(path)
    rows = np.arange(len(data))
    if classes:
        assert data.labels is not None
        rows = np.flatnonzero(np.isin(data.labels, classes))
    x = data.read(rows)
    noise = normal(7, Stream.RISK, torch.from_numpy(data.ids[rows]), x.shape[1:]).numpy()
    y: Array = (x + sigma * noise).astype(np.float32)
    return x, y, data.ids[rows]


def decibels(error: Array) -> float:
    """Peak signal-to-noise ratio: clean values span 2."""
    return float(10 * np.log10(4 / np.mean(np.square(error, dtype=np.float64))))


def check_psnr(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """Restored images against those of others."""
    found: dict[str, Any] = {}
    for case in cases(fashion):
        run, clean = trained(case, work)
        x, y, ids = held_out(clean, case.sigma)
        mean = Restorer(load_run(run), 64, 0)(y, np.full(len(x), case.sigma), ids, maps=False).mean
        noisy = open_dataset(run.parent / "noisy")
        teachers = noisy.read(np.flatnonzero(noisy.sigma == 0)[:100])
        theirs = best_classical(teachers, y, case.sigma)
        theirs["blind-spot network"] = blind_spot(noisy, run, y)
        values = {"noisy": decibels(y - x), "ours": decibels(mean - x)}
        values |= {name: decibels(images - x) for name, images in theirs.items()}
        classical = max((v, n) for n, v in values.items() if n not in ("noisy", "ours", "blind-spot network"))
        where = f"{case.name}, sigma {case.sigma}"
        over = values["ours"] - classical[0]
        checklist.add(
            "restore/psnr",
            f"above {classical[1]}, the best of scikit-image's, {where}",
            over,
            case.gain,
            "min",
            "dB",
        )
        over = values["ours"] - values["blind-spot network"]
        checklist.add(
            "restore/psnr",
            f"above a blind-spot network of the same size and time, {where}",
            over,
            0,
            "min",
            "dB",
        )
        found[case.name] = values
    return found


def check_coverage(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """How many clean pixels lie in the intervals, of images that were neither trained nor calibrated on."""
    found: dict[str, Any] = {}
    for case in cases(fashion):
        run, clean = trained(case, work)
        x, y, ids = held_out(clean, case.sigma)
        s, half = np.full(len(x), case.sigma), len(x) // 2
        restorer = Restorer(load_run(run), 64, 0)
        restored = restorer(y[half:], s[half:], ids[half:], maps=True)
        error, std = np.abs(x[half:] - restored.mean), restored.std(s[half:])
        made = {
            "calibrated on clean images": on_clean(restorer, x[:half], s[:half], ids[:half], 0),
            "without any clean image": without_clean(restorer, y[half:], s[half:], ids[half:], 0),
        }
        for (way, calibration), (low, high) in zip(made.items(), ((0.88, 0.92), (0.85, 0.95)), strict=True):
            covered = float((error <= calibration.factor * std).mean())
            what = f"clean pixels in their intervals of 90%, {way}, {case.name}"
            checklist.add("restore/coverage", what, covered, low, "min", "share")
            checklist.add("restore/coverage", what, covered, high, "max", "share")
            found[f"{case.name}, {way}"] = {"factor": calibration.factor, "covered": covered}
    return found


def check_level(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """The noise of single images of 28x28, measured with the run."""
    case = cases(fashion)[1]
    run, clean = trained(case, work)
    restorer = Restorer(load_run(run), 64, 0)
    found: dict[str, Any] = {}
    for sigma in (0.1, 0.25, 0.5, 1.0):
        _, y, _ = held_out(clean, sigma)
        levels = [restorer.level(image, i) for i, image in enumerate(y[:100])]
        ratio = np.array([level.sigma for level in levels]) / sigma
        covered = float(np.mean([level.low < sigma < level.high for level in levels]))
        where = f"single images of 28x28, sigma {sigma}"
        checklist.add(
            "restore/level", f"median bias, {where}", abs(np.median(ratio) - 1), 0.03, "max", "ratio"
        )
        checklist.add("restore/level", f"95% intervals that cover, {where}", covered, 0.88, "min", "share")
        found[str(sigma)] = {
            "median": float(np.median(ratio)),
            "spread": float(ratio.std()),
            "covered": float(covered),
        }
    return found


def check_hallucination(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """Of clothes that a model restores which knows shoes alone: is what it made up told from what is there?

    A pixel counts as made up where the slope of the clean image on the restored one is below 0.3, and as real above 0.7, in the
    window of the share; where structure is seen at all.
    """
    run, clean = trained(cases(fashion)[1], work, SHOES)
    found: dict[str, Any] = {}
    for sigma in (cases(fashion)[1].sigma, 1.0):
        area, numbers = _told(run, clean, sigma)
        what = f"area under the curve: made-up structure told from real, shoes on clothes, sigma {sigma:g}"
        checklist.add("restore/hallucination", what, area, 0.9, "min")
        found[f"{sigma:g}"] = numbers
    return found


def _told(run: Path, clean: Path, sigma: float) -> tuple[float, dict[str, int]]:
    x, y, ids = held_out(clean, sigma, CLOTHES)
    s = np.full(len(x), sigma)
    restored = Restorer(load_run(run), 64, 0)(y, s, ids, maps=True)
    scores: list[NDArray[np.float64]] = []
    truths: list[NDArray[np.float64]] = []
    for clean_image, noisy, mean, variance in zip(x, y, restored.mean, restored.variance, strict=True):
        share, _ = data_share(noisy, mean, variance, sigma)
        truth, _ = data_share(clean_image, mean, np.zeros_like(variance), sigma)
        is_told = np.isfinite(share) & ((truth < 0.3) | (truth > 0.7))
        scores.append(share[is_told].astype(np.float64))
        truths.append((truth[is_told] > 0.7).astype(np.float64))
    score, is_real = np.concatenate(scores), np.concatenate(truths).astype(bool)
    order = np.argsort(np.argsort(score))
    made_up = int((~is_real).sum())
    area = (order[is_real].mean() - (is_real.sum() - 1) / 2) / made_up
    return float(area), {"made up": made_up, "real": int(is_real.sum()), "images": len(x)}


def check_formats(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """The tests that hold restored files against their own libraries."""
    del work, fashion
    tests = Path(__file__).parent.parent / "tests"
    for what in ("tiff_keeps", "scientific_files_keep", "pictures_keep", "what_is_written_is_read_again"):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-o",
            "addopts=",
            *map(str, tests.glob("test_restore*.py")),
            "-k",
            what,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        holds = done.returncode == 0 and " passed" in done.stdout and "skipped" not in done.stdout
        words = "" if "again" in what else " their type, units and what they say"
        checklist.yes("restore/formats", what.replace("_", " ") + words, holds)
    return {}


def main() -> None:
    """Measure the claims that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--work", type=Path, default=Path("runs/restore"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    measures: dict[str, Callable[[Checklist, Path, Path], dict[str, Any]]] = {
        "psnr": check_psnr,
        "coverage": check_coverage,
        "level": check_level,
        "hallucination": check_hallucination,
        "large": check_large,
        "formats": check_formats,
    }
    for claim in [] if arguments.page else arguments.claims:
        checklist = Checklist(f"python bench/restore.py --claims {claim}")
        checklist.update("restore.json", measures[claim](checklist, arguments.work, arguments.fashion))
    pages.put(
        "restore.md",
        "restore: bench/restore.py writes it",
        table_rows(load_record(Results, RESULTS / "restore.json").checks),
    )


if __name__ == "__main__":
    main()
