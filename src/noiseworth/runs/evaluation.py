"""Evaluating a run, or a data set of generated images, against a reference."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_dataset, read_all
from noiseworth.data.image_grid import grid_png
from noiseworth.data.measured import require_white
from noiseworth.data.pack import pack
from noiseworth.data.storage import is_address
from noiseworth.errors import UserError
from noiseworth.evaluate.distances import distances, fewest_for_limit
from noiseworth.evaluate.feature_registry import features_of, make_features
from noiseworth.evaluate.features import Features
from noiseworth.evaluate.fidelity import FidelityFeatures, inception_score
from noiseworth.evaluate.frechet import frechet_distance, frechet_estimate, moments
from noiseworth.evaluate.learned_noise import learned_noise_if_told
from noiseworth.evaluate.likelihood import LIKELIHOOD_LEVELS, bits_by_flow, bits_from_risk, bits_in_raw_units
from noiseworth.evaluate.neighbours import Memorisation, memorisation
from noiseworth.evaluate.risk import denoising_risk, noisy_risk
from noiseworth.options import with_options
from noiseworth.progress import quiet
from noiseworth.records import DistanceRecord, Evaluation, RiskCurve, to_json, write_atomically
from noiseworth.report.evaluation import write_evaluation_page
from noiseworth.rng import Stream, normal
from noiseworth.runs.config import EvaluationConfig
from noiseworth.runs.convergence import check_convergence, warning_of
from noiseworth.runs.model import RunModel, is_shared, load_run
from noiseworth.runs.own_units import as_generated, require_units
from noiseworth.runs.sampling import samples_of
from noiseworth.train.config import TrainConfig

_EXACT_UP_TO = 16  # dimensions; above, the trace of the flow's Jacobian is estimated
_PROBES = 4  # random directions for that estimate
_FLOW_STEPS = 64
_SHEET = 96  # images on a picture


@with_options(EvaluationConfig)
def run_evaluation(config: EvaluationConfig) -> Evaluation:
    """Distances of generated images from a clean reference and, for a run and held-out images, its risk.

    For a run, images are generated into `run/samples` and the result is also written to
    `run/evaluation.json`.

    Raises:
        UserError: something is missing, of unknown noise, or differs in shape.
    """
    result = evaluate(config)
    if config.page is not None:
        _write_page(config, result)
    return result


def evaluate(config: EvaluationConfig, features: Features | None = None) -> Evaluation:
    """As `run_evaluation`, without the page.

    Args:
        features: used instead of those that the configuration names.

    Raises:
        UserError: see `run_evaluation`.
    """
    target, reference = Path(config.target), _open_reference(config.against)
    held_out = None if config.held_out is None else open_dataset(config.held_out)
    if held_out is not None:
        held_out.require_known_sigma()
        require_white(held_out)
        _require_same_shape(held_out, reference)
    clean_held_out = held_out if held_out is not None and not held_out.sigma.any() else None
    is_run = (target / "config.yaml").is_file() or is_shared(target)
    if (config.bits or config.flow) and (clean_held_out is None or not is_run):
        raise UserError(f"{'--bits' if config.bits else '--flow'}: needs a run, and held-out clean images")
    if held_out is not None and clean_held_out is None and not is_run:
        raise UserError(
            f"{config.held_out}: noisy held-out images can only measure the risk of a run, and {target} is"
            " not a run"
        )
    model = load_run(target) if is_run else None
    require_units(model, reference, held_out)
    if model is not None and model.shape != reference.shape:
        raise UserError(
            f"{target}: generates images of shape {model.shape}, {reference.path} has {reference.shape}"
        )
    weights = None if config.weights is None else str(config.weights)
    extract = features or make_features(config.features, reference, clean_held_out, weights)
    with _generated(config, reference, model) as dataset:
        _require_same_shape(dataset, reference)
        generated = with_noise_of(reference, read_all(dataset), config.seed)
    measured, of_reference, of_held_out = _distances(
        extract, generated, reference, clean_held_out, model, config.seed
    )
    moments_of_reference = moments(of_reference)
    held_out_distance = held_out_limit = None
    if of_held_out is not None:
        held_out_distance = frechet_distance(moments(of_held_out), moments_of_reference)
        if len(of_held_out) >= fewest_for_limit(of_held_out.shape[1]):
            held_out_limit = frechet_estimate(of_held_out, moments_of_reference, config.seed).limit
    risk = None if model is None or held_out is None else _risk(model, held_out, config.seed)
    convergence = None
    if model is not None and config.check_steps and not reference.sigma.any():
        some = extract(generated[: config.check_steps])
        convergence = check_convergence(config, model, extract, some, moments_of_reference, measured)
        if convergence is not None and not convergence.converged:
            warning = warning_of(convergence, target)
            measured = replace(measured, warnings=[*measured.warnings, warning])
    result = Evaluation(
        frechet_distance=measured.frechet,
        held_out_distance=held_out_distance,
        held_out_limit=held_out_limit,
        n_held_out=None if of_held_out is None else len(of_held_out),
        features=extract.describe(),
        n_generated=len(generated),
        n_reference=len(reference),
        steps=config.steps if is_run else None,
        risk=risk,
        seed=config.seed,
        distances=measured,
        risk_on_noisy=risk is not None and clean_held_out is None,
        reference=reference.record.fingerprint,
        convergence=convergence,
    )
    if model is not None and clean_held_out is not None and (config.bits or config.flow):
        result = _with_bits(result, model, clean_held_out, bits=config.bits, flow=config.flow)
    if is_run:
        write_atomically(target / "evaluation.json", to_json(result) + "\n")
    return result


def _write_page(config: EvaluationConfig, result: Evaluation) -> None:
    target, reference = Path(config.target), open_dataset(config.against)
    grid = target / "samples" / "grid.png"
    made = grid.read_bytes() if grid.is_file() else None
    write_evaluation_page(
        result,
        Path(str(config.page)),
        name=target.name,
        real=grid_png(reference.read_first(_SHEET)),
        made=made,
    )


def _open_reference(path: Path | str) -> Dataset:
    """The clean images of a data set; all of them where none is clean.

    Raises:
        UserError: there is no data set, or the noise of an image is unknown.
    """
    dataset = open_dataset(path)
    dataset.require_known_sigma()
    is_clean = dataset.is_clean
    if is_clean.any() and not is_clean.all():
        return dataset.select(is_clean)
    require_white(dataset)
    return dataset


def with_noise_of(reference: Dataset, images: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Generated images with the noise of a noisy reference, so that like is compared with like; as they are where it is clean.

    Image `i` gets the level of image `i` of the reference, over and over.
    """
    if not reference.sigma.any():
        return images
    sigma = np.resize(reference.sigma, len(images))[:, None, None, None]
    noise = normal(seed, Stream.COMPARE, torch.arange(len(images)), images.shape[1:])
    noisy: NDArray[np.float32] = images + sigma * noise.numpy()
    return noisy


def _of_reference(reference: Dataset) -> list[str]:
    """What to beware of in distances from this reference."""
    if reference.sigma.any():
        what = "its noise was added to the generated ones, and distances see what it leaves to be seen"
        return [f"the reference has no clean images: {what}"]
    if len(reference) < reference.record.count:
        return [f"the reference are the {len(reference):,} clean images of {reference.path}"]
    return []


@contextmanager
def _generated(config: EvaluationConfig, reference: Dataset, model: RunModel | None) -> Iterator[Dataset]:
    """The images to measure; they can be read only inside the `with` block."""
    target = Path(config.target)
    if model is not None:
        yield samples_of(
            model, target, n=config.n, steps=config.steps, seed=config.seed, schedule=config.schedule
        )
    elif (target / "dataset.json").is_file():
        yield open_dataset(target)
    else:
        record = reference.record
        ends = (record.offset - record.scale, record.offset + record.scale)
        with tempfile.TemporaryDirectory(prefix="noiseworth-") as folder, quiet():
            pack(str(target), f"{folder}/generated", sigma=0.0, float_range=ends)
            yield open_dataset(f"{folder}/generated")


def _distances(
    extract: Features,
    generated: NDArray[np.float32],
    reference: Dataset,
    held_out: Dataset | None,
    model: RunModel | None,
    seed: int,
) -> tuple[DistanceRecord, NDArray[np.floating], NDArray[np.floating] | None]:
    """All distances; the features of the reference; and those of the held-out images, if any."""
    score: tuple[float | None, float | None] = (None, None)
    if isinstance(extract, FidelityFeatures):
        of_generated, logits = extract.with_logits(generated)
        if logits is not None:
            score = inception_score(logits, seed=seed)
    else:
        of_generated = extract(generated)
    of_reference = features_of(extract, reference)
    of_held_out = None if held_out is None else features_of(extract, held_out)
    copies = (
        None
        if of_held_out is None or model is None
        else _copies(model.config, extract, of_generated, of_held_out)
    )
    noise, few = learned_noise_if_told(generated, lambda: read_all(reference), len(reference))
    record = distances(of_generated, of_reference, copies=copies, noise=noise, seed=seed)
    record = replace(
        record,
        inception_score=score[0],
        inception_score_sd=score[1],
        warnings=record.warnings + few + _of_reference(reference),
    )
    return record, of_reference, of_held_out


def _copies(
    config: TrainConfig, extract: Features, generated: NDArray[np.floating], held_out: NDArray[np.floating]
) -> Memorisation | None:
    """Copies of the clean images that the run was trained on; None if these are not on this machine's disk."""
    if is_address(config.data):
        return None  # the run may be a stranger's: only an address that the user typed is called
    try:
        data = open_dataset(config.data).use(config.use)
    except UserError:
        return None
    clean = data.select(data.is_clean)
    return memorisation(generated, extract(as_generated(clean)), held_out) if len(clean) > 1 else None


def _risk(model: RunModel, held_out: Dataset, seed: int) -> RiskCurve:
    images = read_all(held_out)
    if not held_out.sigma.any():
        return denoising_risk(model.denoiser, images, seed=seed)
    return noisy_risk(model.denoiser, images, held_out.sigma, seed=seed)


def _with_bits(
    result: Evaluation, model: RunModel, held_out: Dataset, *, bits: bool, flow: int
) -> Evaluation:
    """Add bits per dimension in raw units: the bound by the risk, and the flow's value for `flow` images.

    Uniform noise of one step is added to whole numbers, which have no density (dequantisation).
    """
    images, scale = read_all(held_out), held_out.record.scale
    if all(np.dtype(part.dtype).kind in "iu" for part in held_out.record.parts):
        step = np.random.default_rng(result.seed).uniform(-0.5, 0.5, images.shape) / scale
        images = images + step.astype(np.float32)
    variance = float(images.reshape(len(images), -1).var(axis=0, dtype=np.float64).mean())
    if bits:
        curve = denoising_risk(model.denoiser, images, LIKELIHOOD_LEVELS, seed=result.seed)
        result = replace(
            result, bits=bits_in_raw_units(bits_from_risk(curve.levels, curve.risk, variance), scale)
        )
    if flow:
        probes = None if images[0].size <= _EXACT_UP_TO else _PROBES
        each = bits_by_flow(
            model.denoiser,
            images[:flow],
            variance=variance,
            steps=_FLOW_STEPS,
            probes=probes,
            seed=result.seed,
        )
        error = float(each.std(ddof=1) / len(each) ** 0.5) if len(each) > 1 else None
        result = replace(
            result, bits_by_flow=bits_in_raw_units(float(each.mean()), scale), bits_by_flow_error=error
        )
    return result


def _require_same_shape(dataset: Dataset, reference: Dataset) -> None:
    if dataset.shape != reference.shape:
        raise UserError(
            f"{dataset.path}: images of shape {dataset.shape} cannot be compared with {reference.shape} in"
            f" {reference.path}"
        )
