"""What stops a run before harm is done, or notes what was odd."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from noiseworth.errors import UserError

_SPIKE = (
    5.0  # times the running mean: weighted losses of single batches scatter by some tens of percent about it
)
_MEMORY = 0.98  # of the running mean, a step
_WARM_UP = 100  # steps before a loss can be a spike


class SpikeDetector:
    """Notes losses far above their running mean. Its state goes into checkpoints, so that a run notes the same ones however it was
    interrupted.

    Attributes:
        mean: running mean of the loss.
        steps: losses seen.
    """

    def __init__(self, mean: float = 0.0, steps: int = 0) -> None:
        self.mean, self.steps = mean, steps

    def note(self, loss: float) -> bool:
        """Whether this one is a spike; it then does not count for the mean."""
        if self.steps >= _WARM_UP and loss > _SPIKE * self.mean:
            return True
        self.steps += 1
        keep = min(_MEMORY, 1 - 1 / self.steps)
        self.mean = keep * self.mean + (1 - keep) * loss
        return False


@contextmanager
def memory_advice(out: str, batch: int, accumulate: int) -> Iterator[None]:
    """Turns running out of memory into a line that says which setting to change.

    Raises:
        UserError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UserError(_advice(out, batch, accumulate)) from error
    except RuntimeError as error:
        if "alloc" not in str(error) or "memory" not in str(error):
            raise
        raise UserError(_advice(out, batch, accumulate)) from error


def _advice(out: str, batch: int, accumulate: int) -> str:
    settings = f"raise --accumulate to {2 * accumulate} (the same training, in smaller pieces), or lower --batch {batch}"
    return f"{out}: out of memory; {settings}, or take --precision bf16 or a smaller --preset; the last checkpoint is intact"


def be_deterministic() -> None:
    """The same command gives the same weights on a GPU, too: no algorithm whose sums depend on timing, where torch has another."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
