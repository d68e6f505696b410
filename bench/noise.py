"""How well is noise measured? `python bench/noise.py --cifar ARCHIVE`. Writes `results/noise.json`.

`sigma`: CIFAR-10-JPEG with noise of known level, learned from 4,000 clean images, measured on 1,500 others; beside
scikit-image's estimator and the two of deepinv (`pip install scikit-image PyWavelets ptwt einops` and `pip install
--no-deps deepinv`, whose package wants torchvision, while its estimators do not). `clipped`: the same after clipping to
8 bits. `unknown`: trainings on levels that were measured, over those on true levels. `clean`: which images are clean, where
nobody says. `checks`: how often each check of noise fires, with its fault and without. `camera`:
simulated cameras, measured from frames. `exact` and `worth-it`: training on noise that is not white. `wrong`:
what a wrong level costs.
"""

import argparse
import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pages
from checks import RESULTS, Checklist, Results, table_rows
from noise_camera import check_cameras, check_pictures
from noise_checks import check_checks
from noise_exact import check_exact
from noise_unknown import Inputs, check_clean, check_unknown
from noise_worth import check_worth, fresh
from noise_wrong import check_wrong
from noiseworth.data.dataset import open_dataset
from noiseworth.data.estimate_noise import estimate_noise
from noiseworth.data.pack import pack
from noiseworth.noise.components import fit_components
from noiseworth.noise.estimate import Clipping, FloorEstimator, calibrate
from noiseworth.records import load_record
from noiseworth.rng import Stream, normal

Array = NDArray[np.float64]
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
TEACHERS, MEASURED = 4000, 1500
COMPARED = 400  # images that other estimators measure, one by one
CLAIMS = ("sigma", "clipped", "unknown", "clean", "checks", "camera", "exact", "worth-it", "wrong")


@cache
def others() -> dict[str, Callable[[torch.Tensor], Array]]:
    """Name -> an estimator of other packages, of images (N, C, H, W)."""
    # By name, as those who do not run this have it not.
    restoration = importlib.import_module("skimage.restoration")

    def of_skimage(images: torch.Tensor) -> Array:
        estimate: Callable[..., float] = restoration.estimate_sigma
        return np.array([estimate(i, channel_axis=0, average_sigmas=True) for i in images.numpy()])

    where = importlib.util.find_spec("deepinv")
    assert where is not None
    assert where.submodule_search_locations is not None
    root = Path(where.submodule_search_locations[0])
    # The package itself imports torchvision; these two of its files do not.
    for name in ("deepinv", "deepinv.utils", "deepinv.models"):
        module = types.ModuleType(name)
        module.__path__ = [str(root.parent / name.replace(".", "/"))]
        sys.modules[name] = module
    deepinv = importlib.import_module("deepinv.models.noise_level_estimation")

    def of_deepinv(kind: str) -> Callable[[torch.Tensor], Array]:
        estimator = getattr(deepinv, kind)()
        return lambda images: np.array([float(estimator(image[None])) for image in images])

    return {
        "scikit-image": of_skimage,
        "deepinv, wavelets": of_deepinv("WaveletNoiseEstimator"),
        "deepinv, patches": of_deepinv("PatchCovarianceNoiseEstimator"),
    }


def photographs(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Clean photographs to learn from, and others."""
    packed = inputs.work / "cifar"
    if not packed.exists():
        pack(str(inputs.cifar), packed, sigma=0.0, splits=True)
    data = open_dataset(packed / "train")
    order = np.random.default_rng(0).permutation(len(data))
    teachers, measured = order[:TEACHERS], order[-MEASURED:]
    return torch.from_numpy(data.read(np.sort(teachers))), torch.from_numpy(data.read(np.sort(measured)))


def check_sigma(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Bias, spread and covering of the levels of photographs, and the error beside that of others."""
    teachers, pictures = photographs(inputs)
    began = monotonic()
    components = fit_components(teachers[::2])
    estimator = calibrate(components, teachers[1::2], LEVELS[0] / 3, LEVELS[-1] * 3)
    checklist.add(
        "noise/seconds", f"to learn from {TEACHERS:,} clean images", monotonic() - began, 120, "max", "s"
    )
    rows: list[dict[str, Any]] = []
    for level in LEVELS:
        noisy = pictures + level * normal(1, Stream.CORRUPT, torch.arange(len(pictures)), pictures.shape[1:])
        estimate = estimator(noisy)
        ratio = estimate.sigma / level
        covered = float(((estimate.low < level) & (level < estimate.high)).mean())
        where = f"CIFAR-10-JPEG, sigma {level}"
        most = 0.1 if level < 0.05 else 0.03
        checklist.add("noise/sigma", f"median bias, {where}", abs(np.median(ratio) - 1), most, "max", "ratio")
        if level >= 0.1:
            checklist.add("noise/sigma", f"spread over images, {where}", ratio.std(), 0.08, "max", "ratio")
        what = f"95% intervals that cover, {where}"
        checklist.add("noise/sigma", what, covered, 0.92, "min", "share")
        checklist.add("noise/sigma", what, covered, 0.98, "max", "share")
        ratios = {
            "ours": ratio[:COMPARED],
            "ours, without clean images": FloorEstimator(components)(noisy[:COMPARED]).sigma / level,
        }
        ratios |= {name: measure(noisy[:COMPARED]) / level for name, measure in others().items()}
        errors = {name: _errors(values) for name, values in ratios.items()}
        rows.append({"level": level, "covered": covered, "errors": errors})
        if level <= 0.1:
            for what in ("median bias", "root mean square error"):
                best = min((error[what], name) for name, error in errors.items() if "ours" not in name)
                over = f"{what} over that of {best[1]}, the best of three others, {where}"
                checklist.add("noise/sigma", over, errors["ours"][what] / best[0], 1 / 3, "max", "ratio")
    return {"rows": rows}


def _errors(ratio: Array) -> dict[str, float]:
    """Of measured over true levels, where there is a number at all."""
    finite = ratio[np.isfinite(ratio)]
    return {
        "median bias": abs(float(np.median(finite)) - 1),
        "root mean square error": float(np.sqrt(np.square(finite - 1).mean())),
        "without a number": 1 - len(finite) / len(ratio),
    }


def check_clipped(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Photographs with noise 0.8, kept in 8 bits: whether it is said, and how far off the level is."""
    teachers, pictures = photographs(inputs)
    stored = Clipping(-1.0, 1.0, 2 / 255)
    noisy = stored(
        pictures + 0.8 * normal(1, Stream.CORRUPT, torch.arange(len(pictures)), pictures.shape[1:])
    )
    folder = inputs.work / "clipped"
    if not folder.exists():
        raw = (torch.cat([teachers, noisy]) + 1) * 127.5
        np.savez(inputs.work / "clipped.npz", images=raw.round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
        lines = ["name,sigma", *(f"{i},{0 if i < TEACHERS else ''}" for i in range(len(raw)))]
        (inputs.work / "clipped.csv").write_text("\n".join(lines) + "\n")
        pack(str(inputs.work / "clipped.npz"), folder, sigma=str(inputs.work / "clipped.csv"), by_row=True)
    record = estimate_noise(folder, fresh(inputs.work / "clipped-measured"))
    assert record.path is not None
    sigma = open_dataset(record.path).sigma[TEACHERS:]
    checklist.yes("noise/clipped", "that noise was cut off is said", record.clipped > 0)
    bias = float(np.median(np.abs(sigma / 0.8 - 1)))
    checklist.add(
        "noise/clipped", "median error at sigma 0.8, after clipping to 8 bits", bias, 0.1, "max", "ratio"
    )
    theirs = {name: _errors(measure(noisy[:COMPARED]) / 0.8) for name, measure in others().items()}
    return {"ours": bias, "others": theirs}


def check_camera(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """Simulated cameras, from frames and from photographs."""
    pictures = torch.cat(photographs(inputs)).mean(1).numpy()
    return {"frames": check_cameras(checklist), "pictures": check_pictures(checklist, pictures)}


def check_all_checks(checklist: Checklist, inputs: Inputs) -> dict[str, Any]:
    """The checks of noise, on pictures of Fashion-MNIST 28x28."""
    packed = inputs.work / "fashion-28"
    if not packed.exists():
        pack(str(inputs.fashion), packed, sigma=0.0, splits=True)
    return check_checks(checklist, torch.from_numpy(open_dataset(packed / "train").read_first(20_000)))


def main() -> None:
    """Measure the claims that are asked for, and write all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--claims", nargs="+", choices=CLAIMS, default=list(CLAIMS))
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    parser.add_argument("--cifar", type=Path, default=Path("cifar10-jpeg.tar.xz"))
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--work", type=Path, default=Path("runs/noise"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(arguments.work, arguments.fashion, arguments.cifar)
    measures: dict[str, Callable[[Checklist, Inputs], dict[str, Any]]] = {
        "sigma": check_sigma,
        "clipped": check_clipped,
        "unknown": check_unknown,
        "clean": check_clean,
        "checks": check_all_checks,
        "camera": check_camera,
        "exact": lambda checklist, _: dict(check_exact(checklist)),
        "wrong": lambda checklist, inputs: check_wrong(checklist, inputs.work),
        "worth-it": lambda checklist, inputs: check_worth(checklist, inputs.work, inputs.fashion),
    }
    for claim in [] if arguments.page else arguments.claims:
        checklist = Checklist(f"python bench/noise.py --cifar ARCHIVE --claims {claim}")
        checklist.update("noise.json", measures[claim](checklist, inputs))
    checks = load_record(Results, RESULTS / "noise.json").checks
    wrong = (
        load_record(Results, RESULTS / "noise.json").data.get("noise/wrong-level", {}).get("digits 8x8", {})
    )
    rows = [
        f"| {float(off):+.0%} | {np.mean(each):.2f} | {min(each):.2f} to {max(each):.2f} |"
        for off, each in wrong.items()
    ]
    pages.put(
        "noise.md",
        "wrong: bench/noise.py writes it",
        [
            "| declared level, off by | risk, over that with the right level | of 3 seeds |",
            "|---|---|---|",
            *rows,
        ],
    )
    of_training = ("noise/exact", "noise/worth-it")
    measuring = [check for check in checks if check.claim not in of_training]
    pages.put("noise.md", "noise: bench/noise.py writes it", table_rows(measuring))
    training = [check for check in checks if check.claim in of_training]
    pages.put("other-noise.md", "other-noise: bench/noise.py writes it", table_rows(training))


if __name__ == "__main__":
    main()
