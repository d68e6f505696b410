"""The training loop: a generator of step records.

Every draw is a function of (seed, images seen, slot): slot `j` of the step that begins at `n` images draws with id `n + j`. There is no
loader state, so the same command goes on after any interruption to the same weights, and any number of processes sees the
same images in the same order; each takes its share of the slots.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from noiseworth.data.augment import augment
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.loader import read_ahead
from noiseworth.data.storage import is_address
from noiseworth.diffusion.by_image import ByImage
from noiseworth.diffusion.levels import LogNormalLevels
from noiseworth.diffusion.objective import Loss, ambient_pair, regression_loss
from noiseworth.diffusion.pairs import PairLaw, Pairs
from noiseworth.diffusion.precondition import PreconditionedDenoiser
from noiseworth.diffusion.published import PublishedLaw, published_loss
from noiseworth.diffusion.worth import PosteriorVariance, spectrum
from noiseworth.errors import UserError
from noiseworth.records import StepRecord
from noiseworth.tensors import Stream, normal, uniform
from noiseworth.train import checkpoint
from noiseworth.train.below import Below
from noiseworth.train.config import TrainConfig
from noiseworth.train.ema import Ema
from noiseworth.train.run import check_data, load_weights, make_denoiser

_SPECTRUM_IMAGES = 10_000
_HIDDEN_LABELS = 0.1  # share of the images (Ho and Salimans, arXiv 2207.12598)
_REFRESH_STEPS = 64  # steps between updates of v, and so of the law of the pairs


class Trainer:
    """All that a run is between two steps.

    Attributes:
        config: the settings.
        step: optimiser steps done.
        n_images: images seen.
        ema: the averaged denoiser.
        law: the law of the training pairs.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision="bf16" if config.precision == "bf16" else "no")
        if config.batch % self.accelerator.num_processes:
            raise UserError(f"--batch {config.batch}: is not a multiple of the {self.accelerator.num_processes} processes")
        whole = open_dataset(config.data)
        if config.augment == "turns" and whole.shape[1] != whole.shape[2]:
            raise UserError(f"--augment turns: needs square images, {config.data} has {whole.shape[2]}x{whole.shape[1]}; use flip")
        whole.require_known_sigma()
        self.data: Dataset = whole.use(config.use)
        self.step = self.n_images = 0
        self.seconds = 0.0
        self._began = monotonic()
        some = np.unique(np.linspace(0, len(self.data) - 1, min(len(self.data), _SPECTRUM_IMAGES)).astype(np.int64))
        eigenvalues, self.sigma_data = spectrum(torch.from_numpy(self.data.read(some)), torch.from_numpy(self.data.sigma[some]))
        self.v = PosteriorVariance(eigenvalues)
        s, levels = torch.from_numpy(self.data.sigma), LogNormalLevels(*config.levels)
        self.law: PairLaw | PublishedLaw
        if config.objective == "published":
            self.law = PublishedLaw(s, levels)
        else:
            self.law = PairLaw(s, levels, self.v, views=config.views)
        self.labels = self._labels()
        self.classes = 0 if self.labels is None else int(self.labels.max()) + 1
        denoiser = make_denoiser(config, self.data.shape[0], self.classes, self.sigma_data)
        self.ema = Ema(denoiser, config.ema)
        self.ema.module.to(self.accelerator.device)
        optimizer = torch.optim.Adam(denoiser.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True)
        self.model, self.optimizer = self.accelerator.prepare(denoiser, optimizer)
        # Images that lie far away are drawn part by part, the image before its level.
        self._draw = self.law.draw
        if is_address(config.data) and isinstance(self.law, PairLaw):
            self._draw = ByImage(self.law, torch.from_numpy(self.data.part_of(np.arange(len(self.data))))).draw
        self._ahead: Iterator[tuple[Pairs, Tensor]] = iter(())
        self._ahead_law = 0
        self.below = Below(config, self.data, self.law, self.averaged, self.labels, self.accelerator.device)

    def _labels(self) -> Tensor | None:
        """The class of each image (N,), if the model is to be conditioned on it."""
        if not self.config.labels:
            return None
        if self.data.labels is None:
            raise UserError(f"{self.config.data}: has no labels; leave out --labels, or pack it again with them")
        return torch.from_numpy(self.data.labels)

    @property
    def denoiser(self) -> PreconditionedDenoiser:
        """The denoiser being trained, as it is now (not averaged)."""
        module: PreconditionedDenoiser = self.accelerator.unwrap_model(self.model)
        return module

    def steps(self) -> Iterator[StepRecord]:
        """Train to the end, yielding a record after each step.

        Raises:
            UserError: the loss or the gradient is not finite; the weights are those before the step.
        """
        self.model.train()
        while self.step < self.config.steps:
            yield self._step()

    def _step(self) -> StepRecord:
        config, device = self.config, self.accelerator.device
        share = config.batch // self.accelerator.num_processes
        self.below.prepare(self.n_images)
        first = self.n_images + self.accelerator.process_index * share
        ids = torch.arange(first, first + share)
        pairs, images = self._next_pairs(ids)
        rate = config.learning_rate(self.n_images)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, s = self._loss(pairs, images, ids)
        mean = loss.weighted.mean()
        self.optimizer.zero_grad()
        self.accelerator.backward(mean)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip)
        whole, observed = self._over_processes(mean, torch.stack([pairs.sigma.to(device), s, loss.residual.to(torch.float64)], dim=1))
        if not (np.isfinite(whole) and bool(torch.isfinite(norm))):
            worst = int(torch.nan_to_num(loss.weighted.detach(), nan=torch.inf).argmax())
            raise UserError(
                f"{config.out}: loss {whole:.4g}, gradient norm {float(norm):.4g} at step {self.step + 1} (worst: image"
                f" {self.data.ids[pairs.index[worst]]}, sigma {float(s[worst]):.4g}, level {float(pairs.sigma[worst]):.4g}); not taken:"
                " lower --lr or look at that image"
            )
        self.optimizer.step()
        self.step += 1
        self.n_images += config.batch
        self.ema.update(self.denoiser, self.n_images, config.batch)
        self.v.observe(*observed.unbind(1))
        if self.step % _REFRESH_STEPS == 0:
            self.v.refresh()
            self.law.refresh(self.n_images)
        return StepRecord(self.step, self.n_images, whole, float(norm), rate, round(self.elapsed(), 3))

    def _next_pairs(self, ids: Tensor) -> tuple[Pairs, Tensor]:
        """The pairs of the slots `ids`, and their images. Pairs are drawn for all steps up to the law's next change at once, which
        costs less, and their images are read while earlier steps are taken."""
        if self._ahead_law == self.law.version:
            found = next(self._ahead, None)
            if found is not None:
                return found
        count = min(_REFRESH_STEPS - self.step % _REFRESH_STEPS, self.config.steps - self.step)
        many = self._draw(self.config.seed, torch.cat([ids + step * self.config.batch for step in range(count)]))
        self._ahead = read_ahead(self._with_images, many.split(len(ids)))
        self._ahead_law = self.law.version
        return next(self._ahead)

    def _with_images(self, pairs: Pairs) -> tuple[Pairs, Tensor]:
        return pairs, torch.from_numpy(self.data.read(pairs.index.numpy()))

    def _loss(self, pairs: Pairs, images: Tensor, ids: Tensor) -> tuple[Loss, Tensor]:
        """The loss of a batch, and the noise (B,) of its images; NaN where a residual says nothing about v."""
        config, device = self.config, self.accelerator.device
        y = images.to(device)
        s, sigma = self.law.s[pairs.index].to(device), pairs.sigma.to(device)
        noise = normal(config.seed, Stream.NOISE, ids.to(device), self.data.shape)
        model = self.model
        if self.labels is not None:
            hidden = uniform(config.seed, Stream.LABEL, ids, 1)[:, 0] < _HIDDEN_LABELS
            model = partial(model, labels=torch.where(hidden, self.classes, self.labels[pairs.index]).to(device))
        if config.objective == "published":
            y = augment([y], config.augment, ids, config.seed)[0]
            return published_loss(model, y, s, sigma, noise, self.sigma_data), s
        x_sigma, target = self.below.replace(pairs, y, s, noise, ids) if bool(pairs.imputed.any()) else ambient_pair(y, s, sigma, noise)
        x_sigma, target = augment([x_sigma, target], config.augment, ids, config.seed)
        return regression_loss(model, x_sigma, target, sigma, self.sigma_data, pairs.weight.to(device)), s

    def averaged(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """The averaged denoiser, in the precision of the run."""
        with self.accelerator.autocast():
            output: Tensor = self.ema.module(x, sigma, labels)
        return output

    def _over_processes(self, mean: Tensor, rows: Tensor) -> tuple[float, Tensor]:
        """The loss averaged, and the rows of all processes in the order of their slots."""
        if self.accelerator.num_processes > 1:
            mean, rows = self.accelerator.reduce(mean.detach(), "mean"), self.accelerator.gather(rows)
        return float(mean.detach()), rows

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set in any process, so that all act on it at the same step."""
        if self.accelerator.num_processes == 1:
            return flag
        return bool(self.accelerator.reduce(torch.tensor(float(flag), device=self.accelerator.device), "sum") > 0)

    def elapsed(self) -> float:
        """Seconds of training, those before interruptions included."""
        return self.seconds + monotonic() - self._began

    def state(self) -> checkpoint.State:
        """What a checkpoint says of the run (hashes are filled in when it is written)."""
        record = self.data.record
        return checkpoint.State(
            step=self.step,
            n_images=self.n_images,
            seconds=self.elapsed(),
            sigma_data=self.sigma_data,
            shape=self.data.shape,
            offset=record.offset,
            scale=record.scale,
            classes=self.classes,
            data_fingerprint=record.fingerprint,
            trained_from=self.law.trained_from,
            posterior_variance=self.v.state(),
            law_refreshed_at=self.law.refreshed_at,
            sha256={},
        )

    def save(self) -> None:
        """Write a checkpoint (the main process alone does)."""
        if self.accelerator.is_main_process:
            groups = {
                "model": self.denoiser.state_dict(),
                "ema": self.ema.module.state_dict(),
                "optimizer": checkpoint.pack_optimizer(self.optimizer.optimizer),
                "below": self.below.state(),
            }
            checkpoint.save(Path(self.config.out) / "checkpoints", self.state(), groups)
        self.accelerator.wait_for_everyone()

    def restore(self) -> list[str]:
        """Go on from the newest whole checkpoint, if there is one; returns a line on each damaged one that was passed over.

        Raises:
            UserError: no checkpoint is whole, or the data set is not the one that the run began with.
        """
        found = checkpoint.load_newest(Path(self.config.out) / "checkpoints")
        if found is None:
            return []
        state, tensors, damaged = found
        check_data(self.config, state.data_fingerprint)
        load_weights(self.denoiser, tensors["model"])
        load_weights(self.ema.module, tensors["ema"])  # type: ignore[arg-type]
        checkpoint.unpack_optimizer(self.optimizer.optimizer, tensors["optimizer"])
        self.v.load_state(state.posterior_variance)
        self.below.load_state(tensors["below"])
        self.step, self.n_images, self.seconds = state.step, state.n_images, state.seconds
        self.law.refresh(state.law_refreshed_at)
        self._began = monotonic()
        return damaged
