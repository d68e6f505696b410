"""Looking at a run while it trains: the risk, and five ways in which training on mixed noise goes wrong (arXiv 2411.02780 names them).

Each is a number with a threshold, a reason for it, and a remedy; all are measured with the averaged model, which training never sees.

*Mode collapse*, where the clean part is too small: the number of different images that the model seems to know, by the birthday
problem. Of `G` generated images a share `p` of the pairs are the same picture (nearer than a tenth of the mean squared distance of
pairs), so it draws from about `1 / p`. Below 30 a person sees the repetition on one sheet.

*Learning the noise*, where noisy images dominate: the noise in generated images beyond that in clean ones (`evaluate.leak`), over
the noise of the training images. A half of it is seen at a glance; a good model of small images, sampled in ten steps, shows up to
a quarter.

*Wrong noise levels*: for an image `y` of noise `s` and the best denoiser, `E |y - D(y, s)|^2 = s^2 - v(s)`, since what `D` takes away
and what it leaves are orthogonal. With `v(s)` from clean images, this gives the noise that is found over the noise that was declared,
for groups of images; a quarter away from 1 shifts worth by a factor of 1.5. A model that was trained on noise declared far too
small takes it for detail, and finds nothing here: that is learning the noise.

*Instability*: the share of the squared norm of the gradient that comes from one quarter of the levels that are drawn. EDM's
preconditioning makes them alike; where one has over 95%, the others are hardly trained.

*Memorising the clean part*: the risk on held-out clean images over that on the clean ones that were trained on. Twice is far beyond
what chance does, and more training makes it worse.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.data.dataset import Dataset
from noiseworth.data.inspect import group_sigmas
from noiseworth.data.pictures import grid_png
from noiseworth.diffusion.objective import ambient_pair, regression_loss
from noiseworth.diffusion.published import published_loss
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.evaluate.leak import leaked_noise
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.records import WatchRecord, write_atomically
from noiseworth.tensors import Stream, normal
from noiseworth.train.loop import Trainer

FEWEST, LEARNED, APART, LARGEST_SHARE, MEMORISED = 30.0, 0.5, 1.25, 0.95, 2.0
_GENERATED, _IMAGES, _STEPS, _SEED = 64, 128, 10, 7
_SAME = 0.1  # of the mean squared distance of pairs
_LOW_LEVELS = (0.05, 0.1, 0.2)  # where clean images are remembered first
_GROUPS = 4
_SHEET = 64


def watch(trainer: Trainer) -> WatchRecord:
    """Look at a run, and leave a sheet of what it makes under `looks/`; training does not notice."""
    held = None if trainer.held_out is None else _some(trainer.held_out, _IMAGES)
    clean = _some(trainer.data.select(trainer.data.sigma == 0), _IMAGES)
    made = _generate(trainer)
    broken = not np.isfinite(made).all()
    made = np.nan_to_num(made, nan=0.0, posinf=1.0, neginf=-1.0)
    looks = Path(trainer.config.out) / "looks"
    looks.mkdir(exist_ok=True)
    write_atomically(looks / f"{trainer.n_images:012d}.png", grid_png(made[:_SHEET].clip(-1, 1)))
    known = None if len(clean) < 2 else clean
    sigmas, calibration = _calibration(trainer, held if held is not None and len(held) > 1 else known)
    losses, shares = _by_level(trainer)
    noisy = trainer.data.sigma[trainer.data.sigma > 0]
    leak = None if known is None or not len(noisy) or min(trainer.data.shape[1:]) < 3 else leaked_noise(made, known)
    risk = memorised = None
    if held is not None and len(held) > 1:
        risk = denoising_risk(trainer.averaged, held, device=trainer.accelerator.device).relative
        memorised = _memorised(trainer, held, known)
    found = WatchRecord(
        risk=risk,
        distinct=_distinct(made),
        learned_noise=None if leak is None else leak.value / float(np.median(noisy)),
        sigmas=sigmas,
        calibration=calibration,
        loss_by_level=losses,
        gradient_share=shares,
        memorised=memorised,
        warnings=[],
    )
    sure = leak is not None and leak.low > 0
    said = [*(["the averaged model makes NaN or infinite pixels: lower --lr, or go back to an earlier checkpoint"] * broken)]
    return WatchRecord(**{**{k: _finite(v) for k, v in found.__dict__.items()}, "warnings": said + _warnings(found, sure)})


def _finite(value: Any) -> Any:
    """JSON has no NaN: a number that is none is told as null, in a list as -1."""
    if isinstance(value, list):
        return [v if isinstance(v, str) or math.isfinite(v) else -1.0 for v in value]
    return value if value is None or math.isfinite(value) else None


def _warnings(found: WatchRecord, leak_is_sure: bool) -> list[str]:
    """In words: what, how much, and what to do."""
    said = []
    if found.distinct < FEWEST:
        said.append(
            f"mode collapse: it seems to know about {found.distinct:.0f} different images (fewer than {FEWEST:.0f}); too few images"
            " speak about fine detail: add clean images, or less noisy ones, or train for less long"
        )
    if leak_is_sure and found.learned_noise is not None and found.learned_noise > LEARNED:
        said.append(
            f"it makes noise: generated images hold {found.learned_noise:.0%} of the training images' noise (more than {LEARNED:.0%});"
            " if training is not short still, sigma may be declared too small: measure it again, or add clean images"
        )
    for s, ratio in zip(found.sigmas, found.calibration, strict=True):
        if not 1 / APART < ratio < APART:
            said.append(
                f"images declared to have sigma {s:.3g} seem to have {ratio * s:.3g} ({ratio:.2f} of it, where {1 / APART:.2f} to"
                f" {APART:.2f} is fine): measure their noise again"
            )
    if found.gradient_share and max(found.gradient_share) > LARGEST_SHARE:
        quarter = ("lowest", "second", "third", "highest")[int(np.argmax(found.gradient_share))]
        said.append(
            f"unstable: the {quarter} quarter of the levels makes {max(found.gradient_share):.0%} of the gradient (more than"
            f" {LARGEST_SHARE:.0%}); look for images of extreme sigma or wrong range, or narrow the levels (--level-mean, --level-std)"
        )
    if found.memorised is not None and found.memorised > MEMORISED:
        said.append(
            f"it memorises its clean images: the risk on others is {found.memorised:.1f} times theirs (more than {MEMORISED:.0f}); stop"
            " here, or add images, clean or noisy"
        )
    return said


def _some(data: Dataset, most: int) -> NDArray[np.float32]:
    return data.read(np.unique(np.linspace(0, len(data) - 1, min(len(data), most)).astype(int)) if len(data) else np.arange(0))


@torch.no_grad()
def _generate(trainer: Trainer) -> NDArray[np.float32]:
    """The same starting noise every time, so that sheets can be compared."""
    ids = torch.arange(_GENERATED, device=trainer.accelerator.device)
    config = SamplerConfig(steps=_STEPS)
    made = sample(trainer.averaged, ids, trainer.data.shape, config=config, trained_from=trainer.law.trained_from, seed=_SEED)
    return made.float().cpu().numpy()


def _distinct(made: NDArray[np.float32]) -> float:
    """See the module's docstring; at most the number of pairs."""
    flat = made.reshape(len(made), -1).astype(np.float64)
    squares = (flat**2).sum(1)
    squared = np.maximum(squares[:, None] + squares[None] - 2 * flat @ flat.T, 0)[np.triu_indices(len(flat), 1)]
    return len(squared) / max(1, int((squared < _SAME * squared.mean()).sum()))


@torch.no_grad()
def _calibration(trainer: Trainer, clean: NDArray[np.float32] | None) -> tuple[list[float], list[float]]:
    """Groups of noisy images by their sigma, and the noise found in each over the declared one."""
    data, device = trainer.data, trainer.accelerator.device
    levels = [float(s) for s in group_sigmas(data.sigma)[0] if s > 0]
    if clean is None or not levels:
        return [], []
    chosen = [levels[i] for i in np.unique(np.linspace(0, len(levels) - 1, min(len(levels), _GROUPS)).astype(int))]
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
    device, law = trainer.accelerator.device, trainer.law
    ids = torch.arange(4 * _IMAGES) + (1 << 50)  # slots that training never comes to
    pairs = law.draw(trainer.config.seed, ids)
    order = torch.argsort(pairs.sigma)
    parameters = [p for p in trainer.denoiser.parameters() if p.requires_grad]
    losses, squares = [], []
    most = max(1, trainer.config.batch // trainer.accelerator.num_processes // trainer.config.accumulate)  # what memory holds
    for quarter in order.tensor_split(4):
        rows = quarter[~pairs.imputed[quarter]][:most]  # what is imputed has no pixels here
        if not len(rows):
            losses.append(0.0)
            squares.append(0.0)
            continue
        y = torch.from_numpy(trainer.data.read(pairs.index[rows].numpy())).to(device)
        s, sigma = law.s[pairs.index[rows]].to(device), pairs.sigma[rows].to(device)
        noise = normal(trainer.config.seed, Stream.NOISE, ids[rows].to(device), trainer.data.shape)
        with trainer.accelerator.autocast():
            if trainer.config.objective == "published":
                loss = published_loss(trainer.denoiser, y, s, sigma, noise, trainer.sigma_data).weighted
            else:
                x_sigma, target = ambient_pair(y, s, sigma, noise)
                weight = pairs.weight[rows].to(device)
                loss = regression_loss(trainer.denoiser, x_sigma, target, sigma, trainer.sigma_data, weight).weighted
        scaled = loss.mean() * float((~pairs.imputed[quarter]).double().mean())  # imputed pairs are there, but not looked at
        gradients: tuple[Tensor, ...] = torch.autograd.grad(scaled, parameters, allow_unused=True)
        losses.append(float(loss.detach().mean()))
        squares.append(sum(float(g.double().square().sum()) for g in gradients if g is not None))
    total = sum(squares)
    return losses, [square / total if total > 0 else 0.0 for square in squares]


def _memorised(trainer: Trainer, held: NDArray[np.float32], clean: NDArray[np.float32] | None) -> float | None:
    if clean is None:
        return None
    device = trainer.accelerator.device
    others, own = (np.array(denoising_risk(trainer.averaged, images, _LOW_LEVELS, device=device).risk) for images in (held, clean))
    return float(np.exp(np.log(others / own).mean()))
