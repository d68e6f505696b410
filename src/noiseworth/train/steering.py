"""Steering by clean images that are not trained on: what the model knows by heart, and which average of its weights is the best.

Every few thousand images the averaged model's risk is measured on some held-out clean images, and on some that are trained on. Their
ratio says what is known by heart (`diffusion/memorisation.py`), which decides what is trained on next; the average of the least risk is
kept. Both are functions of the images seen, so a run that was interrupted goes on as if it had not been.
"""

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from noiseworth.data.dataset import Dataset
from noiseworth.diffusion.memorisation import LEVELS, Memorisation
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.evaluate.risk import denoising_risk

_IMAGES = 32  # at most, of each kind: 5 levels of both cost as much as training on a hundred images
_EVERY = 2048  # images seen between measurements, at least; later an eighth to a sixteenth of those seen


class Steering:
    """What is measured on the way, and the best average so far.

    Args:
        data: the images that are trained on.
        held_out: images that are not, or None; noisy ones steer nothing.
        memorisation: is told what is measured, if there are clean training images.

    Attributes:
        risk: the latest, the mean over levels of the risk on held-out images, over sigma^2; None before the first.
        best_risk: the least.
        best_at: images seen then.
        best: the averaged weights of then.
    """

    def __init__(self, data: Dataset, held_out: Dataset | None, memorisation: Memorisation) -> None:
        self.memorisation = memorisation
        self._held_out: NDArray[np.float32] | None = None
        self._own: NDArray[np.float32] | None = None
        if held_out is not None and held_out.is_clean.all() and len(held_out) > 1:
            self._held_out = _some(held_out)
            clean = data.select(data.is_clean)
            self._own = _some(clean) if len(clean) > 1 else None
        self.risk: float | None = None
        self.best_risk: float | None = None
        self.best_at = 0
        self.best: dict[str, Tensor] = {}

    def is_due(self, n_images: int, batch: int, is_last: bool) -> bool:
        """Whether to measure after a step of `batch` images, `n_images` having been seen with it."""
        every = max(_EVERY, 1 << max(n_images.bit_length() - 4, 0))
        passed = n_images // every > (n_images - batch) // every
        return self._held_out is not None and (passed or is_last)

    def measure(
        self, averaged: Denoiser, weights: nn.Module, n_images: int, accelerator: Accelerator, is_last: bool
    ) -> None:
        """Measure, and keep the weights if they are the best.

        Args:
            averaged: the averaged denoiser.
            weights: of it.
            n_images: images seen.
            accelerator: the processes that train together; all of them measure the same.
            is_last: at the end of a training only the best is looked for, so that one that is made longer goes on as it would have.
        """
        device = next(weights.parameters()).device

        def risks(images: NDArray[np.float32]) -> Tensor:
            risk = torch.tensor(denoising_risk(averaged, images, LEVELS, device=device).risk)
            if accelerator.num_processes > 1:  # the mean, so that all processes go on from the same numbers
                risk = accelerator.reduce(risk.float().to(device), "mean").cpu()
            return risk

        if self._held_out is None:
            raise AssertionError("there is nothing to measure with")
        held_out = risks(self._held_out)
        if self._own is not None and not is_last:
            self.memorisation.observe(held_out, risks(self._own))
        self.risk = float((held_out / torch.tensor(LEVELS) ** 2).mean())
        if self.best_risk is None or self.risk <= self.best_risk:
            self.best_risk, self.best_at = self.risk, n_images
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in weights.state_dict().items()}

    def state(self) -> dict[str, list[float]]:
        """What a checkpoint keeps as numbers; the best weights are a group of their own."""
        state = {"memorisation": self.memorisation.state()}
        if self.risk is not None and self.best_risk is not None:
            state["risks"] = [self.risk, self.best_risk, float(self.best_at)]
        return state

    def load_state(self, state: dict[str, list[float]], best: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.memorisation.load_state(state.get("memorisation", []))
        if state.get("risks"):
            self.risk, self.best_risk, best_at = state["risks"]
            self.best_at, self.best = int(best_at), best

    def passed_by(self) -> bool:
        """Whether the latest measurement was not the best."""
        return self.risk is not None and self.best_risk is not None and self.risk > self.best_risk


def _some(images: Dataset) -> NDArray[np.float32]:
    """At most so many images (N, C, H, W), evenly spread."""
    return images.read(np.unique(np.linspace(0, len(images) - 1, min(len(images), _IMAGES)).astype(np.int64)))
