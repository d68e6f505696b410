"""The command line: thin commands over the library. Heavy imports happen inside the commands, so that `--help` is quick.

Exit codes: 0 done; 2 bad input or settings, said in one line; 128 + number, stopped by a signal with the state saved.
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from noiseworth.errors import Stopped, UserError
from noiseworth.experiments.config import DemoConfig, TheoryConfig
from noiseworth.records import to_json
from noiseworth.train.config import TrainConfig

_FLAGS = ("--json", "--dry_run", "--fresh")


def demo(config: DemoConfig, dry_run: bool, as_json: bool) -> None:
    """Train on four mixes of clean and noisy digits and compare: the main job in miniature, about 4 minutes."""
    if dry_run:
        _print_settings(config)
        return
    from noiseworth.data.dataset import open_dataset
    from noiseworth.data.pictures import grid_png
    from noiseworth.experiments.demo import run_demo
    from noiseworth.report.demo import demo_table, write_demo_report

    out = Path(config.out)
    was_done = (out / "summary.json").is_file() and not config.fresh
    summary = run_demo(config, quiet=as_json)
    clean = open_dataset(out / "data" / "digits" / "train")
    page = write_demo_report(summary, out, grid_png(clean.read(_first(96))))
    if as_json:
        print(to_json(summary))
        return
    if was_done:
        _say(f"{out}: was complete already; --fresh runs it again")
    print(demo_table(summary))
    print(f"\nreport: {page}\nsummary: {out / 'summary.json'}")


def pack(
    source: str,
    out: str,
    sigma: float | None = None,
    held_out: int = 0,
    seed: int = 0,
    name: str | None = None,
    *,
    value_range: tuple[float, float] | None,
    as_json: bool,
) -> None:
    """Pack images, with the noise level of each, into a data set.

    Args:
        source: a folder of images (PNG, JPEG, WebP, TIFF, BMP), a .npy or .npz file, or sklearn:digits.
        out: the new data set; with --held_out, the folder that will hold OUT/train and OUT/held-out.
        sigma: noise standard deviation of every image, where the range of clean values is [-1, 1]; 0 for clean. Left out:
            unknown, and training will refuse it.
        held_out: number of images to set aside for measuring.
        seed: decides which images are held out.
        name: of the data set; by default the name of the source.
    """
    from noiseworth.data.pack import pack as run

    records = run(source, out, sigma=sigma, value_range=value_range, held_out=held_out, seed=seed, name=name)
    if as_json:
        print(json.dumps([dataclasses.asdict(r) for r in records], indent=1))
        return
    for record in records:
        channels, height, width = record.shape
        place = Path(out) / record.provenance[0].get("split", "")
        noise = "noise unknown (give --sigma to train on it)" if sigma is None else f"sigma {sigma:g}"
        print(f"{place}: {record.count:,} images of {width}x{height}x{channels}, {record.parts[0].dtype}, {noise}")


def corrupt(source: str, out: str, clean_fraction: float, sigma: float, seed: int = 0, *, as_json: bool) -> None:
    """Add noise to all but a fraction of a clean data set, once and for all.

    Args:
        source: a packed data set of clean images.
        out: the new data set.
        clean_fraction: share of the images that stay clean, 0 to 1.
        sigma: noise standard deviation of the others, where the range of clean values is [-1, 1].
        seed: decides which images stay clean, and the noise.
    """
    from noiseworth.data.corrupt import corrupt as run

    record = run(source, out, clean_fraction=clean_fraction, sigma=sigma, seed=seed)
    if as_json:
        print(to_json(record))
        return
    rounding = record.provenance[-1].get("rounding_over_sigma")
    for part in record.parts:
        noisy = part == record.parts[-1] and rounding is not None
        print(f"{out}/{part.folder}: {part.count:,} images, " + (f"sigma {sigma:g}" if noisy else "clean") + f", {part.dtype}")
    if rounding:
        print(f"storing the noise in {record.parts[-1].dtype} rounds it by {rounding:.2%} of sigma")


def inspect(data: str, picture: str | None = None, *, as_json: bool) -> None:
    """Show what is in a data set: counts, values, noise levels.

    Args:
        data: a packed data set.
        picture: write a grid of the first images to this PNG.
    """
    from noiseworth.data.dataset import open_dataset
    from noiseworth.data.inspect import inspect as run

    dataset = open_dataset(data)
    found = run(dataset)
    if picture is not None:
        from noiseworth.data.pictures import grid_png

        Path(picture).write_bytes(grid_png(dataset.read(_first(min(96, len(dataset))))))
    if as_json:
        print(to_json(found))
        return
    channels, height, width = found.shape
    print(f"{found.name}: {found.count:,} images of {width}x{height}x{channels}, {', '.join(p.dtype for p in found.parts)}")
    print(f"values (model units): {found.minimum:.3g} to {found.maximum:.3g}, mean {found.mean:.3g}, sd {found.standard_deviation:.3g}")
    if found.label_counts:
        print(f"labels: {len(found.label_counts)} classes of {min(found.label_counts):,} to {max(found.label_counts):,} images")
    for group in found.noise:
        noise = "clean" if group.snr_db is None else f"sigma {group.sigma:.4g} (SNR {group.snr_db:.2f} dB)"
        print(f"{group.count:>10,}  {noise}")
    if found.unknown:
        print(f"{found.unknown:>10,}  noise unknown")


def train(config: TrainConfig, dry_run: bool, as_json: bool) -> None:
    """Train one denoiser on images of mixed noise. The same command goes on after an interruption."""
    if dry_run:
        _print_settings(config)
        return
    from noiseworth.train.driver import run_training

    done = run_training(config, quiet=as_json)
    if as_json:
        print(to_json(done))
        return
    print(f"{config.out}: {done.n_images:,} images seen in {done.seconds:.0f} s, {done.parameters:,} parameters")
    if done.trained_from:
        print(f"no clean images: trained from sigma {done.trained_from:.3g} up, and sampling will stop there")
    w = done.worth
    for sigma, count, worth, price in zip(w.sigmas, w.counts, w.mean_worth, w.price, strict=True):
        if sigma > 0:
            print(
                f"{count:,} images of sigma {sigma:.3g}: worth {worth:.3f} of a clean one on average over the training levels"
                + (f" (price: {price:.1f} noisy per clean)" if price else " (no price: worth nothing)")
            )


def sample(run: str, out: str, n: int = 64, steps: int = 18, batch: int = 500, seed: int = 0, *, as_json: bool) -> None:
    """Generate images with a run, into a data set of their own with a picture, grid.png.

    Args:
        run: a run's directory.
        out: the new data set.
        n: number of images.
        steps: steps of the sampler.
        batch: images at a time.
        seed: of the noise that sampling starts from.
    """
    from noiseworth.experiments.sampling import sample_run

    made = sample_run(run, out, n=n, steps=steps, batch=batch, seed=seed, quiet=as_json)
    print(to_json(made.record) if as_json else f"{out}: {len(made):,} images; look at {out}/grid.png")


def evaluate(
    target: str,
    against: str,
    held_out: str | None = None,
    features: Literal["auto", "classifier", "pixels"] = "auto",
    n: int = 3000,
    steps: int = 18,
    seed: int = 0,
    *,
    as_json: bool,
) -> None:
    """Measure a run, or a data set of generated images, against clean images.

    Args:
        target: a run's directory, or a packed data set of generated images.
        against: a packed data set of clean images, the reference.
        held_out: a packed data set of clean images that were not trained on, for the denoising risk.
        features: what the Frechet distance is measured in: a small classifier trained on the reference's labels, or the pixels.
        n: images to generate with a run.
        steps: steps of the sampler.
        seed: of the generated images and of the noise in the risk.
    """
    from noiseworth.experiments.evaluation import evaluate as run

    result = run(target, against, held_out=held_out, features=features, n=n, steps=steps, seed=seed, quiet=as_json)
    if as_json:
        print(to_json(result))
        return
    kind = result.features
    accuracy = "" if kind.accuracy is None else f", {kind.accuracy:.1%} right on held-out images"
    print(f"Frechet distance  {result.frechet_distance:.4f}  ({kind.name}, {kind.dimension} features{accuracy}; not an FID)")
    if result.held_out_distance is not None:
        print(f"  of held-out     {result.held_out_distance:.4f}")
    print(f"  images          {result.n_generated:,} against {result.n_reference:,}")
    if result.risk is not None:
        print(f"denoising risk    {result.risk.relative:.4f} of sigma^2, mean over the levels")
        for level, risk, error in zip(result.risk.levels, result.risk.risk, result.risk.standard_error, strict=True):
            print(f"  sigma {level:<8.3g}  {risk:.5f} +- {error:.5f}")


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


def fit(source: str, *, as_json: bool) -> None:
    """Fit laws of quality against numbers of clean and noisy images, and say what a noisy image is worth.

    Args:
        source: a CSV file with the columns n_clean, n_noisy, sigma, quality (lower is better), one row a trained model; or
            published:cifar10, published:celeba_hq_64, published:imagenet_64.
    """
    from noiseworth.laws.describe import describe
    from noiseworth.laws.observations import read_observations

    law = describe(read_observations(source), source)
    if as_json:
        print(to_json(law))
        return
    exponent = f"{law.exponent:.3g} ({law.exponent_low:.3g} to {law.exponent_high:.3g})"
    print(f"{law.n_observations} models, quality = {law.floor:.3g} + A n_eff^-alpha, where a noisy image adds its worth to n_eff")
    print(f"alpha = {exponent}, typical residual {law.typical_residual:.1%}")
    for p in law.prices:
        most = "any" if p.most is None else f"{p.most:.3g}"
        bounds = f"{p.least:.3g} to {most}" + (" (contradictory)" if p.most is not None and p.least > p.most else "")
        worth = f"worth {p.rate:.2f} clean ones ({p.rate_low:.2f} to {p.rate_high:.2f}), price {p.price:.2f}"
        print(f"  noise {p.sigma:g}: {worth}; by inequalities {bounds}")
    for name, words in (("one", "one currency"), ("two", "two currencies")):
        if name in law.aicc:
            held = f"held-out error {law.held_out_median[name]:.1%} (median), {law.held_out_p90[name]:.1%} (90th percentile)"
            better = ", the better" if name == law.better and len(law.aicc) > 1 else ""
            print(f"{words}: AICc {law.aicc[name]:.1f}, {held}{better}")


def plan(
    source: str,
    budget: float,
    clean_price: float,
    noisy_price: float,
    sigma: float,
    law: Literal["one", "two"] = "one",
    have_clean: int = 0,
    have_noisy: int = 0,
    *,
    as_json: bool,
) -> None:
    """Say what to buy with a budget: how many clean and how many noisy images.

    Args:
        source: trained models, as for `noiseworth fit`.
        budget: to spend.
        clean_price: of one clean image, in the budget's currency.
        noisy_price: of one noisy image.
        sigma: noise of the noisy images; one of the source's.
        law: one currency, or two (coarse and fine), fitted to the source.
        have_clean: clean images that are there already.
        have_noisy: noisy images of that noise that are there already.
    """
    from noiseworth.laws.budget import Market, plan_purchase
    from noiseworth.laws.fit import fit_law
    from noiseworth.laws.observations import read_observations

    observations = read_observations(source)
    market = Market(clean_price, noisy_price, sigma)
    found = plan_purchase(fit_law(observations, law), observations, market, budget, have_clean, have_noisy)
    if as_json:
        print(to_json(found))
        return
    for name, purchase in (("buy", found.best), ("all clean", found.all_clean)):
        predicted = f"predicted quality {purchase.quality:.3g} ({purchase.low:.3g} to {purchase.high:.3g})"
        print(f"{name:<10} {purchase.n_clean:>10,} clean {purchase.n_noisy:>10,} noisy   {predicted}")
    ratio = found.clean_price / found.noisy_price
    print(f"a clean image costs {ratio:.3g} noisy ones; noisy ones pay from a ratio of {found.flip_ratio:.3g} on")
    if found.best.n_noisy:
        print(f"the mix beats all clean with probability {found.better_with:.0%}, under the law's uncertainty")
    print(f"kept to at least {found.least_clean_share:.0%} clean, the least that was observed")
    if found.beyond:
        others = "fewer" if found.beyond == "more" else "more"
        print(f"beyond what was observed: every model had {others} images, and the law may not hold here")


def theory(config: TheoryConfig, dry_run: bool, as_json: bool) -> None:
    """Measure the theory of mixtures under mixed noise, and draw it: rates, exchange rates, competitors; about 40 minutes."""
    if dry_run:
        _print_settings(config)
        return
    from noiseworth.experiments.theory.run import finished, run_theory
    from noiseworth.report.theory import theory_table, write_theory_report

    studies = run_theory(config, quiet=as_json)
    page = write_theory_report(finished(Path(config.out)), Path(config.out) / "report.html")
    if as_json:
        print(json.dumps([dataclasses.asdict(study) for study in studies], indent=1, allow_nan=False))
        return
    print(theory_table(studies))
    print(f"\nreport: {page}")


# ---- plumbing ----------------------------------------------------------------------------------------------------------

_CONFIGS: dict[str, tuple[Callable[..., None], type]] = {
    "demo": (demo, DemoConfig),
    "train": (train, TrainConfig),
    "theory": (theory, TheoryConfig),
}
_FUNCTIONS: dict[str, Callable[..., None]] = {
    "pack": pack,
    "corrupt": corrupt,
    "inspect": inspect,
    "sample": sample,
    "evaluate": evaluate,
    "report": report,
    "fit": fit,
    "plan": plan,
}
# Required, and yet they read better as options.
_AS_OPTIONS: dict[str, dict[str, tuple[type, str]]] = {
    "corrupt": {
        "clean_fraction": (float, "Share of the images that stay clean, 0 to 1."),
        "sigma": (float, "Noise standard deviation of the others, where the range of clean values is [-1, 1]."),
    },
    "evaluate": {"against": (str, "A packed data set of clean images, the reference.")},
    "plan": {
        "budget": (float, "To spend."),
        "clean_price": (float, "Of one clean image, in the budget's currency."),
        "noisy_price": (float, "Of one noisy image."),
        "sigma": (float, "Noise of the noisy images; one of the source's."),
    },
}
_ORDER = ("demo", "pack", "corrupt", "inspect", "train", "sample", "evaluate", "report", "fit", "plan", "theory")


def make_parser(command: str | None = None) -> ArgumentParser:
    """The parser of the command line, with the options of one command alone: reading signatures and docstrings takes time."""
    from noiseworth import __version__

    parser = ArgumentParser(
        prog="noiseworth",
        description="Train one diffusion model on images of mixed noise, and learn what the noisy ones were worth.",
        epilog="Start with `noiseworth demo`. Dashes and underscores in option names are the same.",
        exit_on_error=False,
        version=__version__,
    )
    commands = parser.add_subcommands(metavar="COMMAND", help="`noiseworth COMMAND --help` explains each.")
    for name in _ORDER:
        function = _CONFIGS[name][0] if name in _CONFIGS else _FUNCTIONS[name]
        summary = (function.__doc__ or "").splitlines()[0]
        sub = ArgumentParser(description=summary, exit_on_error=False)
        if name == command:
            _add_options(sub, name)
        commands.add_subcommand(name, sub, help=summary)
    return parser


def _add_options(sub: ArgumentParser, name: str) -> None:
    if name in _CONFIGS:
        sub.add_argument("--config", action="config", help="YAML file with any of the settings below; options override it.")
        sub.add_class_arguments(_CONFIGS[name][1], as_group=False)
        sub.add_argument("--dry_run", type=bool, default=False, help="Print the resolved settings as YAML and stop.")
    elif name == "report":
        runs = "Directories of finished runs; the first is the measure of the others."
        sub.add_argument("runs", nargs="+", type=str, help=runs)
        sub.add_function_arguments(report, as_group=False, skip={"runs", "as_json"})
    else:
        options = _AS_OPTIONS.get(name, {})
        skip = {"as_json", "value_range", *options}
        sub.add_function_arguments(_FUNCTIONS[name], as_group=False, as_positional=True, skip=skip)
        for option, (kind, text) in options.items():
            sub.add_argument(f"--{option}", type=kind, required=True, help=text)
    if name == "pack":
        text = "Raw values that become -1 and 1 in model units; by default the dtype's range, for floating point there is none."
        sub.add_argument("--range", nargs=2, type=float, metavar=("LOW", "HIGH"), help=text)
    sub.add_argument("--json", type=bool, default=False, help="Print JSON for programs, and no progress bar.")


def _run(arguments: Namespace) -> None:
    name = arguments.subcommand
    values = dict(vars(arguments[name]))
    as_json = values.pop("json")
    values.pop("config", None)
    if name in _CONFIGS:
        function, kind = _CONFIGS[name]
        dry_run = values.pop("dry_run")
        function(kind(**values), dry_run, as_json)
        return
    if name == "pack":
        given = values.pop("range")
        values["value_range"] = None if given is None else (given[0], given[1])
    _FUNCTIONS[name](**values, as_json=as_json)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    words = [_normal(word) for word in (sys.argv[1:] if argv is None else argv)]
    try:
        command = next((word for word in words if not word.startswith("-")), None)
        arguments = make_parser(command).parse_args(words or ["--help"])
        _run(arguments)
    except Stopped as stop:
        _say(f"noiseworth: {stop}")
        return 128 + stop.number
    except (UserError, ArgumentError) as error:
        return _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        _say("noiseworth: interrupted")
        return 130
    return 0


def _normal(word: str) -> str:
    """`--clean-fraction` is `--clean_fraction`; `--json` alone is `--json=true`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    name = "--" + name[2:].replace("-", "_")
    return f"{name}=true" if name in _FLAGS and not equals else name + equals + value


def _fail(message: str) -> int:
    print(f"noiseworth: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _first(n: int) -> Any:
    import numpy as np

    return np.arange(n)


def _print_settings(config: Any) -> None:
    import yaml

    print(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False), end="")


if __name__ == "__main__":
    sys.exit(main())
