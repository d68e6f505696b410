"""Commands that train models, draw from them, and measure them."""

import json
from pathlib import Path
from typing import Literal

from noiseworth.cli.words import first, print_settings, say
from noiseworth.experiments.config import DemoConfig
from noiseworth.records import DoneRecord, to_json
from noiseworth.train.config import TrainConfig


def demo(config: DemoConfig, dry_run: bool, as_json: bool) -> None:
    """Train on four mixes of clean and noisy digits and compare: the main job in miniature, about 4 minutes."""
    if dry_run:
        print_settings(config)
        return
    from noiseworth.data.dataset import open_dataset
    from noiseworth.data.pictures import grid_png
    from noiseworth.experiments.demo import run_demo
    from noiseworth.report.demo import demo_table, write_demo_report

    out = Path(config.out)
    was_done = (out / "summary.json").is_file() and not config.fresh
    summary = run_demo(config, quiet=as_json)
    clean = open_dataset(out / "data" / "digits" / "train")
    page = write_demo_report(summary, out, grid_png(clean.read(first(96))))
    if as_json:
        print(to_json(summary))
        return
    if was_done:
        say(f"{out}: was complete already; --fresh runs it again")
    print(demo_table(summary))
    print(f"\nreport: {page}\nsummary: {out / 'summary.json'}")


def train(config: TrainConfig, dry_run: bool, as_json: bool) -> None:
    """Train one denoiser on images of mixed noise. The same command goes on after an interruption."""
    if dry_run:
        print_settings(config)
        return
    from noiseworth.experiments.watch import watch
    from noiseworth.train.driver import run_training

    _tell_training(run_training(config, watch=watch, quiet=as_json), config.out, as_json)


def _tell_training(done: DoneRecord, out: str, as_json: bool) -> None:
    if as_json:
        print(to_json(done))
        return
    print(f"{out}: {done.n_images:,} images seen in {done.seconds:.0f} s, {done.parameters:,} parameters")
    if done.trained_from:
        print(f"no clean images: trained from sigma {done.trained_from:.3g} up, and sampling will stop there")
    w = done.worth
    for sigma, count, worth, price in zip(w.sigmas, w.counts, w.mean_worth, w.price, strict=True):
        if sigma > 0:
            print(
                f"{count:,} images of sigma {sigma:.3g}: worth {worth:.3f} of a clean one on average over the training levels"
                + (f" (price: {price:.1f} noisy per clean)" if price else " (no price: worth nothing)")
            )
    if any(w.sigmas):
        assumed = "assuming that a level matters as often as it is trained, and that an imputed image is worth what it is trusted"
        print(f"(predicted from this run: worth averaged over the training levels, {assumed})")


def ema(run: str, out: str, sigma_rel: float, n_images: int | None = None, *, as_json: bool) -> None:
    """Make a model of another average of a run's weights, chosen after training (it was trained with --power_ema).

    Args:
        run: a run's directory.
        out: the new run, for sample and evaluate.
        sigma_rel: relative width of the average.
        n_images: where in training; by default at the end.
    """
    from noiseworth.experiments.averages import make_average

    at = make_average(run, out, sigma_rel=sigma_rel, n_images=n_images)
    print(json.dumps({"out": out, "n_images": at}) if as_json else f"{out}: the average of width {sigma_rel:g} at {at:,} images")


def bench_train(
    preset: str = "small",
    size: int = 32,
    channels: int = 3,
    batch: int = 64,
    steps: int = 12,
    precision: Literal["fp32", "bf16"] = "fp32",
    compile: bool = False,
    channels_last: bool = False,
    *,
    as_json: bool,
) -> None:
    """Time training against a bare loop of the same network, step by step in turn: images a second, overhead, arithmetic, memory.

    Args:
        preset: size of the network.
        size: height and width of the images (made up for the purpose).
        channels: of the images.
        batch: images in a step.
        steps: steps of each that are timed, after some that are not.
        precision: arithmetic of the network.
        compile: let torch compile both networks.
        channels_last: store images with their channels last.
    """
    from noiseworth.experiments.speed import measure, speed_lines

    found = measure(
        preset=preset, size=size, channels=channels, batch=batch, steps=steps, precision=precision, compiled=compile,
        channels_last=channels_last,
    )  # fmt: skip
    print(to_json(found) if as_json else "\n".join(speed_lines(found)))


def recipe(file: str, out: str, source: str | None = None, change: list[str] | None = None, *, dry_run: bool, as_json: bool) -> None:
    """Go from the files of a data set to a trained model by one YAML file, see the folder recipes; the same command goes on.

    Args:
        file: the recipe.
        out: directory of the packed data, of the mixed data, and of the run.
        source: the files; by default those that the recipe names.
        change: options in place of the recipe's, as train.n_images=1000 pack.sigma=0.2.
    """
    from noiseworth.experiments.recipe import load_recipe, run_recipe

    found = load_recipe(file, change or [])
    if dry_run:
        import yaml

        print(yaml.safe_dump(found | ({"source": source} if source else {}), sort_keys=False), end="")
        return
    done = run_recipe(found, source, out, quiet=as_json)
    _tell_training(done, f"{out}/run", as_json)


def sample(
    run: str,
    out: str,
    n: int = 64,
    steps: int = 18,
    batch: int = 500,
    seed: int = 0,
    label: int | None = None,
    guidance: float = 1.0,
    *,
    as_json: bool,
) -> None:
    """Generate images with a run, into a data set of their own with a picture, grid.png.

    Args:
        run: a run's directory.
        out: the new data set.
        n: number of images.
        steps: steps of the sampler.
        batch: images at a time.
        seed: of the noise that sampling starts from.
        label: the class to generate, for a run trained with labels.
        guidance: 1 is the model as trained, more is purer and less varied.
    """
    from noiseworth.experiments.sampling import sample_run

    made = sample_run(run, out, n=n, steps=steps, batch=batch, seed=seed, label=label, guidance=guidance, quiet=as_json)
    print(to_json(made.record) if as_json else f"{out}: {len(made):,} images; look at {out}/grid.png")


def evaluate(
    target: str,
    against: str,
    held_out: str | None = None,
    features: str = "auto",
    weights: str | None = None,
    n: int = 3000,
    steps: int = 18,
    seed: int = 0,
    bits: bool = False,
    flow: int = 0,
    page: str | None = None,
    *,
    as_json: bool,
) -> None:
    """Measure a run, or generated images, against clean images.

    Args:
        target: a run's directory, or generated images: a packed data set, a folder, .npz, or whatever else `pack` reads.
        against: a packed data set of clean images, the reference.
        held_out: a packed data set of images that were not trained on, for the denoising risk. Of noisy ones it is estimated without
            bias above their own noise.
        features: what distances are measured in: those of a small "classifier" trained on the reference's labels, or on "rotations"
            where there are none; principal components ("pca"); "pixels"; a directory made by `noiseworth features train`; "inception"
            (FID) or another network of torch-fidelity. By default the classifier's, or without labels the principal components.
        weights: file with the weights of that network; nothing is downloaded.
        n: images to generate with a run.
        steps: steps of the sampler.
        seed: of the generated images and of the noise in the risk.
        bits: also bound the likelihood of held-out clean images, in bits per dimension; takes the risk at 65 levels.
        flow: also integrate it along the probability flow, for the first so many of them; slow, for small images.
        page: an HTML file for all of it, with pictures.
    """
    from noiseworth.experiments.evaluation import evaluate as run
    from noiseworth.report.evaluation import evaluation_table, write_evaluation_page

    result = run(
        target, against, held_out=held_out, features=features, weights=weights, n=n, steps=steps, seed=seed, bits=bits, flow=flow,
        quiet=as_json,
    )  # fmt: skip
    if page:
        from noiseworth.data.dataset import open_dataset
        from noiseworth.data.pictures import grid_png

        real, grid = open_dataset(against), Path(target) / "samples" / "grid.png"
        made = grid.read_bytes() if grid.is_file() else None
        write_evaluation_page(result, Path(page), name=Path(target).name, real=grid_png(real.read(first(96))), made=made)
    if as_json:
        print(to_json(result))
        return
    print(evaluation_table(result))
    for warning in result.distances.warnings if result.distances else []:
        say(f"noiseworth: {warning}")


def report(runs: list[str], out: str = "report.html", title: str = "noiseworth report", *, as_json: bool) -> None:
    """Put finished runs side by side on one self-contained HTML page.

    Args:
        runs: directories of finished runs; the first is the measure of the others.
        out: the HTML file.
        title: of the page.
    """
    from noiseworth.report.page import write_report

    page = write_report([Path(run) for run in runs], Path(out), title=title)
    print(json.dumps({"report": str(page)}) if as_json else f"{page}: open it in a browser")


def features_train(data: str, out: str, kind: str = "auto", held_out: str | None = None, *, as_json: bool) -> None:
    """Train features on clean images and keep them, so that later distances compare with today's.

    Args:
        data: a packed data set of clean images.
        out: the new directory, for `noiseworth evaluate --features`.
        kind: "classifier" by the labels, "rotations" without any, "pca"; by default the first, or without labels the last.
        held_out: a packed data set of other clean images, to measure a classifier's accuracy on.
    """
    from noiseworth.experiments.features import train_features

    made = train_features(data, out, kind=kind, held_out=held_out)
    accuracy = "" if made.accuracy is None else f", {made.accuracy:.1%} right on held-out images"
    print(to_json(made) if as_json else f"{out}: {made.dimension} features ({made.name}{accuracy})")
