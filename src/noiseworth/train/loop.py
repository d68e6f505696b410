"""The training loop: a generator of step records.

Every draw is a function of (seed, images seen, slot): slot `j` of the step that begins at `n` images draws with id `n + j`. There is no
loader state, so the same command goes on after any interruption to the same weights, and any number of processes sees the
same images in the same order; each takes its share of the slots.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from noiseworth.data.augment import augment
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.diffusion.levels import LogNormalLevels
from noiseworth.diffusion.objective import Loss, ambient_pair, regression_loss
from noiseworth.diffusion.pairs import PairLaw, Pairs
from noiseworth.diffusion.published import PublishedLaw, published_loss
from noiseworth.diffusion.worth import PosteriorVariance, spectrum
from noiseworth.errors import UserError
from noiseworth.records import StepRecord
from noiseworth.tensors import Stream, normal, uniform
from noiseworth.train import checkpoint
from noiseworth.train.below import Below
from noiseworth.train.config import TrainConfig
from noiseworth.train.ema import SNAPSHOTS, Ema, PowerEma, snapshot_name
from noiseworth.train.feed import Feed
from noiseworth.train.guards import SpikeWatch, be_deterministic, memory_advice
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
        ema: the averaged denoiser; `averages` are all of them, by the name that a checkpoint gives them.
        law: the law of the training pairs.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        if (
            AcceleratorState._shared_state and AcceleratorState().num_processes == 1
        ):  # it remembers an earlier run's device and precision
            AcceleratorState._reset_state(reset_partial_state=True)
        self.accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision="bf16" if config.precision == "bf16" else "no")
        if config.batch % (self.accelerator.num_processes * config.accumulate):
            pieces = f"{self.accelerator.num_processes} processes" + (
                f" times --accumulate {config.accumulate}" if config.accumulate > 1 else ""
            )
            raise UserError(f"--batch {config.batch}: is not a multiple of the {pieces}")
        if self.accelerator.device.type == "cuda":
            be_deterministic()
        whole = open_dataset(config.data)
        if config.augment == "turns" and whole.shape[1] != whole.shape[2]:
            raise UserError(f"--augment turns: needs square images, {config.data} has {whole.shape[2]}x{whole.shape[1]}; use flip")
        whole.require_known_sigma()
        self.data: Dataset = whole.use(config.use)
        self.held_out = self._held_out()
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
        self.denoiser = make_denoiser(config, self.data.shape[0], self.classes, self.sigma_data)
        if config.channels_last:
            self.denoiser.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        device = self.accelerator.device
        self.ema = Ema(self.denoiser, config.ema)
        self.averages: dict[str, Ema | PowerEma] = {"ema": self.ema}
        self.averages |= {f"ema-{half_life}": Ema(self.denoiser, half_life) for half_life in config.more_ema}
        self.averages |= {f"power-{width!r}": PowerEma(self.denoiser, width) for width in config.power_ema}
        for average in self.averages.values():
            average.module.to(device)
        self.denoiser.to(device)
        optimizer = torch.optim.Adam(self.denoiser.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True)
        model: nn.Module = self.denoiser
        if config.compile:
            model = torch.compile(self.denoiser)  # type: ignore[assignment]
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.feed = Feed(self.data, self.law, config.seed, device)
        self.spikes = SpikeWatch()
        self.below = Below(config, self.data, self.law, self.averaged, self.labels, device)

    def _held_out(self) -> Dataset | None:
        """Clean images of `config.held_out`, looked at now: a mistake in it should not wait for the first look at the run."""
        if self.config.held_out is None:
            return None
        found = open_dataset(self.config.held_out)
        clean = found.select(found.sigma == 0)
        if found.shape != self.data.shape or len(clean) < 2:
            what = f"images of {found.shape}, {len(clean)} of them clean"
            raise UserError(f"--held_out {self.config.held_out}: has {what}; at least 2 clean ones of {self.data.shape} are needed")
        return clean

    def _labels(self) -> Tensor | None:
        """The class of each image (N,), if the model is to be conditioned on it."""
        if not self.config.labels:
            return None
        if self.data.labels is None:
            raise UserError(f"{self.config.data}: has no labels; leave out --labels, or pack it again with them")
        return torch.from_numpy(self.data.labels)

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
        share = config.batch // self.accelerator.num_processes
        self.below.prepare(self.n_images)
        first = self.n_images + self.accelerator.process_index * share
        ids = torch.arange(first, first + share)
        left = min(_REFRESH_STEPS - self.step % _REFRESH_STEPS, config.steps - self.step)
        pairs, images = self.feed.next(ids, config.batch, left)
        rate = config.learning_rate(self.n_images)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        with memory_advice(config.out, config.batch, config.accumulate):
            losses, rows = self._gradient(pairs, images, ids)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip)
        whole, observed = self._over_processes(losses.mean(), rows)
        if not (np.isfinite(whole) and bool(torch.isfinite(norm))):
            worst = int(torch.nan_to_num(losses, nan=torch.inf).argmax())
            image, s = self.data.ids[pairs.index[worst]], float(self.law.s[pairs.index[worst]])
            raise UserError(
                f"{config.out}: loss {whole:.4g}, gradient norm {float(norm):.4g} at step {self.step + 1} (worst: image {image}, sigma"
                f" {s:.4g}, level {float(pairs.sigma[worst]):.4g}); not taken: lower --lr or look at that image"
            )
        self.optimizer.step()
        self.step += 1
        self.n_images += config.batch
        for average in self.averages.values():
            average.update(self.denoiser, self.n_images, config.batch)
        self.v.observe(*observed.unbind(1))
        if self.step % _REFRESH_STEPS == 0:
            self.v.refresh()
            self.law.refresh(self.n_images)
        spike = [int(i) for i in self.data.ids[pairs.index.numpy()]] if self.spikes.note(whole) else None
        return StepRecord(self.step, self.n_images, whole, float(norm), rate, round(self.elapsed(), 3), spike)

    def _gradient(self, pairs: Pairs, images: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of this process's share of the batch, piece by piece; its losses (B,), and rows (B, 3) of what a residual says
        about v: level, noise, residual."""
        losses, rows = [], []
        pieces = self.config.accumulate
        size = len(ids) // pieces
        for number, piece in enumerate(pairs.split(size)):
            here = slice(number * size, (number + 1) * size)
            with self.accelerator.no_sync(self.model) if number < pieces - 1 else nullcontext():
                loss, s = self._loss(piece, images[here], ids[here])
                self.accelerator.backward(loss.weighted.mean() / pieces)
            losses.append(loss.weighted.detach())
            rows.append(torch.stack([piece.sigma.to(s.device), s, loss.residual.detach().to(torch.float64)], dim=1))
        return torch.cat(losses), torch.cat(rows)

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
        if config.channels_last:
            x_sigma = x_sigma.contiguous(memory_format=torch.channels_last)
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

    def _agree(self, step: int) -> None:
        """Raises UserError, in all processes, if they found different checkpoints: the run's directory must be one for all of them."""
        if self.accelerator.num_processes > 1:
            steps = self.accelerator.gather(torch.tensor([step], device=self.accelerator.device)).tolist()
            if len(set(steps)) > 1:
                raise UserError(
                    f"{self.config.out}: processes found different checkpoints (steps {steps}); it must be on a disk that all share"
                )

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
            loss_mean=self.spikes.mean,
            loss_steps=self.spikes.steps,
            sha256={},
        )

    def save(self) -> None:
        """Write a checkpoint (the main process alone does)."""
        if self.accelerator.is_main_process:
            groups = {
                "model": self.denoiser.state_dict(),
                **{name: average.module.state_dict() for name, average in self.averages.items()},
                "optimizer": checkpoint.pack_optimizer(self.optimizer.optimizer),
                "below": self.below.state(),
            }
            config, run = self.config, Path(self.config.out)
            for average in self.averages.values():
                if isinstance(average, PowerEma):
                    place = run / SNAPSHOTS / snapshot_name(self.n_images, average.sigma_rel)
                    checkpoint.save_tensors(place, average.module.state_dict())
            checkpoint.save(run / "checkpoints", self.state(), groups, keep=config.keep, keep_every=config.keep_every)
        self.accelerator.wait_for_everyone()

    def restore(self) -> list[str]:
        """Go on from the newest whole checkpoint, if there is one; returns a line on each damaged one that was passed over.

        Raises:
            UserError: no checkpoint is whole, or the data set is not the one that the run began with.
        """
        found = checkpoint.load_newest(Path(self.config.out) / "checkpoints")
        self._agree(-1 if found is None else found[0].step)
        if found is None:
            return []
        state, tensors, damaged = found
        check_data(self.config, state.data_fingerprint)
        load_weights(self.denoiser, tensors["model"])
        for name, average in self.averages.items():
            load_weights(average.module, tensors[name])
        checkpoint.unpack_optimizer(self.optimizer.optimizer, tensors["optimizer"])
        self.v.load_state(state.posterior_variance)
        self.below.load_state(tensors["below"])
        self.spikes = SpikeWatch(state.loss_mean, state.loss_steps)
        self.step, self.n_images, self.seconds = state.step, state.n_images, state.seconds
        self.law.refresh(state.law_refreshed_at)
        self._began = monotonic()
        return damaged
