"""What a shared model says of itself."""

from dataclasses import dataclass

from noiseworth.records.checks import require
from noiseworth.records.datasets import StabilisedRecord

SHARED_FORMAT = 1


@dataclass(frozen=True)
class SharedRecord:
    """`config.json` of a shared model, beside `model.safetensors`.

    Attributes:
        format: of this file.
        name: of the model.
        preset: the network, as `noiseworth train --preset` names it.
        shape: C, H, W of an image.
        classes: that it is conditioned on; 0: none.
        sigma_data: root mean square of clean pixels in model units.
        offset, scale: raw value of 0 in model units, and raw units in one model unit.
        trained_from: the lowest level that it was trained at; 0: all.
        posterior_variance: of the data, by which sampling chooses its levels.
        n_images: images seen in training.
        weights: SHA-256 of `model.safetensors`.
        data_fingerprint: of the training data.
        sigmas, counts: the noise levels of the training images, and how many there are of each.
        licence: of the weights, as Hugging Face names it; "other" where nobody said.
        stabilised: the units before noise was made Gaussian.
    """

    format: int
    name: str
    preset: str
    shape: tuple[int, int, int]
    classes: int
    sigma_data: float
    offset: float
    scale: float
    trained_from: float
    posterior_variance: dict[str, list[float]]
    n_images: int
    weights: str
    data_fingerprint: str
    sigmas: list[float]
    counts: list[int]
    licence: str
    stabilised: StabilisedRecord | None = None

    def __post_init__(self) -> None:
        require(self.format == SHARED_FORMAT, f"format must be {SHARED_FORMAT}")
        require(
            all(n >= 1 for n in self.shape) and self.classes >= 0, "shape and classes must be those of images"
        )
        require(self.sigma_data > 0 and self.scale > 0, "sigma_data and scale must be above 0")
        require(len(self.sigmas) == len(self.counts), "sigmas and counts must hold as many values")
