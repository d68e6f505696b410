"""Get features by name (trained here, loaded, or a published network's), and compute them for a data set."""

import shutil
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_clean, read_all
from noiseworth.data.made_by import Making
from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.evaluate.cache import cache_path, cached_array
from noiseworth.evaluate.config import KINDS, FeaturesConfig
from noiseworth.evaluate.feature_files import load_features, save_features
from noiseworth.evaluate.features import Features, PixelFeatures, train_classifier, train_rotations
from noiseworth.evaluate.fidelity import INCEPTION, FidelityFeatures, fidelity_names
from noiseworth.evaluate.pca import principal_components
from noiseworth.options import with_options
from noiseworth.records import FeatureRecord, versions


def make_features(
    name: str, reference: Dataset, held_out: Dataset | None, weights: str | None = None
) -> Features:
    """The features of this name. Features that are trained here are cached by the fingerprints of the images.

    Args:
        name: "classifier" trains on the reference's labels, "rotations" without any, "pca" takes the
            principal components of its pixels, "pixels" the pixels; "auto" is "classifier" if there are
            labels, else "pca"; "inception" and torch-fidelity's other names are pretrained networks;
            anything else is a directory made by `train_features`.
        weights: file with the weights of a network of torch-fidelity.

    Raises:
        UserError: classifier features are asked for and the reference has no labels, there is no such
            directory, or no weights.
    """
    kind = INCEPTION if name == "inception" else _kind(name, reference)
    if kind in fidelity_names():
        return FidelityFeatures(kind, weights)
    if weights is not None:
        raise UserError(
            f"--weights {weights}: only for --features inception, {', '.join(fidelity_names()[1:])}"
        )
    if kind == "pixels":
        return PixelFeatures(reference.shape)
    if kind not in KINDS:
        return load_features(Path(kind), reference.shape)
    directory = cache_path(
        versions()["noiseworth"],
        kind,
        reference.record.fingerprint,
        "" if held_out is None else held_out.record.fingerprint,
    )
    try:
        return load_features(directory, reference.shape)
    except UserError:
        pass  # not there, or damaged
    made = _train(kind, reference, held_out)
    try:
        shutil.rmtree(directory, ignore_errors=True)
        with new_directory(directory) as folder:
            save_features(made, reference.shape, folder)
    except (OSError, UserError):
        pass  # the cache cannot be written, or another process wrote it first
    return made


def _kind(name: str, reference: Dataset) -> str:
    """What "auto" stands for here. Raises if a classifier has no labels to train on."""
    kind = ("pca" if reference.labels is None else "classifier") if name == "auto" else name
    if kind == "classifier" and reference.labels is None:
        raise UserError(
            f"{reference.path}: has no labels, which a classifier needs; use --features rotations or pca"
        )
    return kind


def _train(kind: str, reference: Dataset, held_out: Dataset | None) -> Features:
    images = read_all(reference)
    if kind == "pca":
        return principal_components(images)
    if kind == "rotations":
        return train_rotations(images, None if held_out is None else read_all(held_out))
    if reference.labels is None:
        raise AssertionError("checked before")
    test = None if held_out is None or held_out.labels is None else (read_all(held_out), held_out.labels)
    return train_classifier(images, reference.labels, test)


@with_options(FeaturesConfig)
def train_features(config: FeaturesConfig) -> FeatureRecord:
    """Train features on clean images and save them, so that later distances can be compared with today's.

    Raises:
        UserError: the data cannot be used, or `out` holds something else.
    """
    making = Making("features train", config)
    if (earlier := making.found(FeatureRecord)) is not None:
        return earlier
    reference = open_clean(config.data)
    held_out = None if config.held_out is None else open_clean(config.held_out)
    with new_directory(Path(config.out)) as folder:
        features = _train(_kind(config.kind, reference), reference, held_out)
        save_features(features, reference.shape, folder)
        making.note(folder, features.describe())
    return features.describe()


def features_of(extract: Features, dataset: Dataset) -> NDArray[Any]:
    """Features (N, F) of a whole data set, cached by its fingerprint."""
    description = extract.describe()
    if description.sha256 is None or len(dataset) != dataset.record.count:
        return extract(read_all(dataset))
    return cached_array(
        (description.name, description.sha256, dataset.record.fingerprint), lambda: extract(read_all(dataset))
    )
