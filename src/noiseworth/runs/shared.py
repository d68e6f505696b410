"""Models to give away: a run's averaged weights with all that their use needs, and a card that says what they are.

A shared model is a directory, which every command takes in place of a run: `config.json` (`records.SharedRecord`),
`model.safetensors`, and `README.md`, the model card as Hugging Face shows it. Nothing of the training data is in it.
"""

import math
from pathlib import Path

from noiseworth.data.made_by import Making
from noiseworth.data.writer import new_directory, write_tensors
from noiseworth.errors import UserError
from noiseworth.networks.adopted import words_of
from noiseworth.options import with_options
from noiseworth.records import (
    SHARED_FORMAT,
    DoneRecord,
    Evaluation,
    SharedRecord,
    load_record,
    sha256_of,
    to_json,
    write_atomically,
)
from noiseworth.runs.config import ShareConfig
from noiseworth.runs.model import CONFIG, WEIGHTS, RunModel, load_run
from noiseworth.runs.onnx_export import export_onnx


@with_options(ShareConfig)
def share_model(config: ShareConfig) -> SharedRecord:
    """Write a run's model into a directory that can be given away.

    Raises:
        UserError: there is no such run, it is not finished, or `out` holds something else.
    """
    making = Making("share", config)
    if (earlier := making.found(SharedRecord)) is not None:
        return earlier
    run = Path(config.run)
    model = load_run(run)
    if not (run / "DONE.json").is_file():
        raise UserError(
            f"{run}: the training is not finished, or this is a shared model already; share a finished run"
        )
    done = load_record(DoneRecord, run / "DONE.json")
    evaluation = (
        load_record(Evaluation, run / "evaluation.json") if (run / "evaluation.json").is_file() else None
    )
    with new_directory(Path(config.out)) as folder:
        write_tensors(folder / WEIGHTS, model.denoiser.state_dict())
        record = _record(config, model, done, sha256_of(folder / WEIGHTS))
        if config.onnx:
            export_onnx(model, folder / "model.onnx")
        write_atomically(folder / CONFIG, to_json(record) + "\n")
        write_atomically(folder / "README.md", model_card(record, done, evaluation))
        making.note(folder, record)
    return record


def _record(config: ShareConfig, model: RunModel, done: DoneRecord, weights: str) -> SharedRecord:
    preset = model.config.preset
    assert preset is not None
    return SharedRecord(
        format=SHARED_FORMAT,
        name=config.name or Path(config.run).resolve().name,
        preset=preset,
        shape=model.shape,
        classes=model.classes,
        sigma_data=model.denoiser.sigma_data,
        offset=model.offset,
        scale=model.scale,
        trained_from=model.trained_from,
        posterior_variance=model.v.state(),
        n_images=model.n_images,
        weights=weights,
        data_fingerprint=done.data_fingerprint,
        sigmas=done.worth.sigmas,
        counts=done.worth.counts,
        licence=config.licence,
        stabilised=model.stabilised,
    )


def model_card(record: SharedRecord, done: DoneRecord, evaluation: Evaluation | None) -> str:
    """The text of `README.md`, with the head that Hugging Face reads."""
    channels, height, width = record.shape
    total = sum(record.counts)
    clean = sum(count for count, sigma in zip(record.counts, record.sigmas, strict=True) if sigma == 0)
    lines = [
        "---",
        f"license: {record.licence}",
        "library_name: noiseworth",
        "tags: [diffusion, denoising, unconditional-image-generation, noiseworth]",
        "---",
        "",
        f"# {record.name}",
        "",
        f"A diffusion model of images of {width}x{height} pixels and {channels} channel{'s' * (channels > 1)}"
        + (f", of {record.classes} classes" if record.classes else "")
        + f", trained with noiseworth on {total:,} images, {clean / total:.0%} of them clean,"
        " the others noisy.",
        "",
        "## Use",
        "",
        "```bash",
        "noiseworth restore THIS_DIRECTORY noisy/ restored    # take the noise out of images",
        "noiseworth sample THIS_DIRECTORY samples             # make new ones",
        "```",
        "",
        "## Training data",
        "",
        (
            f"Fingerprint `{record.data_fingerprint}`. Noise levels are standard deviations where clean values span [-1, 1]; raw values"
            f" {record.offset - record.scale:g} to {record.offset + record.scale:g} are that range."
        ),
        "",
        "| noise level | images |",
        "|---|---|",
        *(
            f"| {'clean' if sigma == 0 else f'{sigma:.3g}'} | {count:,} |"
            for sigma, count in zip(record.sigmas, record.counts, strict=True)
        ),
        "",
        f"{record.n_images:,} images were seen in training; the network is {words_of(record.preset)}, of {done.parameters:,} parameters.",
        "",
        "## Quality",
        "",
        *_quality(evaluation),
        "",
        "## Limits",
        "",
        "It knows images of this kind alone. Given others, it draws what it knows: look at the share of the data that `restore` gives."
        + (
            f" It saw no noise level below {record.trained_from:.3g}: what it generates is smoother than clean images are."
            if record.trained_from > 0
            else ""
        ),
        "",
    ]
    return "\n".join(lines)


def _quality(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["Not measured (`noiseworth evaluate` before `noiseworth share`)."]
    name = (
        "FID"
        if evaluation.features.inception
        else f"Frechet distance in features of the kind {evaluation.features.name}"
    )
    lines = [
        f"{name} of {evaluation.n_generated:,} generated images from {evaluation.n_reference:,} clean ones: "
        f"{evaluation.frechet_distance:.4g}"
        + ("" if evaluation.steps is None else f", {evaluation.steps} steps of the sampler")
        + (
            "."
            if evaluation.held_out_distance is None
            else f"; that of held-out real images: {evaluation.held_out_distance:.4g}."
        )
    ]
    if evaluation.risk is not None:
        ratio = [r / s**2 for r, s in zip(evaluation.risk.risk, evaluation.risk.levels, strict=True)]
        mean = math.exp(sum(math.log(max(r, 1e-12)) for r in ratio) / len(ratio))
        lines.append(
            f"Denoising risk over the level squared, geometric mean over {len(ratio)} levels: {mean:.4g}."
        )
    return lines
