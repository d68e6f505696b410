"""What the commands on noise print; and `noise check`, which writes a page, too."""

from pathlib import Path

from noiseworth.cli.data import pictures_of
from noiseworth.data.noise_config import (
    CalibrateConfig,
    CheckConfig,
    CleanConfig,
    EstimateConfig,
    HideConfig,
    StabiliseConfig,
)
from noiseworth.options import with_options
from noiseworth.records import (
    CameraRecord,
    CleanRecord,
    EstimateRecord,
    HideRecord,
    NoiseCheckRecord,
    StabiliseRecord,
)


def print_estimate(config: EstimateConfig, record: EstimateRecord) -> None:
    """What was measured, how well, and what is odd about it."""
    least, lower, middle, upper, most = record.quantiles
    levels = (
        f"sigma {least:.4g} to {most:.4g}, half of them {lower:.4g} to {upper:.4g}"
        if most > 1.001 * least
        else f"sigma {middle:.4g}"
    )
    if record.path is None and record.raw is not None:
        raw = (
            f"{least * record.raw:.4g} to {most * record.raw:.4g}"
            if record.count > 1
            else f"{middle * record.raw:.4g}"
        )
        levels = f"sigma {raw} raw units"
    images = f"{record.count:,} image" + "s" * (record.count > 1)
    print(f"{record.path or config.data}: {images} measured: {levels}")
    if record.path is None:
        _print_levels(record)
    how = (
        f"learned from {record.learned_from:,} clean images"
        if record.learned_from
        else "without clean images: fine texture counts as noise, so that low levels come out too high"
    )
    print(f"each is known to within {record.precision:.1%} (95% interval); {how}")
    if record.like_clean:
        print(f"{record.like_clean:,} of them cannot be told from clean images")
    if record.unclear:
        print(
            f"{record.unclear:,} of them were left out: they are the same everywhere, or their level is not known to within a factor of 2"
        )
    if record.clipped:
        print(
            f"noise was cut off at the ends of the range in {record.clipped:.1%} of the pixels: it is not Gaussian; store"
            " such images in a type that holds negative and larger values, before they are measured and trained on"
        )


def _print_levels(record: EstimateRecord) -> None:
    """The first images, in raw units."""
    width = max(len(level.name) for level in record.first)
    for level in record.first:
        said = (
            "the same everywhere"
            if level.high == 0
            else f"{level.sigma:.4g} ({level.low:.4g} to {level.high:.4g})"
        )
        print(f"  {level.name:<{width}}  {said}")
    if record.count > len(record.first):
        print(f"  ... and {record.count - len(record.first):,} more (--table FILE.csv has all)")


def print_clean(config: CleanConfig, record: CleanRecord) -> None:
    """How many images are clean, how sure that is, and what to do next."""
    print(
        f"{record.path}: {record.clean:,} of {record.count:,} images are clean ({record.confidence:.1%} sure): what looks like"
        f" noise in them is {record.clean_level:.3g}, in the others {record.noisy_level:.3g}"
    )
    if record.unsure:
        print(
            f"{record.unsure:,} images were left out: they seem clean, but not surely, or are the same everywhere"
        )
    print(f"next: noiseworth noise estimate {record.path} OUT measures the noise of the others")


@with_options(CheckConfig)
def check_dataset(config: CheckConfig) -> list[NoiseCheckRecord]:
    """Check the noise of the noisy images of known level against the clean images, and write the page if it is asked for.

    Raises:
        UserError: there are too few of either, an image has NaN, the noise is said not to be white, or the pictures hide it.
    """
    from noiseworth.data.check_noise import noise_checks
    from noiseworth.data.dataset import open_dataset
    from noiseworth.report.noise_check import write_noise_page

    dataset = open_dataset(config.data)
    checks = noise_checks(dataset, in_short=False)
    if config.page is not None:
        write_noise_page(dataset.record.name, checks, Path(config.page), pictures=pictures_of(dataset))
    return checks


def print_checks(config: CheckConfig, checks: list[NoiseCheckRecord]) -> None:
    """A line for each question, and the remedy under each that fails."""
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{check.verdict:<8} {check.name:<{width}}  {check.words}")
        if check.verdict == "fails":
            print(f"{'':<8} {'':<{width}}  {check.remedy}")
    unclear = [check.name for check in checks if check.verdict == "unclear"]
    if unclear:
        print(f"unclear: too few images, or too much fine picture, to tell ({', '.join(unclear)})")
    if config.page is not None:
        print(f"{config.page}: open it in a browser")


def exit_code(checks: list[NoiseCheckRecord]) -> int:
    """1 where a check fails."""
    return int(any(check.verdict == "fails" for check in checks))


def print_camera(config: CalibrateConfig, record: CameraRecord) -> None:
    """The camera's numbers with their intervals, and what is wrong with it."""
    if record.gain is None:
        (_, value, low, high) = record.sigma[0]
        print(f"sigma  {_with_ends((value, low, high))} raw units, of each part of the complex signal")
        print(f"{record.path}: the noise model")
        return
    gain = record.gain[0]
    print(
        f"gain        {_with_ends(record.gain)} raw units an electron: a raw unit is {1 / gain:.4g} electrons"
    )
    if record.offset is not None and record.read_noise is not None:
        print(f"offset      {_with_ends(record.offset)} raw units")
        print(
            f"read noise  {_with_ends(record.read_noise)} raw units: {record.read_noise[0] / gain:.3g} electrons"
        )
    for signal, value, low, high in record.sigma:
        print(f"noise       {value:.4g} ({low:.4g} to {high:.4g}) raw units where pixels are {signal:.4g}")
    if record.sigma:
        print(
            "offset and read noise are in it together: dark frames (--dark) tell them apart; training needs them no more than so"
        )
    if record.hot:
        print(
            f"{record.hot:,} of {record.pixels:,} pixels are hot: far noisier or brighter in the dark than others"
        )
    if record.stripes:
        print(
            f"rows or columns have noise of their own ({record.stripes:.1%} of the variance without light): the numbers above"
            " take it for noise of single pixels; take off each row's offset first"
        )
    print(f"{record.path}: the noise model" + (", with maps of the pixels" if record.has_maps else ""))


def print_stabilised(config: StabiliseConfig, record: StabiliseRecord) -> None:
    """How the images are now, and how even their noise is."""
    print(
        f"{record.path}: {record.noisy:,} noisy images, sigma {record.sigma:.4g}, and {record.clean:,} clean ones"
    )
    if record.noisy:
        print(
            f"noise is {record.least:.0%} to {record.most:.0%} of that in nine of ten pixels: less even where there is hardly any signal"
        )
    print("samples of a run on it come back in the units before")


def print_hidden(config: HideConfig, record: HideRecord) -> None:
    """The levels of the noise that was added, and how well damage shows at some levels."""
    least, lower, _, upper, most = record.quantiles
    print(
        f"{record.path}: noise of sigma {least:.3g} to {most:.3g} (half of them {lower:.3g} to {upper:.3g}) hides the damage of"
        f" {record.damaged - record.left_out:,} images"
    )
    if record.left_out:
        print(f"{record.left_out:,} images were left out: no level hides their damage")
    shown = ", ".join(
        f"{share:.0%} at {level:.3g}"
        for level, share in list(zip(record.levels, record.told_apart, strict=True))[::5]
    )
    print(f"damaged and clean images were told apart by noise level: {shown} (half is chance)")


def _with_ends(number: tuple[float, float, float]) -> str:
    value, low, high = number
    if low == high:  # nobody measured it
        return f"{value:.4g} (as stated)"
    return f"{value:.4g} ({low:.4g} to {high:.4g})"
