"""Averages of the weights over training.

*Exponential*, with half-lives in images (arXiv 2206.00364, appendix F; ramp as in EDM's training); several at
once, if wanted.

*Power functions* (Karras et al., arXiv 2312.02696, section 3.1 and appendix C), whose width can be chosen
after training. After `t` images the average is

    theta_gamma(t) = (gamma + 1) / t^(gamma + 1)  integral_0^t  tau^gamma theta(tau) d tau

of relative width `sigma_rel = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3))`. Two of them are tracked and
saved now and then; any other is the linear combination of what was saved whose weighting of `theta(tau)` is
nearest to the wanted one.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from noiseworth.errors import UserError

_RAMP = 0.1  # the half-life is at most this share of the images seen, so that the initial weights are soon forgotten
SNAPSHOTS = "ema"  # folder of a run


class Ema:
    """An average of a module's weights.

    Args:
        module: whose weights are averaged, wherever it is moved and however it is trained.
        half_life: in images.

    Attributes:
        module: a copy of the module that holds the average; evaluate and sample with it.
    """

    def __init__(self, module: nn.Module, half_life: int) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._move = _mover(self.module, module)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, n_images: int, batch: int) -> None:
        """Take in the weights after a step of `batch` images, `n_images` having been seen with it."""
        keep = 0.5 ** (batch / min(self.half_life, n_images * _RAMP))
        self._move(1 - keep)


class PowerEma:
    """A power-function average. `sigma_rel` is its width as a share of the training so far."""

    def __init__(self, module: nn.Module, sigma_rel: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._move = _mover(self.module, module)
        self.sigma_rel, self.gamma = sigma_rel, gamma_of(sigma_rel)

    @torch.no_grad()
    def update(self, n_images: int, batch: int) -> None:
        """As `Ema.update`: the integral's exact step from `n_images - batch` to `n_images`."""
        self._move(1 - (1 - batch / n_images) ** (self.gamma + 1))


def further_averages(
    module: nn.Module, half_lives: Sequence[int], widths: Sequence[float]
) -> "dict[str, Ema | PowerEma]":
    """Averages beside the one that sampling uses, by the names that a checkpoint gives them."""
    averages: dict[str, Ema | PowerEma] = {
        f"ema-{half_life}": Ema(module, half_life) for half_life in half_lives
    }
    return averages | {f"power-{width!r}": PowerEma(module, width) for width in widths}


def gamma_of(sigma_rel: float) -> float:
    """The exponent of a relative width (arXiv 2312.02696, equation 123: the real root above 0).

    Raises:
        UserError: no exponent of 0 or more has this width.
    """
    if not 0 < sigma_rel <= 12**-0.5 + 1e-12:
        raise UserError(
            f"a power-function average has a relative width above 0 and at most {12**-0.5:.3f}, not"
            f" {sigma_rel:g}"
        )
    roots = np.roots([1, 7, 16 - sigma_rel**-2, 12 - sigma_rel**-2])
    return max(float(roots.real.max()), 0.0)


def coefficients(saved: Sequence[tuple[float, float]], wanted: tuple[float, float]) -> np.ndarray:
    """Weights (N,) of saved averages (gamma, t) whose sum is nearest to the wanted one, in the squared difference of profiles.

    The inner product of two profiles is `(a + 1)(b + 1) min^(a + b + 1) / ((a + b + 1) s^(a + 1) t^(b +
    1))`, with `min(s, t)`.
    """

    longest = max(t for _, t in [*saved, wanted])

    def inner(p: tuple[float, float], q: tuple[float, float]) -> float:
        (a, s), (b, t) = (p[0], p[1] / longest), (q[0], q[1] / longest)
        log = (a + b + 1) * math.log(min(s, t)) - (a + 1) * math.log(s) - (b + 1) * math.log(t)
        return (a + 1) * (b + 1) / (a + b + 1) * math.exp(log)

    matrix = np.array([[inner(p, q) for q in saved] for p in saved])
    right = np.array([inner(p, wanted) for p in saved])
    unit = np.sqrt(np.diag(matrix))  # of each profile, so that the matrix is as well conditioned as it can be
    solution: np.ndarray = np.linalg.lstsq(matrix / np.outer(unit, unit), right / unit, rcond=1e-13)[0] / unit
    return solution


def combine(
    snapshots: Mapping[tuple[float, float], Path], sigma_rel: float, n_images: float
) -> dict[str, Tensor]:
    """The weights of the average of width `sigma_rel` at `n_images`, from saved ones (gamma, images seen) -> file.

    Raises:
        UserError: fewer than two were saved by then.
    """
    from safetensors.torch import load_file

    keys = sorted(key for key in snapshots if key[1] <= n_images)
    if len(keys) < 2:
        remedy = "train with --power-ema [0.05,0.1] and a shorter --checkpoint-every"
        raise UserError(f"only {len(keys)} averages were saved by {n_images:,.0f} images; {remedy}")
    total: dict[str, Tensor] = {}
    for weight, key in zip(coefficients(keys, (gamma_of(sigma_rel), n_images)), keys, strict=True):
        for name, value in load_file(snapshots[key]).items():
            part = float(weight) * value.double()
            total[name] = total[name] + part if name in total else part
    return {name: value.float() for name, value in total.items()}


def snapshot_name(n_images: int, sigma_rel: float) -> str:
    """File of an average in a run's folder of snapshots."""
    return f"{n_images:012d}-{sigma_rel!r}.safetensors"


def find_snapshots(run: Path) -> dict[tuple[float, float], Path]:
    """(gamma, images seen) -> file."""
    snapshots = {}
    for path in sorted((run / SNAPSHOTS).glob("*-*.safetensors")):
        images, width = path.stem.split("-", 1)
        snapshots[gamma_of(float(width)), float(images)] = path
    return snapshots


def _mover(mine: nn.Module, other: nn.Module) -> Callable[[float], None]:
    """What moves the weights of one module a share of the way to those of another. The weights are looked up once: to look at each
    step cost as much as the average itself."""
    tensors: list[Tensor] = list(mine.parameters())
    targets: list[Tensor] = list(other.parameters())

    def move(share: float) -> None:
        torch._foreach_lerp_(tensors, targets, share)

    return move
