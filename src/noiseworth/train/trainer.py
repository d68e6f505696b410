"""The training loop: a generator of step records.

Every draw is a function of (seed, images seen, slot): slot `j` of the step that begins at `n` images draws
with id `n + j`. There is no loader state, so the same command goes on after any interruption to the same
weights, and any number of processes sees the same images in the same order; each takes its share of the
slots.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noiseworth.data.augment import augment
from noiseworth.diffusion.objective import Loss, ambient_pair, regression_loss
from noiseworth.diffusion.pairs import Pairs
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.published import published_loss
from noiseworth.errors import UserError
from noiseworth.records import StepRecord
from noiseworth.rng import Stream, uniform
from noiseworth.train import checkpoint
from noiseworth.train.choices import Trial, settle, try_out
from noiseworth.train.config import TrainConfig
from noiseworth.train.devices import connect, over_processes, require_one_directory
from noiseworth.train.ema import SNAPSHOTS, Ema, further_averages
from noiseworth.train.guards import SpikeDetector, be_deterministic, memory_advice
from noiseworth.train.imputation import Imputation
from noiseworth.train.model import load_weights, make_denoiser, make_optimizer
from noiseworth.train.pairing import make_pairing
from noiseworth.train.prefetch import NoiseAhead, Prefetcher
from noiseworth.train.run_directory import check_data
from noiseworth.train.saving import save_trainer
from noiseworth.train.start import open_start, put_weights
from noiseworth.train.steering import Steering
from noiseworth.train.training_data import open_training_data

_HIDDEN_LABELS = 0.1  # share of the images (Ho and Salimans, arXiv 2207.12598)
_REFRESH_STEPS = 64  # steps between updates of v, and so of the pair sampler


class Trainer:
    """All that a run is between two steps.

    Attributes:
        config: the settings, with what they left open decided (`train/choices.py`).
        accelerator: the processes that train together.
        device: of this process.
        data: the images that are trained on; `held_out` are clean images that are not, or None.
        step: optimiser steps done.
        n_images: images seen.
        v: `v(sigma)`, the posterior variance of a clean pixel.
        trial: what was timed before, or None where several processes train.
        start: the run that it begins from, if not at random weights.
        pair_sampler: draws the training pairs.
        denoiser: the network that is trained; `model` is the same, prepared for the device and the processes.
        ema: the averaged denoiser; `averages` are all averages, by the names that a checkpoint gives them.
        structure: noise that is not white, or None.
        imputation: what noisy images teach below their own noise.
        steering: what held-out images say on the way.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.accelerator, self.device = connect(config)
        if self.device.type == "cuda":
            be_deterministic()
        self.step = self.n_images = 0
        self.seconds = 0.0
        self._began = monotonic()
        opened = open_training_data(config)
        self.data, self.held_out, self.labels = opened.data, opened.held_out, opened.labels
        self.config = config = settle(config, self.data.shape, len(self.data), self.device)
        self.classes = opened.classes
        pairing = make_pairing(config, self.data)
        self.structure, self.sigma_data, self.v = pairing.structure, pairing.sigma_data, pairing.v
        self.pair_sampler = pairing.pair_sampler
        self._make_model()
        self.start = open_start(config, self.denoiser)
        self.prefetcher = Prefetcher(self.data, self.pair_sampler, config.seed, self.device)
        self.noise = NoiseAhead(config.seed, self.data.shape, self.device)
        self.spikes = SpikeDetector()
        self.imputation = Imputation(
            config, self.data, self.pair_sampler, self.averaged, self.labels, self.device, self.structure
        )
        self.steering = Steering(self.data, self.held_out, pairing.memorisation)

    @property
    def micro_batch(self) -> int:
        """Images that one process takes through the network at once."""
        shares: int = self.accelerator.num_processes * self.config.accumulate
        return self.config.batch // shares

    def autocast(self) -> torch.autocast:
        """A context in which the network computes in the precision of the run."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def _make_model(self) -> None:
        """The denoiser, its averages and its optimiser, on the device."""
        config, device = self.config, self.device
        self.denoiser = make_denoiser(config, self.data.shape, self.classes, self.sigma_data)
        self.denoiser.to(device)
        self.trial: Trial | None = None
        compile, channels_last = bool(config.compile), bool(config.channels_last)
        if self.accelerator.num_processes == 1:
            with memory_advice(config.out, config.batch, config.accumulate):
                self.trial = try_out(self.denoiser, self.data.shape, config, device, self.autocast)
            compile, channels_last = self.trial.compile, self.trial.channels_last
        self.config = config = replace(config, compile=compile, channels_last=channels_last)
        if config.channels_last:
            self.denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = Ema(self.denoiser, config.ema)
        self.averages = {
            "ema": self.ema,
            **further_averages(self.denoiser, config.more_ema, config.power_ema),
        }
        for average in self.averages.values():
            average.module.to(device)
        model: nn.Module = self.denoiser
        if config.compile:
            model = torch.compile(self.denoiser)  # type: ignore[assignment]
        # The processes share gradients, so the optimizer need not know of them.
        self.model, self.optimizer = self.accelerator.prepare(model), make_optimizer(config, self.denoiser)
        self._parameters = [p for p in self.denoiser.parameters() if p.requires_grad]

    def steps(self) -> Iterator[StepRecord]:
        """Train to the end, yielding a record after each step.

        Raises:
            UserError: the loss or the gradient is not finite; the weights are those before the step.
        """
        self.model.train()
        while self.step < self.config.steps:
            yield self._step()

    def _step(self) -> StepRecord:
        config = self.config
        share = self.micro_batch * config.accumulate
        self.imputation.prepare(self.n_images)
        first = self.n_images + self.accelerator.process_index * share
        ids = torch.arange(first, first + share)
        left = min(_REFRESH_STEPS - self.step % _REFRESH_STEPS, config.steps - self.step)
        pairs, images = self.prefetcher.next(ids, config.batch, left)
        noise = self.noise.next(ids, config.batch)
        rate = config.learning_rate(self.n_images)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for p in self._parameters:
            p.grad = None
        with memory_advice(config.out, config.batch, config.accumulate):
            losses, rows = self._gradient(pairs, images, noise, ids)
        norm = nn.utils.clip_grad_norm_(self._parameters, config.clip)
        whole, observed = over_processes(self.accelerator, losses.mean(), rows)
        if not (np.isfinite(whole) and bool(torch.isfinite(norm))):
            worst = int(torch.nan_to_num(losses, nan=torch.inf).argmax())
            image, s = self.data.ids[pairs.index[worst]], float(self.pair_sampler.s[pairs.index[worst]])
            raise UserError(
                f"{config.out}: loss {whole:.4g}, gradient norm {float(norm):.4g} at step {self.step + 1}"
                f" (worst: image {image}, sigma {s:.4g}, level {float(pairs.sigma[worst]):.4g}); the step"
                " was not taken: lower --lr, or inspect that image"
            )
        self.optimizer.step()
        self.step += 1
        self.n_images += config.batch
        for average in self.averages.values():
            average.update(self.n_images, config.batch)
        self.v.observe(*observed.unbind(1))
        if self.step % _REFRESH_STEPS == 0:
            self.v.refresh()
            self.pair_sampler.refresh(self.n_images)
        self._steer()
        spike = [int(i) for i in self.data.ids[pairs.index.numpy()]] if self.spikes.note(whole) else None
        return StepRecord(self.step, self.n_images, whole, float(norm), rate, round(self.elapsed(), 3), spike)

    def _steer(self) -> None:
        is_last = self.step == self.config.steps
        if self.steering.is_due(self.n_images, self.config.batch, is_last):
            self.steering.measure(self.averaged, self.ema.module, self.n_images, self.accelerator, is_last)
            if not is_last:
                self.pair_sampler.refresh(self.n_images)

    def _gradient(self, pairs: Pairs, images: Tensor, noise: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of this process's share of the batch, piece by piece; its losses (B,), and rows (B, 3) of what a residual says
        about v: level, noise, residual."""
        losses, rows = [], []
        pieces = self.config.accumulate
        size = self.micro_batch
        for number, piece in enumerate(pairs.split(size)):
            part = slice(number * size, (number + 1) * size)
            with self.accelerator.no_sync(self.model) if number < pieces - 1 else nullcontext():
                loss, s = self._loss(piece, images[part], noise[part], ids[part])
                torch.autograd.backward(loss.weighted.mean() / pieces)
            losses.append(loss.weighted.detach())
            rows.append(
                torch.stack([piece.sigma.to(s.device), s, loss.residual.detach().to(torch.float64)], dim=1)
            )
        return torch.cat(losses), torch.cat(rows)

    def _loss(self, pairs: Pairs, images: Tensor, noise: Tensor, ids: Tensor) -> tuple[Loss, Tensor]:
        """The loss of a batch, and the noise (B,) of its images; NaN where a residual says nothing about v."""
        config, device = self.config, self.device
        y = images.to(device)
        s, sigma = self.pair_sampler.s[pairs.index].to(device), pairs.sigma.to(device)
        model: Denoiser = self._network
        if self.labels is not None:
            hidden = uniform(config.seed, Stream.LABEL, ids, 1)[:, 0] < _HIDDEN_LABELS
            model = partial(
                self._network, labels=torch.where(hidden, self.classes, self.labels[pairs.index]).to(device)
            )
        if self.structure is not None:
            filled = self.imputation.fill(pairs, y)
            return self.structure.loss(model, pairs, y, filled, noise, ids, self.v, config)
        if config.objective == "published":
            y = augment([y], config.augment, ids, config.seed)[0]
            return published_loss(model, y, s, sigma, noise, self.sigma_data), s
        if bool(pairs.imputed.any()):
            x_sigma, target = self.imputation.replace(pairs, y, s, noise, ids)
        else:
            x_sigma, target = ambient_pair(y, s, sigma, noise)
        x_sigma, target = augment([x_sigma, target], config.augment, ids, config.seed)
        if config.channels_last:
            x_sigma = x_sigma.contiguous(memory_format=torch.channels_last)
        return regression_loss(model, x_sigma, target, sigma, self.sigma_data, pairs.weight.to(device)), s

    def _network(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """The denoiser that is trained, in the precision of the run."""
        with self.autocast():
            output: Tensor = self.model(x, sigma) if labels is None else self.model(x, sigma, labels)
        return output

    def averaged(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """The averaged denoiser, in the precision of the run."""
        with self.autocast():
            output: Tensor = self.ema.module(x, sigma, labels)
        return output

    def _denoisers(self) -> list[Any]:
        """The denoiser and its averages."""
        return [self.denoiser, *(average.module for average in self.averages.values())]

    def _set_sigma_data(self, value: float) -> None:
        """Weights are good for the `sigma_data` that they were trained with."""
        self.sigma_data = value
        for denoiser in self._denoisers():
            denoiser.sigma_data = value

    def elapsed(self) -> float:
        """Seconds of training, those before interruptions included."""
        return self.seconds + monotonic() - self._began

    def save(self) -> None:
        """Write a checkpoint (the main process alone does)."""
        if self.accelerator.is_main_process:
            save_trainer(self)
        self.accelerator.wait_for_everyone()

    def restore(self) -> list[str]:
        """Go on from the newest whole checkpoint, or else begin where `--init` says.

        Returns:
            A line on each damaged checkpoint that was passed over.

        Raises:
            UserError: no checkpoint is whole, or the data set is not the one that the run began with.
        """
        run = Path(self.config.out)
        if self.accelerator.is_main_process:
            for folder in (run / "checkpoints", run / SNAPSHOTS):
                checkpoint.remove_rests(folder)
        newest = checkpoint.load_newest(run / "checkpoints")
        step = -1 if newest is None else newest[0].step
        require_one_directory(self.accelerator, self.device, step, self.config.out)
        if newest is None:
            if self.start is not None:
                put_weights(self.start, self._denoisers())
                if self.start.sigma_data is not None:
                    self._set_sigma_data(self.start.sigma_data)
            return []
        state, tensors, damaged = newest
        check_data(self.config, state.data_fingerprint)
        self._set_sigma_data(state.sigma_data)
        load_weights(self.denoiser, tensors["model"])
        for name, average in self.averages.items():
            load_weights(average.module, tensors[name])
        checkpoint.unpack_optimizer(self.optimizer, tensors["optimizer"])
        self.v.load_state(state.posterior_variance)
        self.steering.load_state(state.steering, tensors.get("best", {}))
        self.imputation.load_state(tensors["below"])
        self.spikes = SpikeDetector(state.loss_mean, state.loss_steps)
        self.step, self.n_images, self.seconds = state.step, state.n_images, state.seconds
        self.pair_sampler.refresh(state.sampler_refreshed_at)
        self._began = monotonic()
        return damaged
