"""From which noise level on damaged images cannot be told from clean ones.

A small network is trained to tell clean images from damaged ones (blurred, compressed, anything) to which the same noise was
added, at all levels. Where it cannot, a damaged image with that noise serves as well as a clean one with it: training can use
it from that level up (Daras et al., "Ambient Diffusion Omni", arXiv 2506.10038). Each image is judged by a network that has
not seen it.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from noiseworth.rng import Stream, normal, uniform

FOLDS = 4
LEVELS = 24  # at which images are judged
_STEPS, _BATCH, _WIDTH, _RATE = 800, 128, 32, 3e-3
_DRAWS = 8  # of noise, for each image and level
_CHUNK = 512


class _Judge(nn.Module):
    """The logit that images (B, C, H, W) with noise of levels (B,) are clean ones with that noise."""

    def __init__(self, channels: int, spread: float) -> None:
        super().__init__()
        self.spread = spread
        self.body = nn.Sequential(
            nn.Conv2d(channels + 1, _WIDTH, 3, padding=1), nn.SiLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.SiLU(),
            nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, stride=2, padding=1), nn.SiLU(),
            nn.Conv2d(2 * _WIDTH, 2 * _WIDTH, 3, stride=2, padding=1), nn.SiLU(),
        )  # fmt: skip
        self.head = nn.Linear(4 * _WIDTH, 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale = (level**2 + self.spread**2).rsqrt().reshape(-1, 1, 1, 1)
        known = (level.log() / 4).reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        features = self.body(torch.cat([x * scale, known], 1)).flatten(2)
        logit: Tensor = self.head(
            torch.cat([features.mean(2), features.square().mean(2).add(1e-6).sqrt()], 1)
        )
        return logit[:, 0]


def judge(
    clean: Tensor, damaged: Tensor, levels: NDArray[np.float64], seed: int, advance: Callable[[float], object]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How clean images seem at each level: the probability, where as many are clean as damaged.

    Args:
        clean: (N, C, H, W) in model units.
        damaged: (M, C, H, W).
        levels: (K,) rising.
        seed: of the noise and of the networks.
        advance: called with the share of the work that was done.

    Returns:
        (N, K) of the clean images and (M, K) of the damaged ones, each by a network that has not seen the image.
    """
    spread = float(clean.std())
    scores = [np.zeros((len(images), len(levels))) for images in (clean, damaged)]
    for fold in range(FOLDS):
        known = [images[torch.arange(len(images)) % FOLDS != fold] for images in (clean, damaged)]
        network = _trained(known, spread, levels, seed * FOLDS + fold, lambda: advance(1 / (FOLDS * _STEPS)))
        for number, images in enumerate((clean, damaged)):
            rows = torch.arange(len(images))[torch.arange(len(images)) % FOLDS == fold]
            for column, level in enumerate(levels):
                for some in torch.split(rows, _CHUNK):
                    ids = some + (((number * LEVELS + column) * 2 + 1) << 40)
                    scores[number][some.numpy(), column] = _score(
                        network, images[some], float(level), ids, seed
                    )
    return scores[0], scores[1]


def _trained(
    known: list[Tensor], spread: float, levels: NDArray[np.float64], seed: int, advance: Callable[[], object]
) -> _Judge:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Judge(known[0].shape[1], spread)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-2)
    low, high = float(np.log(levels[0])), float(np.log(levels[-1]))
    is_clean = (torch.arange(_BATCH) % 2 == 0).float()
    for step in range(_STEPS):
        ids = torch.arange(_BATCH) + step * _BATCH
        u = uniform(seed, Stream.TELL, ids, 2)
        pick = [images[(u[:, 0] * len(images)).long()] for images in known]
        x = torch.where(is_clean.reshape(-1, 1, 1, 1) > 0, pick[0], pick[1])
        level = torch.exp(low + (high - low) * u[:, 1]).float()
        noisy = x + level.reshape(-1, 1, 1, 1) * normal(seed, Stream.TELL, ids + (1 << 40), x.shape[1:])
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - step / _STEPS)
        optimizer.zero_grad(set_to_none=True)
        loss = binary_cross_entropy_with_logits(network(noisy, level), is_clean)
        torch.autograd.backward(loss)
        optimizer.step()
        advance()
    return network.eval()


@torch.no_grad()
def _score(network: _Judge, x: Tensor, level: float, ids: Tensor, seed: int) -> NDArray[np.float64]:
    levels, total = torch.full((len(x),), level), torch.zeros(len(x))
    for draw in range(_DRAWS):
        noise = normal(seed, Stream.TELL, ids + (draw << 32), x.shape[1:])
        total += torch.sigmoid(network(x + level * noise, levels))
    mean: NDArray[np.float64] = (total / _DRAWS).double().numpy()
    return mean


def least_levels(
    seems_clean: NDArray[np.float64], levels: NDArray[np.float64], hidden: float
) -> NDArray[np.float64]:
    """(M,) the least level from which on an image seems as clean as clean ones; infinite if at none.

    Args:
        seems_clean: (M, K), as `judge` returns it; rises with the level to one half.
        levels: (K,).
        hidden: the probability from which on it does.
    """
    shown = seems_clean < hidden
    last = len(levels) - 1 - np.argmax(shown[:, ::-1], axis=1)  # the highest level at which it shows
    above = np.append(levels, np.inf)[last + 1]
    least: NDArray[np.float64] = np.where(shown.any(axis=1), above, levels[0])
    return least


def level_that_hides_all(
    of_clean: NDArray[np.float64], of_damaged: NDArray[np.float64], levels: NDArray[np.float64], chance: float
) -> float:
    """The least level from which on the networks surely tell clean and damaged images apart hardly more often than by chance.

    An image's own probability scatters about one half there, and says nothing of the image. Sure is a one-sided 95% interval:
    of few images no level hides all, but for what each of them says.

    Args:
        of_clean, of_damaged: (N, K) and (M, K), as `judge` returns them.
        levels: (K,) rising.
        chance: share of right answers, both kinds counting alike, that is as good as chance.

    Returns:
        A level, infinite if it is none.
    """
    right = ((of_clean >= 0.5).mean(0) + (of_damaged < 0.5).mean(0)) / 2
    error = 0.25 * np.sqrt(1 / len(of_clean) + 1 / len(of_damaged))
    shown = np.flatnonzero(right + 1.64 * error >= chance)
    first = shown[-1] + 1 if len(shown) else 0
    return float(np.append(levels, np.inf)[first])
