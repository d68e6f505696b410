"""What the commands that train models, sample from them and measure them print."""

from pathlib import Path
from typing import Any

from noiseworth.evaluate.config import FeaturesConfig
from noiseworth.progress import notice
from noiseworth.records import (
    AverageRecord,
    DemoSummary,
    DoneRecord,
    Evaluation,
    FeatureRecord,
    ReportRecord,
    RestoreRecord,
    SharedRecord,
    SpeedRecord,
    WorthRecord,
)
from noiseworth.restore.config import RestoreConfig
from noiseworth.runs.config import (
    DemoConfig,
    EvaluationConfig,
    RecipeConfig,
    ReportConfig,
    SampleConfig,
    ShareConfig,
)
from noiseworth.train.config import BenchmarkConfig, EmaConfig, TrainConfig


def print_demo(config: DemoConfig, summary: DemoSummary) -> None:
    """The demo's table, and where its page is."""
    from noiseworth.report.demo import demo_table

    out = Path(config.out)
    print(demo_table(summary))
    print(f"\nreport: {out / 'report.html'}\nsummary: {out / 'summary.json'}")


def print_training(config: TrainConfig, done: DoneRecord) -> None:
    """What was trained, and what the noisy images were worth."""
    _print_done(config.out, done)


def print_recipe(config: RecipeConfig, done: DoneRecord) -> None:
    """The same, of the run of a recipe."""
    _print_done(f"{config.out}/run", done)


def _print_done(run: str, done: DoneRecord) -> None:
    print(f"{run}: {done.n_images:,} images seen in {done.seconds:.0f} s, {done.parameters:,} parameters")
    if done.trained_from:
        print(f"no clean images: trained from sigma {done.trained_from:.3g} up, and sampling will stop there")
    w = done.worth
    names = [w.name(group) for group in range(len(w.sigmas))]
    for group, (name, count, worth) in enumerate(zip(names, w.counts, w.mean_worth, strict=True)):
        if name is not None:
            average = "of a clean one"
            print(f"{count:,} images of {name}: worth {worth:.3f} {average} ({_price(w, group)})")
    if any(names):
        assumed = (
            "assuming that its error falls as 1 / N, and that an imputed image is worth what it is trusted"
        )
        print(f"(predicted from this run for its denoising risk, {assumed})")


def _price(w: WorthRecord, group: int) -> str:
    price, ends = w.price[group], w.price_ends(group)
    if price is None:
        few = f"{sum(w.counts):,} images are too few to tell, at least {w.FEWEST} are needed"
        return "no price: " + (few if sum(w.counts) < w.FEWEST else "worth nothing")
    words = f"price: {price:.1f} noisy per clean"
    if ends is not None:
        most = "never" if ends[1] is None else f"{ends[1]:.1f}"
        words += f"; {ends[0]:.1f} if imputed images are worth clean ones, {most} if nothing"
    return words


def print_average(config: EmaConfig, record: AverageRecord) -> None:
    """Which average was made."""
    print(f"{record.out}: the average of width {config.sigma_rel:g} at {record.n_images:,} images")


def print_speed(config: BenchmarkConfig, record: SpeedRecord) -> None:
    """Everything that was measured."""
    print("\n".join(benchmark_lines(record)))


def benchmark_lines(record: SpeedRecord) -> list[str]:
    """A speed measurement in text, a line each."""
    r = record
    utilisation = "" if r.utilisation is None else f", {r.utilisation:.0%} of the device's bf16"
    return [
        f"{r.preset}, {r.size}x{r.size}, batch {r.batch}, {r.precision}, on {r.device}",
        f"{r.parameters:,} parameters, {r.gflop_forward:.3g} GFLOP forward an image",
        (
            f"{r.images_per_second:.1f} images/s; a bare loop {r.bare_images_per_second:.1f}; overhead"
            f" {r.overhead:.1%}"
        ),
        f"{r.tflops:.3g} TFLOP/s{utilisation}",
        f"peak memory {r.peak_gib:.2f} GiB",
    ]


def print_samples(config: SampleConfig, dataset: Any) -> None:
    """Where the images are."""
    print(f"{config.out}: {len(dataset):,} images; open {config.out}/grid.png to see them")


def print_evaluation(config: EvaluationConfig, result: Evaluation) -> None:
    """Every number, and what to beware of."""
    from noiseworth.report.evaluation import evaluation_table

    print(evaluation_table(result))
    for warning in result.distances.warnings if result.distances else []:
        notice(warning)


def print_features(config: FeaturesConfig, record: FeatureRecord) -> None:
    """Which features were made."""
    accuracy = "" if record.accuracy is None else f", {record.accuracy:.1%} right on held-out images"
    print(f"{config.out}: {record.dimension} features ({record.name}{accuracy})")


def print_report(config: ReportConfig, record: ReportRecord) -> None:
    """Where the page is."""
    print(f"{record.report}: open it in a browser")


def print_restored(config: RestoreConfig, record: RestoreRecord) -> None:
    """What was restored, how much noise is left, and how its intervals were made."""
    images = "1 image" if record.count == 1 else f"{record.count:,} images"
    print(f"{record.path}: {images} restored")
    if record.error is not None and record.noise is not None:
        print(f"noise of {record.noise:.4g} raw units, of which an error of {record.error:.4g} is left")
        print(
            f"intervals of 90%: {record.factor:.2f} standard deviations to either side, calibrated on {record.way}"
            f" ({record.looked_at:,} of {'them' if record.way == 'clean images' else 'the noisy images'})"
        )
    if record.odd and record.left is not None:
        print(
            f"what was taken off is not what white noise leaves (neighbouring pixels correlate by {record.left[0]:.2f}, and not"
            f" {record.left[1]:.2f}): the noise is not white or of another level (`noiseworth noise check`), or the images are not of the"
            " kind that the run was trained on"
        )
    if config.page is not None:
        print(f"{config.page}: open it in a browser")


def print_shared(config: ShareConfig, record: SharedRecord) -> None:
    """What was written, and how to use it and give it away."""
    print(
        f"{config.out}: the model {record.name}, licence {record.licence}; every command takes it in place of a run"
    )
    print(
        f"look at {Path(config.out) / 'README.md'} before you give it away; to upload it: hf upload NAME {config.out}"
    )
