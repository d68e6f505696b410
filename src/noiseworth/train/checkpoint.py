"""Checkpoints: safetensors and JSON, written beside, synced, hashed, then renamed. No pickle.

`checkpoints/step-00000500/{model,ema,best,optimizer,below}.safetensors` and `state.json`, which holds the SHA-256 of
the others; a checkpoint that does not match it is passed over for the one before. `ema` and `best` are needed to
use a model; `optimizer` and `below` (imputed images, which are training data) may be left out of what is shared.
"""

import dataclasses
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from noiseworth.data.writer import write_tensors
from noiseworth.errors import UserError, first_line
from noiseworth.process import DiskFullError, is_disk_full
from noiseworth.records import StabilisedRecord, load_record, sha256_of, to_json

USED = ("ema", "best")  # the groups that a model is made of, once it is trained


@dataclass(frozen=True)
class State:
    """`state.json`: where the run stands, and the hashes of the files beside it."""

    RENAMED: ClassVar[dict[str, str]] = {"law_refreshed_at": "sampler_refreshed_at"}

    step: int
    n_images: int
    seconds: float  # of training so far, over all processes that worked on the run one after the other
    sigma_data: float
    shape: tuple[int, int, int]  # of an image: C, H, W
    offset: float  # of the data set, for turning model units back into raw ones
    scale: float
    classes: int  # that the model is conditioned on; 0: none
    data_fingerprint: str
    trained_from: float  # lowest level trained at
    posterior_variance: dict[str, list[float]]
    sampler_refreshed_at: int  # images seen when the pair sampler was last refreshed
    sha256: dict[str, str]
    loss_mean: float = 0.0  # running mean of the loss, and the losses in it
    loss_steps: int = 0
    stabilised: StabilisedRecord | None = None  # of the data set
    steering: dict[str, list[float]] = field(default_factory=dict)  # see `train/steering.py`
    use_best: bool = False  # the model is the weights in `best`, not those in `ema`, whose risk on held-out images is higher

    @property
    def used(self) -> str:
        """The group that holds the model."""
        return "best" if self.use_best else "ema"


def save(
    folder: Path,
    state: State,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    keep: int = 2,
    keep_every: int = 0,
) -> Path:
    """Write a checkpoint under `folder` and remove all but the newest `keep`.

    Args:
        folder: the run's `checkpoints` directory.
        state: its `sha256` is filled in here.
        tensors: file stem -> named tensors.
        keep: the newest, and some to fall back on.
        keep_every: the first checkpoint of every so many images is kept, too.

    Raises:
        UserError: a file could not be written (a full disk); earlier checkpoints are intact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    directory = folder / f"step-{state.step:08d}"
    beside = folder / f".step-{state.step:08d}.partial"
    remove_rests(folder)
    try:
        beside.mkdir()
        hashes = {}
        for stem, group in tensors.items():
            file = beside / f"{stem}.safetensors"
            write_tensors(file, group)
            hashes[file.name] = sha256_of(file)
        (beside / "state.json").write_text(
            to_json(dataclasses.replace(state, sha256=hashes)) + "\n", encoding="utf-8"
        )
        _sync(beside / "state.json")
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise _unwritable(directory, error) from None
    _sync(beside)
    for damaged in folder.glob("step-*"):  # passed over when the run went on: they would count as the newest
        if int(damaged.name.removeprefix("step-")) >= state.step:
            shutil.rmtree(damaged)
    beside.rename(directory)
    _sync(folder)
    _thin(folder, keep, keep_every)
    return directory


def remove_rests(folder: Path) -> None:
    """Remove what a process was writing into a folder of checkpoints or snapshots, or taking away, when it died; for who holds the run."""
    for rest in folder.glob(".*.partial"):
        shutil.rmtree(rest) if rest.is_dir() else rest.unlink()


def save_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """One file of tensors, whole or not at all.

    Raises:
        UserError: it could not be written.
    """
    beside = file.with_name(f".{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(beside, tensors)
        beside.replace(file)
        _sync(file.parent)
    except OSError as error:
        raise _unwritable(file, error) from None
    finally:
        beside.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> UserError:
    kind = DiskFullError if is_disk_full(error) else UserError
    why = error.strerror or error
    return kind(
        f"{path.parent.name}/{path.name}: could not be written ({why}); earlier checkpoints are intact: make room"
    )


def _thin(folder: Path, keep: int, keep_every: int) -> None:
    """Remove checkpoints that are neither among the newest nor the first of a stretch of images."""
    stretches: set[int] = set()
    directories = sorted(folder.glob("step-*"))
    for directory in directories[:-keep]:
        if keep_every:
            try:
                stretch = load_record(State, directory / "state.json").n_images // keep_every
            except UserError:
                stretch = 0
            if stretch > 0 and stretch not in stretches:
                stretches.add(stretch)
                continue
        _remove(directory)


def _remove(directory: Path) -> None:
    """Remove a checkpoint; who is reading it finds it whole, or gone."""
    beside = directory.with_name(f".{directory.name}.partial")
    directory.rename(beside)
    shutil.rmtree(beside)


def load(
    directory: Path, groups: Collection[str] | None = None
) -> tuple[State, dict[str, dict[str, Tensor]]]:
    """Read a checkpoint and check its hashes.

    Args:
        groups: stems of the files to read, such as "ema"; by default all.

    Raises:
        UserError: one of them is missing or differs from what was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state = load_record(State, directory / "state.json")
    tensors = {}
    for name, expected in state.sha256.items():
        file = directory / name
        if groups is not None and file.stem not in groups:
            continue
        try:
            if sha256_of(file) != expected:
                raise UserError(f"{file}: is damaged (its SHA-256 is not the one in state.json)")
            tensors[file.stem] = load_file(file)
        except FileNotFoundError:
            raise UserError(f"{file}: is missing") from None
        except (OSError, SafetensorError) as error:
            raise UserError(f"{file}: cannot be read ({first_line(error)})") from None
    return state, tensors


def at(folder: Path, n_images: int) -> Path:
    """The checkpoint that was written when so many images had been seen.

    Raises:
        UserError: there is none.
    """
    there = {load_record(State, path / "state.json").n_images: path for path in sorted(folder.glob("step-*"))}
    if n_images not in there:
        kept = ", ".join(map(str, there)) or "none"
        raise UserError(f"{folder}: has no checkpoint of {n_images} images; there are {kept}")
    return there[n_images]


def load_newest(
    folder: Path, groups: Collection[str] | None = None
) -> tuple[State, dict[str, dict[str, Tensor]], list[str]] | None:
    """The newest checkpoint that is whole, and a line on each newer one that is not; None if there is none at all.

    A training that is under way writes new checkpoints and removes old ones: one that is gone was replaced by
    a newer one, which is then read.

    Args:
        groups: stems of the files to read, such as "ema"; by default all, which going on needs.

    Raises:
        UserError: there are checkpoints, and none is whole.
    """
    damaged: dict[Path, str] = {}
    while unread := [path for path in sorted(folder.glob("step-*"), reverse=True) if path not in damaged]:
        for directory in unread:
            try:
                state, tensors = load(directory, groups)
            except UserError as error:
                damaged[directory] = str(error)
                continue
            return state, tensors, [line for path, line in damaged.items() if path.is_dir()]
    if damaged:
        why = next(iter(damaged.values()))
        raise UserError(f"{folder}: no checkpoint is whole ({why}); {_what_now(folder, groups)}")
    return None


def _what_now(folder: Path, groups: Collection[str] | None) -> str:
    """What can be done with a run none of whose checkpoints has these groups."""
    try:
        if groups is None and load_newest(folder, USED) is not None:
            return "the run can be sampled, evaluated and started from (--init), but not gone on with"
    except UserError:
        pass
    return "remove the run and start again"


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as named tensors: `<parameter number>.<key>`."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{key}": torch.as_tensor(value)
        for number, group in state.items()
        for key, value in group.items()
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `pack_optimizer` took; learning rates are set anew at each step and are not part of it.

    Raises:
        UserError: it was taken from an optimiser that divided the weights in another way.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for (
        parameter,
        own,
    ) in optimizer.state.items():  # the fused step walks through memory: moments must lie as their weights do
        for key, value in own.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                own[key] = torch.empty_like(parameter).copy_(value)
            elif isinstance(value, Tensor) and value.ndim:
                raise UserError(
                    "the checkpoint's optimiser is that of another version of noiseworth, which cannot go on here; go on with that"
                    " version, or begin a new run from this one with --init"
                )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
