"""The device and the processes of a training, by `accelerate`, used thinly: the order of the data and checkpoints are ours.

Accelerate's state is one for the whole process and keeps the precision and the device that it was first made
with. So both are kept here: arithmetic is chosen by `torch.autocast` in the trainer, and a lone process puts
its tensors on its device itself.
"""

import os

import torch
from accelerate import Accelerator
from torch import Tensor

from noiseworth.errors import UserError
from noiseworth.train.config import TrainConfig

# Where launchers (torchrun, accelerate, MPI's) say how many processes there are.
_WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def connect(config: TrainConfig) -> tuple[Accelerator, torch.device]:
    """The processes that train together, and the device of this one.

    Raises:
        UserError: the batch cannot be shared among them.
    """
    together = any(int(os.environ.get(name, "1")) > 1 for name in _WORLD_SIZES)
    on_cpu = config.device == "cpu" or not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=together and on_cpu, mixed_precision="no", device_placement=False)
    shares = accelerator.num_processes * config.accumulate
    if config.batch % shares:
        pieces = f" times --accumulate {config.accumulate}" if config.accumulate > 1 else ""
        raise UserError(
            f"--batch {config.batch}: is not a multiple of the {accelerator.num_processes} processes{pieces}"
        )
    return accelerator, torch.device("cpu") if on_cpu else accelerator.device


def over_processes(accelerator: Accelerator, mean: Tensor, rows: Tensor) -> tuple[float, Tensor]:
    """A mean averaged over the processes, and the rows of all of them in the order of their slots."""
    if accelerator.num_processes > 1:
        mean, rows = accelerator.reduce(mean.detach(), "mean"), accelerator.gather(rows)
    return float(mean.detach()), rows


def any_process(accelerator: Accelerator, device: torch.device, flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=device), "sum") > 0)


def require_one_directory(accelerator: Accelerator, device: torch.device, step: int, out: str) -> None:
    """Refuse processes that read checkpoints of different steps: the run's directory must be one for all of them.

    Raises:
        UserError: they did; it is raised in all processes.
    """
    if accelerator.num_processes > 1:
        steps = accelerator.gather(torch.tensor([step], device=device)).tolist()
        if len(set(steps)) > 1:
            message = "the run must be on a disk that all of them share"
            raise UserError(f"{out}: the processes read different checkpoints (steps {steps}); {message}")
