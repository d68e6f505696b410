"""The monitors of a training run: the risk on held-out images, and five ways in which training on mixed noise goes wrong.

arXiv 2411.02780 names the first two. Each monitor is a number with a threshold, a reason for the threshold,
and a remedy. All are measured with the averaged model, which training itself never uses.

*Mode collapse*, where there are too few clean images: the number of distinct images that the model generates,
estimated by the birthday problem. Of the pairs among `G` generated images a share `p` shows the same picture
(nearer than a tenth of the mean squared distance of pairs), so the model draws from about `1 / p` pictures.
Below 30 a person sees the repetition on one sample sheet.

*Learned noise*, where noisy images dominate: the noise in generated images beyond that in clean ones
(`evaluate/learned_noise.py`), divided by the noise of the training images. A half is visible at a glance.

*Wrong noise levels*: for an image `y` of noise `s` and the best denoiser, `E |y - D(y, s)|^2 = s^2 - v(s)`,
since what `D` removes and what it keeps are orthogonal. With `v(s)` from clean images this gives the measured
noise divided by the declared noise, for groups of images. A ratio a quarter away from 1 changes worth by a
factor of 1.5. A model that was trained with noise declared far too small takes it for detail, and this
monitor sees nothing: that is learned noise.

*Instability*: the share of the squared norm of the gradient that comes from one quarter of the levels that
are drawn. EDM's preconditioning makes the quarters alike; where one has over 99%, the others are hardly
trained.

*Memorised clean images*: the risk on held-out clean images divided by the risk on the clean training images.
A ratio of two is far beyond chance, and more training makes it worse.
"""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.data.dataset import Dataset
from noiseworth.data.image_grid import grid_png
from noiseworth.data.inspect import group_sigmas
from noiseworth.diffusion.objective import ambient_pair, regression_loss
from noiseworth.diffusion.published import published_loss
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.evaluate.learned_noise import FEWEST, learned_noise
from noiseworth.evaluate.risk import denoising_risk, noisy_risk
from noiseworth.records import MonitorRecord, write_atomically
from noiseworth.rng import Stream, normal
from noiseworth.train.trainer import Trainer

SAMPLE_SHEETS = "samples-while-training"  # folder of a run
FEWEST_DISTINCT, MOST_LEARNED_NOISE, MOST_MISCALIBRATION, LARGEST_SHARE, MOST_MEMORISED = (
    30.0,
    0.5,
    1.25,
    0.99,  # healthy runs were seen with 97%
    2.0,
)
_GENERATED, _IMAGES, _STEPS, _SEED = 64, 128, 10, 7
_ENOUGH = 16  # held-out images, from which v is measured with them
_SAME = 0.1  # of the mean squared distance of pairs
_LOW_LEVELS = (0.05, 0.1, 0.2)  # where clean images are remembered first
_GROUPS = 4


def monitor(trainer: Trainer) -> MonitorRecord:
    """Measure how training goes, and write a sheet of generated images; training itself does not change.

    Args:
        trainer: between two steps.

    Returns:
        The numbers, and warnings in words about those beyond their thresholds.
    """
    held_out = trainer.held_out
    is_clean = held_out is not None and not held_out.sigma.any()
    clean_held_out = _evenly_chosen(held_out, _IMAGES)[0] if held_out is not None and is_clean else None
    clean, _ = _evenly_chosen(trainer.data.select(trainer.data.is_clean), _IMAGES)
    generated = _generate(trainer)
    is_finite = bool(np.isfinite(generated).all())
    generated = np.nan_to_num(generated, nan=0.0, posinf=1.0, neginf=-1.0)
    _write_sheet(trainer, generated)
    clean_training = None if len(clean) < 2 else clean
    is_few = clean_held_out is None or len(clean_held_out) < _ENOUGH
    use_own = is_few and clean_training is not None
    sigmas, calibration = _calibration(trainer, clean_training if use_own else clean_held_out)
    losses, shares = _by_level(trainer)
    noise, noise_is_certain = _learned_noise(trainer, generated, clean_training)
    risk = memorised = None
    if clean_held_out is not None:
        risk = denoising_risk(trainer.averaged, clean_held_out, device=trainer.device).relative
        memorised = _memorised(trainer, clean_held_out, clean_training)
    elif held_out is not None:
        risk = noisy_risk(
            trainer.averaged, *_evenly_chosen(held_out, _IMAGES), device=trainer.device
        ).relative
    record = MonitorRecord(
        risk=_finite_or_none(risk),
        distinct=_distinct(generated),
        learned_noise=_finite_or_none(noise),
        sigmas=sigmas,
        calibration=_finite(calibration),
        loss_by_level=_finite(losses),
        gradient_share=_finite(shares),
        memorised=_finite_or_none(memorised),
        warnings=[]
        if is_finite
        else [
            "generated images have NaN or infinite pixels: lower --lr, or go back to an earlier checkpoint"
        ],
    )
    record.warnings.extend(_warnings(record, noise_is_certain))
    return record


def _finite(values: list[float]) -> list[float]:
    """JSON has no NaN: in a list it is written as -1."""
    return [value if math.isfinite(value) else -1.0 for value in values]


def _finite_or_none(value: float | None) -> float | None:
    """JSON has no NaN: a single number is written as null."""
    return None if value is None or not math.isfinite(value) else value


def _write_sheet(trainer: Trainer, generated: NDArray[np.float32]) -> None:
    folder = Path(trainer.config.out) / SAMPLE_SHEETS
    folder.mkdir(exist_ok=True)
    write_atomically(folder / f"{trainer.n_images:012d}.png", grid_png(generated.clip(-1, 1)))


def _learned_noise(
    trainer: Trainer, generated: NDArray[np.float32], clean: NDArray[np.float32] | None
) -> tuple[float | None, bool]:
    """Learned noise divided by the median noise of the training images, and whether its interval lies above 0."""
    noisy = trainer.data.sigma[trainer.data.sigma > 0]
    if clean is None or len(clean) < FEWEST or not len(noisy) or min(trainer.data.shape[1:]) < 3:
        return None, False
    noise = learned_noise(generated, clean)
    return noise.value / float(np.median(noisy)), noise.low > 0


def _warnings(record: MonitorRecord, noise_is_certain: bool) -> list[str]:
    """In words: what is wrong, how much, and what to do."""
    warnings = []
    if record.distinct < FEWEST_DISTINCT:
        warnings.append(
            f"mode collapse: the model generates about {record.distinct:.0f} distinct images (fewer than"
            f" {FEWEST_DISTINCT:.0f}); too few training images show fine detail: add clean images, or less"
            " noisy ones, or train for less long"
        )
    if noise_is_certain and record.learned_noise is not None and record.learned_noise > MOST_LEARNED_NOISE:
        warnings.append(
            f"learned noise: generated images have {record.learned_noise:.0%} of the training images' noise"
            f" (more than {MOST_LEARNED_NOISE:.0%}); unless training has just begun, sigma may be declared"
            " too small: measure it again, or add clean images"
        )
    for s, ratio in zip(record.sigmas, record.calibration, strict=True):
        if not 1 / MOST_MISCALIBRATION < ratio < MOST_MISCALIBRATION:
            warnings.append(
                f"wrong noise level: images declared to have sigma {s:.3g} seem to have {ratio * s:.3g}"
                f" ({ratio:.2f} times as much; {1 / MOST_MISCALIBRATION:.2f} to {MOST_MISCALIBRATION:.2f} is"
                " fine): measure their noise again"
            )
    if record.gradient_share and max(record.gradient_share) > LARGEST_SHARE:
        quarter = ("lowest", "second", "third", "highest")[int(np.argmax(record.gradient_share))]
        warnings.append(
            f"unstable: {max(record.gradient_share):.0%} of the gradient (more than {LARGEST_SHARE:.0%})"
            f" comes from the {quarter} quarter of the levels; look for images of extreme sigma or wrong"
            " range, or narrow the levels (--level-mean, --level-std)"
        )
    if record.memorised is not None and record.memorised > MOST_MEMORISED:
        warnings.append(
            f"memorised clean images: the risk on held-out images is {record.memorised:.1f} times the risk"
            f" on the clean training images (more than {MOST_MEMORISED:.0f}); stop here, or add images,"
            " clean or noisy"
        )
    return warnings


def _evenly_chosen(data: Dataset, most: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """At most so many images, evenly spread over the data set, and their noise."""
    rows = np.linspace(0, len(data) - 1, min(len(data), most)).astype(int) if len(data) else np.arange(0)
    rows = np.unique(rows)
    return data.read(rows), data.sigma[rows]


@torch.no_grad()
def _generate(trainer: Trainer) -> NDArray[np.float32]:
    """Images from the same starting noise every time, so that sheets can be compared."""
    ids = torch.arange(_GENERATED, device=trainer.device)
    config = SamplerConfig(steps=_STEPS)
    generated = sample(
        trainer.averaged,
        ids,
        trainer.data.shape,
        config=config,
        v=trainer.v,
        trained_from=trainer.pair_sampler.trained_from,
        seed=_SEED,
    )
    return generated.float().cpu().numpy()


def _distinct(generated: NDArray[np.float32]) -> float:
    """The number of distinct images (see the module's docstring); at most the number of pairs."""
    flat = generated.reshape(len(generated), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    squared = np.maximum(squares[:, None] + squares[None] - 2 * flat @ flat.T, 0)[
        np.triu_indices(len(flat), 1)
    ]
    return len(squared) / max(1, int((squared < _SAME * squared.mean()).sum()))


@torch.no_grad()
def _calibration(trainer: Trainer, clean: NDArray[np.float32] | None) -> tuple[list[float], list[float]]:
    """The sigma of some groups of noisy images, and the measured noise of each divided by the declared noise."""
    device = trainer.device
    data = trainer.data.select((trainer.data.kind == 0) & ~trainer.data.may_miss)
    levels = [float(s) for s in group_sigmas(data.sigma)[0] if s > 0]
    if clean is None or not levels:
        return [], []
    chosen = [
        levels[i] for i in np.unique(np.linspace(0, len(levels) - 1, min(len(levels), _GROUPS)).astype(int))
    ]
    ratios = []
    for s in chosen:
        rows = np.argsort(np.abs(data.sigma - s), kind="stable")[:_IMAGES]
        rows = rows[data.sigma[rows] > 0]
        own = torch.from_numpy(data.sigma[rows]).to(device)
        y = torch.from_numpy(data.read(rows)).to(device)
        left = float((y - trainer.averaged(y, own)).double().square().mean())
        v = denoising_risk(trainer.averaged, clean, [s], device=device).risk[0]
        ratios.append(float(np.sqrt((left + v) / float(own.double().square().mean()))))
    return chosen, ratios


def _by_level(trainer: Trainer) -> tuple[list[float], list[float]]:
    """Mean loss of each quarter of the levels, and its share in the squared norm of the gradient, on pairs as training draws them."""
    device, pair_sampler = trainer.device, trainer.pair_sampler
    ids = torch.arange(4 * _IMAGES) + (1 << 50)  # slots that training never comes to
    pairs = pair_sampler.draw(trainer.config.seed, ids)
    order = torch.argsort(pairs.sigma)
    parameters = [p for p in trainer.denoiser.parameters() if p.requires_grad]
    losses, squares = [], []
    most = trainer.micro_batch  # what fits into memory
    for quarter in order.tensor_split(4):
        rows = quarter[~pairs.imputed[quarter]][:most]  # what is imputed has no pixels here
        if not len(rows):
            losses.append(0.0)
            squares.append(0.0)
            continue
        y = torch.from_numpy(trainer.data.read(pairs.index[rows].numpy())).to(device)
        s, sigma = pair_sampler.s[pairs.index[rows]].to(device), pairs.sigma[rows].to(device)
        noise = normal(trainer.config.seed, Stream.NOISE, ids[rows].to(device), trainer.data.shape)
        with trainer.autocast():
            if trainer.structure is not None:
                loss = trainer.structure.loss(
                    trainer.denoiser, pairs.select(rows), y, y, noise, ids[rows], trainer.v, trainer.config
                )[0].weighted
            elif trainer.config.objective == "published":
                loss = published_loss(trainer.denoiser, y, s, sigma, noise, trainer.sigma_data).weighted
            else:
                x_sigma, target = ambient_pair(y, s, sigma, noise)
                weight = pairs.weight[rows].to(device)
                loss = regression_loss(
                    trainer.denoiser, x_sigma, target, sigma, trainer.sigma_data, weight
                ).weighted
        scaled = loss.mean() * float(
            (~pairs.imputed[quarter]).double().mean()
        )  # imputed pairs count, but have no loss here
        gradients: tuple[Tensor, ...] = torch.autograd.grad(scaled, parameters, allow_unused=True)
        losses.append(float(loss.detach().mean()))
        squares.append(sum(float(g.double().square().sum()) for g in gradients if g is not None))
    total = sum(squares)
    return losses, [square / total if total > 0 else 0.0 for square in squares]


def _memorised(
    trainer: Trainer, held_out: NDArray[np.float32], clean: NDArray[np.float32] | None
) -> float | None:
    """The risk on held-out clean images divided by that on clean training images, geometric mean over low levels."""
    if clean is None:
        return None
    device = trainer.device
    on_held_out, on_training = (
        np.array(denoising_risk(trainer.averaged, images, _LOW_LEVELS, device=device).risk)
        for images in (held_out, clean)
    )
    return float(np.exp(np.log(on_held_out / on_training).mean()))
