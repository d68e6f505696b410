"""Features of images: pixels, or the hidden layer of a small classifier trained on the user's clean images.

A classifier's features have arbitrary units, so they are scaled to a mean variance of 1 over the images that
it was trained on.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from noiseworth.errors import UserError
from noiseworth.records import FeatureRecord
from noiseworth.rng import Stream, uniform

_DIMENSION = 32
_EPOCHS = 30
_BATCH = 64
_CHUNK = 1024


class Features(Protocol):
    """Maps images (N, C, H, W) in model units to features (N, F), and says where they come from."""

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.floating]: ...

    def describe(self) -> FeatureRecord: ...


class PixelFeatures:
    """The pixels themselves, for small images without labels."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.dimension = int(np.prod(shape))

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Features`."""
        return images.reshape(len(images), -1).astype(np.float64)

    def describe(self) -> FeatureRecord:
        """See `Features`."""
        return FeatureRecord("pixels", self.dimension)


class _Classifier(nn.Module):
    """Two convolutions, pooling to 4x4, and a hidden layer with ReLU, whose outputs are the features."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 32, 3, padding=1)
        self.second = nn.Conv2d(32, 64, 3, padding=1)
        self.hidden = nn.Linear(64 * 16, _DIMENSION)
        self.output = nn.Linear(_DIMENSION, classes)

    def features(self, x: Tensor) -> Tensor:
        x = functional.relu(self.second(functional.relu(self.first(x))))
        return functional.relu(self.hidden(functional.adaptive_max_pool2d(x, 4).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.features(x))
        return logits


@dataclass(frozen=True)
class ClassifierFeatures:
    """Scaled outputs (32, not negative) of a classifier's hidden layer; `name` says what it classifies."""

    classifier: _Classifier
    scale: float
    sha256: str
    accuracy: float | None
    name: str = "classifier"

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """See `Features`."""
        with torch.no_grad():
            pieces = [
                self.classifier.features(torch.from_numpy(images[i : i + _CHUNK]))
                for i in range(0, len(images), _CHUNK)
            ]
        return torch.cat(pieces).to(torch.float64).numpy() / self.scale

    def describe(self) -> FeatureRecord:
        """See `Features`."""
        return FeatureRecord(self.name, _DIMENSION, self.sha256, self.accuracy)


def make_classifier(channels: int, classes: int, seed: int = 0) -> _Classifier:
    """The classifier, untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Classifier(channels, classes)


def train_classifier(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    held_out: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
    seed: int = 0,
) -> ClassifierFeatures:
    """Train the classifier; the same data and seed give the same features on the same machine.

    Args:
        images: (N, C, H, W) clean images in model units, at least 4x4.
        labels: (N,) their classes, 0 and up.
        held_out: images and labels to measure its accuracy on.

    Raises:
        UserError: there are fewer than two classes, or the images are too small.
    """
    classes = int(labels.max()) + 1
    if len(np.unique(labels)) < 2:
        raise UserError("classifier features need images of at least two classes; use --features pixels")
    if min(images.shape[2:]) < 4:
        raise UserError(
            f"classifier features need images of at least 4x4, these are {images.shape[3]}x{images.shape[2]}"
        )
    x, target = torch.from_numpy(images), torch.from_numpy(labels)
    classifier = make_classifier(images.shape[1], classes, seed)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    steps = max(1, len(x) // _BATCH)
    for epoch in range(_EPOCHS):
        order = torch.argsort(uniform(seed, Stream.SHUFFLE, torch.arange(len(x)), 1, epoch)[:, 0])
        for rows in order.tensor_split(steps):
            loss = functional.cross_entropy(classifier(x[rows]), target[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    classifier.eval().requires_grad_(False)
    digest = hashlib.sha256(
        b"".join(t.numpy().tobytes() for t in classifier.state_dict().values())
    ).hexdigest()
    unscaled = ClassifierFeatures(classifier, 1.0, digest, None)
    scale = float(np.sqrt(unscaled(images).var(axis=0).mean()))
    accuracy = None
    if held_out is not None:
        with torch.no_grad():
            accuracy = float(
                (classifier(torch.from_numpy(held_out[0])).argmax(1) == torch.from_numpy(held_out[1]))
                .double()
                .mean()
            )
    return ClassifierFeatures(classifier, scale, digest, accuracy)


def train_rotations(
    images: NDArray[np.float32], held_out: NDArray[np.float32] | None = None, seed: int = 0
) -> ClassifierFeatures:
    """Train the classifier without labels, to predict by how many quarter turns an image was rotated.

    (Gidaris et al., arXiv 1803.07728.)

    Args:
        images: (N, C, H, H) clean square images in model units.
        held_out: images to measure its accuracy on.

    Raises:
        UserError: the images are not square.
    """
    if images.shape[2] != images.shape[3]:
        raise UserError(
            f"rotation features need square images, these are {images.shape[3]}x{images.shape[2]}"
        )

    def rotated(x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return np.concatenate([np.rot90(x, k, (2, 3)) for k in range(4)]), np.repeat(np.arange(4), len(x))

    features = train_classifier(*rotated(images), None if held_out is None else rotated(held_out), seed)
    return replace(features, name="rotations")
