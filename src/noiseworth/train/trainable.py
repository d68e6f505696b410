"""What noise that is not white can be trained on, and with which settings."""

from noiseworth.data.dataset import Dataset
from noiseworth.data.storage import is_address
from noiseworth.errors import UserError
from noiseworth.noise.models import CorrelatedNoise, VariableNoise
from noiseworth.train.config import TrainConfig


def require_trainable(data: Dataset, config: TrainConfig) -> None:
    """Raises UserError where such noise cannot be trained on, or not with these settings."""
    used = set(data.kind.tolist())
    for number, model in enumerate(data.noise_models):
        if number in used and model is not None and not isinstance(model, VariableNoise | CorrelatedNoise):
            raise UserError(
                f"{data.path}: has {model.name}, which depends on the signal; make it Gaussian first:"
                f" noiseworth noise stabilise {data.path} OUT"
            )
        if isinstance(model, CorrelatedNoise) and data.may_miss[data.kind == number].any():
            raise UserError(
                f"{data.path}: has correlated noise and pixels that were not measured in the same images; train on the one or"
                " the other"
            )
    if is_address(data.path):
        raise UserError(
            f"{data.path}: noise that is not white, and missing pixels, are trained on from this machine's disk alone; copy the data"
            " set here"
        )
    if config.objective == "published":
        raise UserError(
            f"--objective published: takes white Gaussian noise, and {config.data} has other noise, or missing pixels"
        )
    if config.below_noise == "consistency":
        raise UserError(
            f"--below-noise consistency: takes white noise alone, unlike {config.data}; leave it out"
        )
    if config.below_noise == "none" and data.may_miss.any():
        raise UserError(
            f"--below-noise none: the missing pixels of {config.data} have to be imputed; leave it out"
        )
