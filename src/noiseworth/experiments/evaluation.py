"""Evaluating a run, or a data set of generated images, against a reference."""

from pathlib import Path
from typing import Literal

import numpy as np

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.errors import UserError
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.features import Features, PixelFeatures, train_classifier
from noiseworth.evaluate.frechet import frechet_distance, moments
from noiseworth.evaluate.leak import leaked_noise
from noiseworth.evaluate.risk import denoising_risk
from noiseworth.experiments.sampling import samples_of
from noiseworth.records import Evaluation, to_json, write_atomically
from noiseworth.train.run import load_run

FeatureName = Literal["auto", "classifier", "pixels"]


def make_features(name: FeatureName, reference: Dataset, held_out: Dataset | None) -> Features:
    """The features asked for; "auto" is the classifier's where the reference has labels, else the pixels.

    Raises:
        UserError: classifier features are asked for and the reference has no labels.
    """
    labels = reference.labels
    if name == "pixels" or (name == "auto" and labels is None):
        return PixelFeatures(reference.shape)
    if labels is None:
        raise UserError(f"{reference.path}: has no labels, which a classifier needs; use --features pixels")
    test = None if held_out is None or held_out.labels is None else (read_all(held_out), held_out.labels)
    return train_classifier(read_all(reference), labels, test)


def evaluate(
    target: Path | str,
    against: Path | str,
    *,
    held_out: Path | str | None = None,
    features: FeatureName | Features = "auto",
    n: int = 3000,
    steps: int = 18,
    seed: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Distances of generated images from a clean reference and, for a run with held-out images, its denoising risk.

    For a run, images are generated under `run/samples` and the result is also written to `run/evaluation.json`.

    Args:
        target: a run's directory, or a packed data set of generated images.
        against: the reference, a packed data set of clean images.
        held_out: clean images that were not trained on; their own distance from the reference is reported too.
        features: by name, or an object that computes them.
        n: images to generate with a run.
        steps: of the sampler.
        seed: of the generated images and of the noise in the risk.

    Raises:
        UserError: something is missing, is not clean, or differs in shape.
    """
    target = Path(target)
    reference, test = _clean(against), None if held_out is None else _clean(held_out)
    if test is not None:
        _same_shape(test, reference)
    extract = make_features(features, reference, test) if isinstance(features, str) else features
    is_run = (target / "config.yaml").is_file()
    if is_run:
        model = load_run(target)
        if model.shape != reference.shape:
            raise UserError(f"{target}: makes images of shape {model.shape}, {reference.path} has {reference.shape}")
    generated = samples_of(target, n=n, steps=steps, seed=seed, quiet=quiet) if is_run else open_dataset(target)
    _same_shape(generated, reference)
    made, real = read_all(generated), read_all(reference)
    of_made, of_real = extract(made), extract(real)
    of_test = None if test is None else extract(read_all(test))
    found = distances(of_made, of_real, of_test, leaked=leaked_noise(made, real) if min(made.shape[2:]) >= 3 else None, seed=seed)
    result = Evaluation(
        frechet_distance=found.frechet,
        held_out_distance=None if of_test is None else frechet_distance(moments(of_test), moments(of_real)),
        features=extract.describe(),
        n_generated=len(generated),
        n_reference=len(reference),
        steps=steps if is_run else None,
        risk=denoising_risk(model.denoiser, read_all(test), seed=seed) if is_run and test is not None else None,
        seed=seed,
        distances=found,
    )
    if is_run:
        write_atomically(target / "evaluation.json", to_json(result) + "\n")
    return result


def read_all(dataset: Dataset) -> np.typing.NDArray[np.float32]:
    """All images (N, C, H, W) of a data set, in model units."""
    return dataset.read(np.arange(len(dataset)))


def _clean(path: Path | str) -> Dataset:
    dataset = open_dataset(path)
    if (dataset.sigma != 0).any():
        raise UserError(f"{path}: holds noisy images (or such of unknown noise); a reference must be clean")
    return dataset


def _same_shape(dataset: Dataset, reference: Dataset) -> None:
    if dataset.shape != reference.shape:
        raise UserError(
            f"{dataset.path}: images of shape {dataset.shape} cannot be compared with {reference.shape} in {reference.path}"
        )
