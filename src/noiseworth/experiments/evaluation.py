"""Evaluating a run, or a data set of generated images, against a reference."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.feature_files import load_features, save_features
from noiseworth.evaluate.features import Features, PixelFeatures, train_classifier, train_rotations
from noiseworth.evaluate.frechet import frechet_distance, frechet_estimate, moments
from noiseworth.evaluate.leak import leaked_noise
from noiseworth.evaluate.likelihood import LIKELIHOOD_LEVELS, bits_from_risk, bits_in_raw_units
from noiseworth.evaluate.neighbours import Memorisation, memorisation
from noiseworth.evaluate.pca import principal_components
from noiseworth.evaluate.risk import denoising_risk, noisy_risk
from noiseworth.experiments.sampling import samples_of
from noiseworth.records import Evaluation, FeatureRecord, RiskCurve, to_json, write_atomically
from noiseworth.train.config import TrainConfig
from noiseworth.train.run import RunModel, load_run

FEATURES = ("auto", "classifier", "rotations", "pca", "pixels")


def make_features(name: str, reference: Dataset, held_out: Dataset | None) -> Features:
    """The features asked for.

    Args:
        name: "classifier" trains on the reference's labels, "rotations" without any, "pca" takes the principal components of its
            pixels, "pixels" the pixels; "auto" is the classifier's where there are labels, else the principal components; anything
            else is a directory made by `train_features`.

    Raises:
        UserError: classifier features are asked for and the reference has no labels, or there is no such directory.
    """
    labels = reference.labels
    kind = ("pca" if labels is None else "classifier") if name == "auto" else name
    if kind == "pixels":
        return PixelFeatures(reference.shape)
    if kind == "pca":
        return principal_components(read_all(reference))
    if kind == "rotations":
        return train_rotations(read_all(reference), None if held_out is None else read_all(held_out))
    if kind != "classifier":
        return load_features(Path(kind), reference.shape)
    if labels is None:
        raise UserError(f"{reference.path}: has no labels, which a classifier needs; use --features rotations or pca")
    test = None if held_out is None or held_out.labels is None else (read_all(held_out), held_out.labels)
    return train_classifier(read_all(reference), labels, test)


def train_features(data: Path | str, out: Path | str, *, kind: str = "auto", held_out: Path | str | None = None) -> FeatureRecord:
    """Train features on clean images and keep them, so that later numbers compare with today's.

    Args:
        data: packed data set of clean images.
        out: the new directory, for `evaluate --features`.
        kind: "classifier", "rotations", "pca", or "auto", as for `make_features`.
        held_out: other clean images, on which a classifier's accuracy is measured.

    Raises:
        UserError: there is no such kind, the data cannot be used, or `out` exists.
    """
    if kind not in FEATURES[:-1]:
        raise UserError(f"--kind {kind}: must be one of {', '.join(FEATURES[:-1])}")
    reference = _clean(data)
    with new_directory(Path(out)) as folder:
        features = make_features(kind, reference, None if held_out is None else _clean(held_out))
        save_features(features, reference.shape, folder)
    return features.describe()


def evaluate(
    target: Path | str,
    against: Path | str,
    *,
    held_out: Path | str | None = None,
    features: str | Features = "auto",
    n: int = 3000,
    steps: int = 18,
    seed: int = 0,
    bits: bool = False,
    quiet: bool = False,
) -> Evaluation:
    """Distances of generated images from a clean reference and, for a run with held-out images, its denoising risk.

    For a run, images are generated under `run/samples` and the result is also written to `run/evaluation.json`.

    Args:
        target: a run's directory, or a packed data set of generated images.
        against: the reference, a packed data set of clean images.
        held_out: images that were not trained on. Of clean ones the distance from the reference is reported, too; of noisy ones the
            risk alone, estimated without bias above their own noise.
        features: by name (`make_features`), or an object that computes them.
        n: images to generate with a run.
        steps: of the sampler.
        seed: of the generated images and of the noise in the risk.
        bits: bound the likelihood of held-out clean images, by the risk at many levels.

    Raises:
        UserError: something is missing, is not clean, or differs in shape.
    """
    target, reference = Path(target), _clean(against)
    kept = None if held_out is None else open_dataset(held_out)
    if kept is not None:
        kept.require_known_sigma()
        _same_shape(kept, reference)
    test = kept if kept is not None and not kept.sigma.any() else None
    is_run = (target / "config.yaml").is_file()
    if bits and (test is None or not is_run):
        raise UserError("--bits: needs a run, and held-out clean images")
    if kept is not None and test is None and not is_run:
        raise UserError(f"{held_out}: noisy images serve to measure the risk of a run alone, and {target} is none")
    extract = make_features(features, reference, test) if isinstance(features, str) else features
    if is_run:
        model = load_run(target)
        if model.shape != reference.shape:
            raise UserError(f"{target}: makes images of shape {model.shape}, {reference.path} has {reference.shape}")
    generated = samples_of(target, n=n, steps=steps, seed=seed, quiet=quiet) if is_run else open_dataset(target)
    _same_shape(generated, reference)
    made, real = read_all(generated), read_all(reference)
    of_made, of_real = extract(made), extract(real)
    of_test = None if test is None else extract(read_all(test))
    copies = None if of_test is None or not is_run else _copies(model.config, extract, of_made, of_test)
    leaked = leaked_noise(made, real) if min(made.shape[2:]) >= 3 else None
    found = distances(of_made, of_real, copies=copies, leaked=leaked, seed=seed)
    base = moments(of_real)
    risk = likelihood = None
    if is_run and kept is not None:
        risk = _risk(model, kept, seed)
        likelihood = _bits(model, kept, seed) if bits else None
    result = Evaluation(
        frechet_distance=found.frechet,
        held_out_distance=None if of_test is None else frechet_distance(moments(of_test), base),
        held_out_limit=None if of_test is None or len(of_test) < 4 else frechet_estimate(of_test, base, seed).limit,
        features=extract.describe(),
        n_generated=len(generated),
        n_reference=len(reference),
        steps=steps if is_run else None,
        risk=risk,
        seed=seed,
        distances=found,
        risk_on_noisy=risk is not None and test is None,
        bits=likelihood,
    )
    if is_run:
        write_atomically(target / "evaluation.json", to_json(result) + "\n")
    return result


def _copies(config: TrainConfig, extract: Features, made: NDArray[np.floating], held_out: NDArray[np.floating]) -> Memorisation | None:
    """Against the clean images that the run was trained on, where they are still there."""
    try:
        data = open_dataset(config.data).use(config.use)
    except UserError:
        return None
    clean = data.select(data.sigma == 0)
    return memorisation(made, extract(read_all(clean)), held_out) if len(clean) > 1 else None


def _risk(model: RunModel, held_out: Dataset, seed: int) -> RiskCurve:
    images = read_all(held_out)
    if not held_out.sigma.any():
        return denoising_risk(model.denoiser, images, seed=seed)
    return noisy_risk(model.denoiser, images, held_out.sigma, seed=seed)


def _bits(model: RunModel, held_out: Dataset, seed: int) -> float:
    """Bits per dimension in raw units. Whole numbers are spread over their step, as a density needs."""
    images = read_all(held_out)
    if all(np.dtype(part.dtype).kind in "iu" for part in held_out.record.parts):
        step = np.random.default_rng(seed).uniform(-0.5, 0.5, images.shape) / held_out.record.scale
        images = images + step.astype(np.float32)
    curve = denoising_risk(model.denoiser, images, LIKELIHOOD_LEVELS, seed=seed)
    variance = float(images.reshape(len(images), -1).var(axis=0, dtype=np.float64).mean())
    return bits_in_raw_units(bits_from_risk(curve.levels, curve.risk, variance), held_out.record.scale)


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
