"""Features of the usual pretrained networks, by torch-fidelity: Inception-v3 (for FID), CLIP, DINOv2, VGG-16.

Nothing is downloaded: the weights are a file of the user's, or are in torch's own cache already.

These networks take 8-bit RGB: images in model units are clipped to [-1, 1] and rounded to 0 .. 255, a single
channel is repeated three times, and the network resizes (bilinearly, as TensorFlow 1 did) to the size that it
was trained on.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.errors import UserError, first_line
from noiseworth.records import FeatureRecord, sha256_of

INCEPTION = "inception-v3-compat"
_CHUNK = 64
_CLIP = {  # torch-fidelity's names, and the first half of the SHA-256 that the weights were published with
    "clip-rn50": "afeb0e10f9e5a86da6080e35cf09123a",
    "clip-vit-b-32": "40d365715913c9da98579312b702a82c",
    "clip-vit-b-16": "5806e77cd80f8b59890b7e101eabd078",
    "clip-vit-l-14": "b8cca3fd41ae0c99ba7e8951adf17d26",
}
_DINO = {
    "dinov2-vit-s-14": "vits14",
    "dinov2-vit-b-14": "vitb14",
    "dinov2-vit-l-14": "vitl14",
    "dinov2-vit-g-14": "vitg14",
}
_DINO_CODE = "facebookresearch_dinov2_main"


@dataclass(frozen=True)
class _Known:
    """What is known of a network and its file of weights."""

    layer: str  # whose outputs are the features
    file: str  # its usual name
    digest: str  # start of its SHA-256; "" if none was published
    address: str


def _known(name: str) -> _Known | None:
    if name == INCEPTION:
        file = "weights-inception-2015-12-05-6726825d.pth"
        return _Known(
            "2048",
            file,
            "6726825d",
            f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{file}",
        )
    if name == "vgg16":
        return _Known(
            "fc2_relu",
            "vgg16-397923af.pth",
            "397923af",
            "https://download.pytorch.org/models/vgg16-397923af.pth",
        )
    if name in _CLIP:
        return _Known(
            name,
            f"{name}-{_CLIP[name]}.pt",
            _CLIP[name],
            "https://github.com/openai/CLIP (its list of models)",
        )
    if name in _DINO:
        file = f"dinov2_{_DINO[name]}_pretrain.pth"
        return _Known(
            "dinov2", file, "", f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{_DINO[name]}/{file}"
        )
    return None


def fidelity_names() -> tuple[str, ...]:
    """Networks by the names that torch-fidelity gives them."""
    return (INCEPTION, "vgg16", *_CLIP, *_DINO)


class FidelityFeatures:
    """Outputs of one layer of a pretrained network. Their Frechet distance is FID only if `is_inception`."""

    def __init__(
        self, name: str = INCEPTION, weights: Path | str | None = None, *, sha256: str | None = None
    ) -> None:
        """Load it.

        Args:
            name: see `fidelity_names`.
            weights: file of its weights; by default the one in torch's cache.
            sha256: for weights of your own: what the file's SHA-256 must begin with, instead of the
                published one.

        Raises:
            UserError: no such network, torch-fidelity is not installed, or the weights are missing or are not
                the published ones.
        """
        known = _known(name)
        if known is None:
            raise UserError(f"--features {name}: torch-fidelity's networks are {', '.join(fidelity_names())}")
        self.name, self.layer = name, known.layer
        file = _find(name, known, weights)
        self.sha256 = sha256_of(file)
        expected = known.digest if sha256 is None else sha256
        if not self.sha256.startswith(expected):
            raise UserError(
                f"{file}: not the weights of {name} (its SHA-256 begins with {self.sha256[:8]}, theirs with"
                f" {expected[:8]}); get them again from {known.address}"
            )
        self._layers = [self.layer, "logits_unbiased"] if self.is_inception else [self.layer]
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # torch finds DINOv2's file by itself, where `_find` has just seen it.
        path = None if name in _DINO else str(file)
        try:
            made = _utils().create_feature_extractor(
                name,
                self._layers,
                cuda=device.type == "cuda",
                feature_extractor_weights_path=path,
                verbose=False,
            )
        except (RuntimeError, KeyError, OSError, ValueError) as error:
            raise UserError(f"{file}: the weights of {name} cannot be read ({first_line(error)})") from None
        self._network, self._device = made, device
        self._dimension = 0

    @property
    def is_inception(self) -> bool:
        """Whether distances in these features are what the field calls FID and KID."""
        return self.name == INCEPTION

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `features.Features`."""
        return self.with_logits(images)[0]

    @torch.no_grad()
    def with_logits(
        self, images: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Features (N, F) of images (N, C, H, W) in model units and, for Inception, its logits (N, 1008).

        Raises:
            UserError: images that are neither grey nor RGB.
        """
        if images.shape[1] not in (1, 3):
            raise UserError(
                f"{self.name} takes grey or RGB images; these have {images.shape[1]} channels: use"
                " --features pca"
            )
        outputs: list[list[Tensor]] = []
        for start in range(0, len(images), _CHUNK):
            shown = torch.from_numpy(as_bytes(images[start : start + _CHUNK])).to(self._device)
            outputs.append(
                [layer.float().flatten(1).cpu() for layer in self._network(shown.expand(-1, 3, -1, -1))]
            )
        columns = [torch.cat(layer).numpy() for layer in zip(*outputs, strict=True)]
        self._dimension = columns[0].shape[1]
        return columns[0], columns[1] if self.is_inception else None

    def describe(self) -> FeatureRecord:
        """See `features.Features`."""
        how = "clipped to [-1, 1], rounded to 8 bits, grey as RGB; resized bilinearly by the network"
        return FeatureRecord(
            f"{self.name}, {self.layer}",
            self._dimension,
            self.sha256,
            images=how,
            inception=self.is_inception,
        )


def as_bytes(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Model units to 8 bits: -1 is 0, 1 is 255; rounded, and clipped outside this range."""
    shown: NDArray[np.uint8] = np.rint((np.clip(images, -1, 1) + 1) * np.float32(127.5)).astype(np.uint8)
    return shown


def inception_score(logits: NDArray[np.floating], splits: int = 10, seed: int = 0) -> tuple[float, float]:
    """`exp(E KL(p(y|x) | p(y)))`: mean and standard deviation over `splits` random parts of the images.

    (Salimans et al., arXiv 1606.03498.)

    Raises:
        UserError: fewer images than parts.
    """
    if len(logits) < splits:
        raise UserError(
            f"an Inception score over {splits} parts needs at least as many images, got {len(logits)}"
        )
    order = np.random.default_rng(seed).permutation(len(logits))
    log_p = torch.log_softmax(torch.from_numpy(logits[order]).double(), dim=1)
    scores = []
    for part in torch.tensor_split(log_p, splits):
        log_q = torch.logsumexp(part, dim=0) - np.log(len(part))
        scores.append(float((part.exp() * (part - log_q)).sum(1).mean().exp()))
    return float(np.mean(scores)), float(np.std(scores))


def _find(name: str, known: _Known, weights: Path | str | None) -> Path:
    hub = Path(torch.hub.get_dir())
    if weights is not None and name in _DINO:
        raise UserError(
            f"--weights {weights}: torch-fidelity reads {name} only from {hub}; put it there and leave out"
            " --weights"
        )
    file = hub / "checkpoints" / known.file if weights is None else Path(weights)
    code = hub / _DINO_CODE
    if not file.is_file():
        option = "" if name in _DINO else " and name the file with --weights"
        raise UserError(
            f"{file}: no weights of {name} there, and nothing is downloaded automatically: download"
            f" {known.address}{option}"
        )
    if name in _DINO and not code.is_dir():
        raise UserError(
            f"{code}: no code of {name} there, and nothing is downloaded automatically: clone"
            " https://github.com/facebookresearch/dinov2 to this directory"
        )
    return file


def _utils() -> Any:
    try:
        return importlib.import_module("torch_fidelity.utils")
    except ImportError as error:
        raise UserError(
            f"these features need torch-fidelity ({error}): pip install 'noiseworth[fid]'"
        ) from None
