"""Evaluating a run, or a data set of generated images, against a reference."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.features import Features
from noiseworth.evaluate.fidelity import FidelityFeatures, inception_score
from noiseworth.evaluate.frechet import frechet_distance, frechet_estimate, moments
from noiseworth.evaluate.leak import leaked_noise
from noiseworth.evaluate.likelihood import LIKELIHOOD_LEVELS, bits_by_flow, bits_from_risk, bits_in_raw_units
from noiseworth.evaluate.neighbours import Memorisation, memorisation
from noiseworth.evaluate.risk import denoising_risk, noisy_risk
from noiseworth.experiments.features import features_of, make_features, open_clean, read_all
from noiseworth.experiments.sampling import samples_of
from noiseworth.records import DistanceRecord, Evaluation, RiskCurve, to_json, write_atomically
from noiseworth.train.config import TrainConfig
from noiseworth.train.run import RunModel, load_run

_EXACT_UP_TO = 16  # dimensions; beyond, the trace of the flow's derivative is estimated, by so many random directions
_PROBES, _FLOW_STEPS = 4, 64


def evaluate(
    target: Path | str,
    against: Path | str,
    *,
    held_out: Path | str | None = None,
    features: str | Features = "auto",
    weights: str | None = None,
    n: int = 3000,
    steps: int = 18,
    seed: int = 0,
    bits: bool = False,
    flow: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Distances of generated images from a clean reference and, for a run with held-out images, its denoising risk.

    For a run, images are generated under `run/samples` and the result is also written to `run/evaluation.json`.

    Args:
        target: a run's directory, or generated images: a packed data set, or anything that `pack` reads (a folder, .npz, ...), where
            whole numbers span their type and floating-point numbers are in the reference's raw units.
        against: the reference, a packed data set of clean images.
        held_out: images that were not trained on. Of clean ones the distance from the reference is reported, too; of noisy ones the
            risk alone, estimated without bias above their own noise.
        features: by name (`features.make_features`), or an object that computes them.
        weights: file with the weights of a network of torch-fidelity.
        n: images to generate with a run.
        steps: of the sampler.
        seed: of the generated images and of the noise in the risk.
        bits: bound the likelihood of held-out clean images, by the risk at many levels.
        flow: held-out clean images (the first so many) whose likelihood is also integrated along the probability flow.

    Raises:
        UserError: something is missing, is not clean, or differs in shape.
    """
    target, reference = Path(target), open_clean(against)
    kept = None if held_out is None else open_dataset(held_out)
    if kept is not None:
        kept.require_known_sigma()
        _same_shape(kept, reference)
    test = kept if kept is not None and not kept.sigma.any() else None
    is_run = (target / "config.yaml").is_file()
    if (bits or flow) and (test is None or not is_run):
        raise UserError(f"{'--bits' if bits else '--flow'}: needs a run, and held-out clean images")
    if kept is not None and test is None and not is_run:
        raise UserError(f"{held_out}: noisy images serve to measure the risk of a run alone, and {target} is none")
    model = load_run(target) if is_run else None
    if model is not None and model.shape != reference.shape:
        raise UserError(f"{target}: makes images of shape {model.shape}, {reference.path} has {reference.shape}")
    extract = make_features(features, reference, test, weights) if isinstance(features, str) else features
    with _generated(target, reference, is_run, n=n, steps=steps, seed=seed, quiet=quiet) as generated:
        _same_shape(generated, reference)
        made = read_all(generated)
    found, of_real, of_test = _distances(extract, made, reference, test, model, seed)
    base = moments(of_real)
    risk = _risk(model, kept, seed) if model is not None and kept is not None else None
    result = Evaluation(
        frechet_distance=found.frechet,
        held_out_distance=None if of_test is None else frechet_distance(moments(of_test), base),
        held_out_limit=None if of_test is None or len(of_test) < 4 else frechet_estimate(of_test, base, seed).limit,
        features=extract.describe(),
        n_generated=len(made),
        n_reference=len(reference),
        steps=steps if is_run else None,
        risk=risk,
        seed=seed,
        distances=found,
        risk_on_noisy=risk is not None and test is None,
        reference=reference.record.fingerprint,
    )
    if model is not None and test is not None and (bits or flow):
        result = _with_bits(result, model, test, bits=bits, flow=flow)
    if is_run:
        write_atomically(target / "evaluation.json", to_json(result) + "\n")
    return result


@contextmanager
def _generated(target: Path, reference: Dataset, is_run: bool, *, n: int, steps: int, seed: int, quiet: bool) -> Iterator[Dataset]:
    """The images to measure, read while this lasts."""
    if is_run:
        yield samples_of(target, n=n, steps=steps, seed=seed, quiet=quiet)
    elif (target / "dataset.json").is_file():
        yield open_dataset(target)
    else:
        record = reference.record
        span = (record.offset - record.scale, record.offset + record.scale)
        with tempfile.TemporaryDirectory(prefix="noiseworth-") as folder:
            pack(str(target), Path(folder) / "generated", sigma=0.0, float_range=span)
            yield open_dataset(Path(folder) / "generated")


def _distances(
    extract: Features, made: NDArray[np.float32], reference: Dataset, test: Dataset | None, model: RunModel | None, seed: int
) -> tuple[DistanceRecord, NDArray[np.floating], NDArray[np.floating] | None]:
    """Everything that features say, those of the reference, and those of held-out images."""
    score: tuple[float | None, float | None] = (None, None)
    if isinstance(extract, FidelityFeatures):
        of_made, logits = extract.with_logits(made)
        score = (None, None) if logits is None else inception_score(logits, seed=seed)
    else:
        of_made = extract(made)
    of_real = features_of(extract, reference)
    of_test = None if test is None else features_of(extract, test)
    copies = None if of_test is None or model is None else _copies(model.config, extract, of_made, of_test)
    leaked = leaked_noise(made, read_all(reference)) if min(made.shape[2:]) >= 3 else None
    found = distances(of_made, of_real, copies=copies, leaked=leaked, seed=seed)
    return replace(found, inception_score=score[0], inception_score_sd=score[1]), of_real, of_test


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


def _with_bits(result: Evaluation, model: RunModel, held_out: Dataset, *, bits: bool, flow: int) -> Evaluation:
    """Bits per dimension in raw units: the bound by the risk, and the exact value of the first `flow` images. Whole numbers are
    spread over their step, as a density needs."""
    images, scale = read_all(held_out), held_out.record.scale
    if all(np.dtype(part.dtype).kind in "iu" for part in held_out.record.parts):
        step = np.random.default_rng(result.seed).uniform(-0.5, 0.5, images.shape) / scale
        images = images + step.astype(np.float32)
    variance = float(images.reshape(len(images), -1).var(axis=0, dtype=np.float64).mean())
    if bits:
        curve = denoising_risk(model.denoiser, images, LIKELIHOOD_LEVELS, seed=result.seed)
        result = replace(result, bits=bits_in_raw_units(bits_from_risk(curve.levels, curve.risk, variance), scale))
    if flow:
        probes = None if images[0].size <= _EXACT_UP_TO else _PROBES
        each = bits_by_flow(model.denoiser, images[:flow], variance=variance, steps=_FLOW_STEPS, probes=probes, seed=result.seed)
        error = float(each.std(ddof=1) / len(each) ** 0.5) if len(each) > 1 else None
        result = replace(result, bits_by_flow=bits_in_raw_units(float(each.mean()), scale), bits_by_flow_error=error)
    return result


def _same_shape(dataset: Dataset, reference: Dataset) -> None:
    if dataset.shape != reference.shape:
        raise UserError(
            f"{dataset.path}: images of shape {dataset.shape} cannot be compared with {reference.shape} in {reference.path}"
        )
