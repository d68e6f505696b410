"""What the commands on data sets print; and `inspect`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noiseworth.data.config import CorruptConfig, UnpackConfig
from noiseworth.options import PAGE, PICTURE, POSITIONAL, StrPath, check, with_options
from noiseworth.progress import notice
from noiseworth.records import DatasetRecord, Inspection, NoiseCheckRecord, UnpackRecord, write_atomically

_SHEET = 96  # images on a picture of a data set


def print_datasets(config: Any, records: list[DatasetRecord]) -> None:
    """A line for each new data set: where it is, how many images, their size and type, their noise."""
    from noiseworth.data.dataset import open_dataset
    from noiseworth.data.inspect import group_sigmas

    for record in records:
        channels, height, width = record.shape
        path = Path(config.out) / record.provenance[-1].get("split", "")
        dataset = open_dataset(path)
        sigma = dataset.usual().sigma
        levels, counts = group_sigmas(sigma)
        noise = [
            _noise_words(s) + (f" ({c:,})" if len(levels) > 1 else "")
            for s, c in zip(levels, counts, strict=True)
        ]
        unknown = len(sigma) - int(counts.sum())
        if unknown:
            share = f"{unknown:,} of " if counts.sum() else ""
            noise.append(f"{share}noise unknown (noiseworth noise estimate measures it)")
        noise += [f"{words} ({len(rows):,})" for words, rows in dataset.unusual()]
        if len(noise) > 4:
            noise = [*noise[:2], "...", noise[-1]]
        dtypes = "+".join(sorted({part.dtype for part in record.parts}))
        images = "1 image" if record.count == 1 else f"{record.count:,} images"
        print(f"{path}: {images} of {width}x{height}x{channels}, {dtypes}, {', '.join(noise)}")
        _print_what_is_missing(record.provenance[-1])


def _print_what_is_missing(packed: dict[str, Any]) -> None:
    """What the sources have, and the data set has not; and what storing changed."""
    if skipped := packed.get("skipped"):
        notice(f"{skipped:,} image{'s' * (skipped > 1)} could not be used and were left out")
    if left_out := packed.get("left_out"):
        notice("not read: " + ", ".join(f"{count:,} {kind}" for kind, count in left_out.items()))
    if rounding := packed.get("rounding"):
        notice(f"storing values in float32 changed them by up to {rounding:.1e} of their range")


def _noise_words(sigma: float) -> str:
    return "clean" if sigma == 0 else f"sigma {sigma:.4g}"


def print_unpacked(config: UnpackConfig, record: UnpackRecord) -> None:
    """What was written, and how to pack it again."""
    files = "files" if record.format != "npz" else "images in images.npz"
    table = "" if record.format == "npz" else ", and images.csv"
    print(f"{record.path}: {record.count:,} {files} ({record.format}, {record.dtype}){table}")
    if record.rounding:
        notice(
            f"values were changed by up to {record.rounding:.3g} raw units, by rounding and cutting off to {record.dtype}"
        )


def print_corrupted(config: CorruptConfig, record: DatasetRecord) -> None:
    """A line for each part of the new data set, and how much storing the noise rounds it."""
    rounding = record.provenance[-1].get("rounding_over_sigma")
    for part in record.parts:
        is_noisy = part == record.parts[-1] and rounding is not None
        noise = f"sigma {config.sigma}" if is_noisy else "clean"
        if rounding is None and part == record.parts[-1] and config.clean_fraction < 1:
            noise = _damage_words(config, record)
        print(f"{config.out}/{part.folder}: {part.count:,} images, {noise}, {part.dtype}")
    if rounding:
        print(f"storing the noise in {record.parts[-1].dtype} rounds it by {rounding:.2%} of sigma at most")


def _damage_words(config: CorruptConfig, record: DatasetRecord) -> str:
    said = record.provenance[-1]
    words = [said["noise"]] if said.get("noise") else []
    words += [f"{config.missing:.0%} of the pixels missing"] if config.missing else []
    words += [f"blurred by {config.blur:g} pixels, noise unknown"] if config.blur else []
    return ", ".join(words)


@dataclass(frozen=True)
class InspectConfig:
    """Show what is in a data set: counts, values, noise levels, duplicates, and noisy images that lie beside their clean twin (leaks)."""

    data: StrPath = field(metadata=POSITIONAL)
    """A packed data set."""
    picture: StrPath | None = field(default=None, metadata=PICTURE)
    """A PNG file for a grid of the first images."""
    page: StrPath | None = field(default=None, metadata=PAGE)
    """An HTML file for all of it, with pictures."""
    verify: bool = False
    """Read every byte, and compare with the fingerprint of what was packed."""

    def __post_init__(self) -> None:
        check(self)


@with_options(InspectConfig)
def inspect_dataset(config: InspectConfig) -> Inspection:
    """Measure a data set, and write its picture and its page if they are asked for.

    Raises:
        UserError: it is no data set, or has no finite pixel.
    """
    from noiseworth.data.dataset import open_dataset
    from noiseworth.data.fingerprint import verify_fingerprint
    from noiseworth.data.image_grid import grid_png
    from noiseworth.data.inspect import inspect
    from noiseworth.report.data import write_data_page

    dataset = open_dataset(config.data)
    if config.verify:
        verify_fingerprint(dataset)
    inspection = inspect(dataset)
    if config.picture is not None:
        Path(config.picture).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(config.picture), grid_png(dataset.read_first(_SHEET)))
    if config.page is not None:
        write_data_page(inspection, Path(config.page), pictures=pictures_of(dataset))
    return inspection


def pictures_of(dataset: Any) -> list[tuple[str, bytes]]:
    """Some images of each of at most four noise levels, as PNG, with what they show."""
    import numpy as np

    from noiseworth.data.image_grid import grid_png
    from noiseworth.data.inspect import group_sigmas

    unusual = [(words, grid_png(dataset.read(rows[:48]), columns=12)) for words, rows in dataset.unusual()]
    dataset = dataset.usual()
    levels = group_sigmas(dataset.sigma)[0]
    if not len(levels):
        some = dataset.read_first(48)
        return [*([("noise unknown", grid_png(some, columns=12))] if len(some) else []), *unusual]
    shown = levels if len(levels) <= 4 else levels[[0, 1, len(levels) // 2, -1]]
    pictures = []
    for level in shown:
        rows = np.argsort(np.abs(dataset.sigma - level), kind="stable")[:48]
        pictures.append((_noise_words(level), grid_png(dataset.read(np.sort(rows)), columns=12)))
    return pictures + unusual


def print_inspection(config: InspectConfig, inspection: Inspection) -> None:
    """All of an inspection, in text."""
    print("\n".join(inspection_lines(inspection)))
    if config.page is not None:
        print(f"{config.page}: open it in a browser")


def inspection_lines(inspection: Inspection) -> list[str]:
    """An inspection in text, a line each."""
    i = inspection
    channels, height, width = i.shape
    dtypes = ", ".join(p.dtype for p in i.parts[:4]) + (
        f", ... ({len(i.parts)} parts)" if len(i.parts) > 4 else ""
    )
    lines = [f"{i.name}: {i.count:,} images of {width}x{height}x{channels}, {dtypes}"]
    lines += [
        (
            f"values (model units): {i.minimum:.3g} to {i.maximum:.3g}, mean {i.mean:.3g}, sd"
            f" {i.standard_deviation:.3g}"
        )
    ]
    if i.not_finite:
        lines += [f"NaN or infinite: {i.not_finite:,} pixels"]
    if i.label_counts:
        lines += [
            (
                f"labels: {len(i.label_counts)} classes of {min(i.label_counts):,} to {max(i.label_counts):,}"
                " images"
            )
        ]
    for group in i.noise:
        noise = "clean" if group.snr_db is None else f"sigma {group.sigma:.4g} (SNR {group.snr_db:.2f} dB)"
        lines += [f"{group.count:>10,}  {noise}"]
    lines += [f"{'':>10}  {words}" for words in i.other_noise]
    if i.unknown:
        lines += [f"{i.unknown:>10,}  noise unknown"]
    if i.at_limits > 0.001:
        lines += [
            (
                f"{i.at_limits:.1%} of the noisy images' pixels lie at the ends of their type: noise that was"
                " clipped is not Gaussian"
            )
        ]
    if i.noise_checks:
        lines += _noise_lines(i.noise_checks)
    if i.duplicates:
        example = ", ".join(map(str, i.duplicates[0][:5]))
        lines += [
            (
                f"duplicates: {i.duplicate_images:,} images have the same pixels as another (for instance"
                f" images {example})"
            )
        ]
    if i.leaks:
        noisy, clean = i.leaks[0]
        example = f"for instance image {noisy} is image {clean} with noise; {i.leak_checked:,} noisy images were checked"
        lines += [f"leak: noisy images lie beside their clean twin ({example})"]
    return lines


def _noise_lines(checks: list[NoiseCheckRecord]) -> list[str]:
    """What `noise check` found, in short."""
    lines = [f"noise fails: {c.name}: {c.words}" for c in checks if c.verdict == "fails"]
    if lines:
        lines += ["`noiseworth noise check` says what to do"]
    for verdict, words in (("holds", "noise holds"), ("unclear", "noise unclear")):
        names = ", ".join(check.name for check in checks if check.verdict == verdict)
        lines += [f"{words}: {names}"] if names else []
    return lines
