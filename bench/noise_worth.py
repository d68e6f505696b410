"""Whether damaged images are worth having, and whether it is worth to know what their noise is: trainings on digits and Fashion-MNIST.

Digits 8x8, a tenth clean, the others with a camera's noise, coloured noise, half of the pixels missing, or blurred: training on
both against each alone. Fashion-MNIST 16x16: training on a camera's and on coloured noise, against taking it for white
Gaussian noise of the same total variance.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from checks import Checklist
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import Dataset, open_dataset, read_all
from noiseworth.data.hide_damage import hide_damage
from noiseworth.data.pack import pack
from noiseworth.data.stabilise_noise import stabilise_noise
from noiseworth.data.views import subset
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.noise.models import CorrelatedNoise
from noiseworth.noise.sensors import PoissonGaussianNoise
from noiseworth.noise.stabilise import Stabiliser
from noiseworth.runs.own_units import in_own_units
from noiseworth.train.config import TrainConfig
from noiseworth.train.trainer import Trainer

SEEDS = range(3)
LEVELS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
IMAGES = 40_000  # seen in a training
TESTED = 1000
FASHION = 1000  # images, of which a hundred are clean: too few to do without the others
DAMAGES = ("camera", "coloured", "masked", "blurred")
DIGITS_CAMERA = PoissonGaussianNoise(1.0, 0.0, 1.0)  # digits have 0 to 16 electrons
FASHION_CAMERA = PoissonGaussianNoise(25.0, 0.0, 12.0)  # up to 10 electrons, read noise of half of one
Array = NDArray[np.float64]


def coloured(side: int, sigma: float) -> CorrelatedNoise:
    """White noise after a Gaussian of one pixel, as pictures have it that were smoothed, resized or upsampled; of a total sigma."""
    f = np.fft.fftfreq(side)
    spectrum = np.exp(-((2 * np.pi) ** 2) * (f[:, None] ** 2 + f[None] ** 2)) + 1e-4
    return CorrelatedNoise(sigma**2 * spectrum / spectrum.mean())


def fresh(folder: Path) -> Path:
    """A folder of this name that is not there yet."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def with_levels(images: NDArray[np.float32], out: Path, sigma: Array) -> Path:
    """Pack images in model units into `out`, with a level for each; NaN is an unknown one."""
    np.savez(out.with_suffix(".npz"), images=images)
    lines = ["name,sigma", *(f"{i},{'' if np.isnan(s) else s}" for i, s in enumerate(sigma))]
    table = out.with_suffix(".csv")
    table.write_text("\n".join(lines) + "\n")
    pack(str(out.with_suffix(".npz")), fresh(out), range=(-1.0, 1.0), sigma=str(table), by_row=True)
    return out


def trained(data: Path, run: Path, seed: int, use: str = "all") -> Trainer:
    """After training on a data set."""
    trainer = Trainer(
        TrainConfig(data=str(data), out=str(run), n_images=IMAGES, seed=seed, device="cpu", use=use)  # type: ignore[arg-type]
    )
    for _ in trainer.steps():
        pass
    return trainer


def risk_after(trainer: Trainer, held_out: Path) -> float:
    """Geometric mean over levels of the risk over the level squared."""
    images = open_dataset(held_out).read_first(TESTED)
    risk = np.array(denoising_risk(trainer.averaged, images, LEVELS, device=torch.device("cpu")).risk)
    return float(np.exp(np.log(risk / np.square(LEVELS)).mean()))


def _damaged(source: Path, held_out: Path, folder: Path, damage: str, seed: int) -> tuple[Path, Path]:
    """A tenth of the images clean, the others damaged, ready to train on; and held-out clean images in the same units."""
    raw = fresh(folder / f"{damage}-raw-{seed}")
    side = open_dataset(source).shape[1]
    if damage == "masked":
        corrupt(source, raw, clean_fraction=0.1, missing=0.5, seed=seed)
        return raw, held_out
    if damage == "blurred":
        corrupt(source, raw, clean_fraction=0.1, blur=0.6, seed=seed)
        hidden = fresh(folder / f"{damage}-{seed}")
        hide_damage(raw, hidden, seed=seed)
        return hidden, held_out
    camera = DIGITS_CAMERA if side == 8 else FASHION_CAMERA
    model = folder / f"{damage}.json"
    model.write_text(
        json.dumps((camera if damage == "camera" else coloured(side, 0.5 if side == 8 else 1.0)).to_json())
    )
    corrupt(source, raw, clean_fraction=0.1, noise=model, seed=seed)
    if damage == "coloured":
        return raw, held_out
    ready, tested = folder / f"{damage}-{seed}", folder / f"{damage}-held-out"
    stabilise_noise(raw, fresh(ready))
    stabilise_noise(held_out, fresh(tested), noise=model)
    return ready, tested


def check_mixed(checklist: Checklist, work: Path) -> dict[str, Any]:
    """Training on both, over training on the clean and on the damaged images alone."""
    folder = work / "worth-digits"
    if not (folder / "all").exists():
        pack("sklearn:digits", folder / "all", sigma=0.0, held_out=297)
    kept: dict[str, Any] = {}
    for damage in DAMAGES:
        rows = []
        for seed in SEEDS:
            data, tested = _damaged(
                folder / "all" / "train", folder / "all" / "held-out", folder, damage, seed
            )
            risks = {
                use: risk_after(trained(data, folder / "run", seed, use), tested)
                for use in ("all", "clean", "noisy")
            }
            rows.append(risks)
            print(damage, seed, risks, flush=True)
        for use, words in (("clean", "the clean ones alone"), ("noisy", "the damaged ones alone")):
            worst = max(row["all"] / row[use] for row in rows)
            what = f"risk after training on both over that on {words}, the greatest of 3 seeds, digits 8x8, a tenth clean, {damage}"
            checklist.add("noise/worth-it", what, worst, 1.0, "max", "ratio")
        kept[damage] = rows
    return kept


def _as_white(data: Dataset, out: Path) -> float:
    """The same images, their noise said to be white and of the same total variance, which is returned as a standard deviation."""
    is_clean = data.is_clean
    images = read_all(data)
    twins = open_dataset(out.parent / "some")
    clean = dict(zip(twins.ids.tolist(), read_all(twins), strict=True))
    noise = images[~is_clean] - np.stack([clean[i] for i in data.ids[~is_clean].tolist()])
    sigma = float(np.sqrt(np.square(noise, dtype=np.float64).mean()))
    with_levels(images, out, np.where(is_clean, 0.0, sigma))
    return sigma


@torch.no_grad()
def _restored(
    denoiser: Callable[..., torch.Tensor], noisy: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    estimate: NDArray[np.float32] = (
        denoiser(torch.from_numpy(noisy), torch.full((len(noisy),), sigma)).float().numpy()
    )
    return estimate


def check_known(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """Training that knows the noise, over training that takes it for white noise of the same total variance."""
    folder = work / "worth-fashion"
    if not (folder / "some").exists():
        pack(str(fashion), folder / "all", sigma=0.0, held_out=2000, fit="resize:16x16")
        subset(folder / "all" / "train", folder / "some", take=FASHION)
    kept: dict[str, Any] = {}
    for damage in ("coloured", "camera"):
        rows = []
        for seed in SEEDS:
            data, tested = _damaged(folder / "some", folder / "all" / "held-out", folder, damage, seed)
            white = folder / f"{damage}-white-{seed}"
            sigma = _as_white(open_dataset(folder / f"{damage}-raw-{seed}"), white)
            ours, theirs = (trained(path, folder / "run", seed) for path in (data, white))
            row = {"sigma": sigma}
            if damage == "coloured":
                row |= {"known": risk_after(ours, tested), "white": risk_after(theirs, tested)}
            else:
                row |= _restoration(ours, theirs, folder, sigma, tested)
            rows.append(row)
            print(damage, seed, row, flush=True)
        worst = max(row["known"] / row["white"] for row in rows)
        error = "error of held-out noisy images, denoised, in the user's units,"
        of = "risk" if damage == "coloured" else error
        images = f"{FASHION:,} images of Fashion-MNIST 16x16, a tenth clean, {damage}"
        what = f"{of} over that where the noise is taken for white, the greatest of 3 seeds, {images}"
        checklist.add("noise/worth-it", what, worst, 0.9, "max", "ratio")
        kept[damage] = rows
    return kept


def _restoration(
    ours: Trainer, theirs: Trainer, folder: Path, sigma: float, tested: Path
) -> dict[str, float]:
    """Mean squared error of held-out noisy images, denoised by both, in model units before stabilising."""
    truth = open_dataset(folder / "all" / "held-out")
    clean = truth.read_first(TESTED)
    record, before = open_dataset(tested).record, open_dataset(tested).record.stabilised
    assert before is not None
    raw = clean.astype(np.float64) * before.scale + before.offset
    noisy = FASHION_CAMERA.sample(raw, 99, np.arange(len(raw)))
    moved = ((Stabiliser(FASHION_CAMERA).forward(noisy) - record.offset) / record.scale).astype(np.float32)
    of_ours = in_own_units(
        _restored(ours.averaged, moved, 1 / record.scale), record.offset, record.scale, before
    )
    as_model = ((noisy - before.offset) / before.scale).astype(np.float32)
    of_theirs = _restored(theirs.averaged, as_model, sigma)
    own = (of_ours - before.offset) / before.scale
    return {
        "known": float(np.square(own - clean).mean()),
        "white": float(np.square(of_theirs - clean).mean()),
    }


def check_worth(checklist: Checklist, work: Path, fashion: Path) -> dict[str, Any]:
    """Both."""
    return {"mixed": check_mixed(checklist, work), "known": check_known(checklist, work, fashion)}
