"""Commands on data sets."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from noiseworth.cli.words import first, say
from noiseworth.records import DatasetRecord, Inspection, to_json


def pack(
    sources: list[str],
    out: str,
    sigma: str | None = None,
    sigma_units: Literal["model", "raw"] = "model",
    labels: str | None = None,
    fit: str | None = None,
    held_out: int = 0,
    splits: bool = False,
    measured_range: bool = False,
    key: str | None = None,
    label_key: str | None = None,
    shape: str | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    part_images: int | None = None,
    seed: int = 0,
    name: str | None = None,
    *,
    value_range: tuple[float, float] | None,
    as_json: bool,
) -> None:
    """Pack images, with the noise level of each, into a data set.

    Args:
        sources: folders, zip or tar archives of images (PNG, JPEG, WebP, TIFF, BMP); .npy, .npz; IDX and CIFAR-10's binary files;
            HDF5, Zarr, FITS, MRC, NIfTI, DICOM; hf:NAME:SPLIT or Parquet; sklearn:digits.
        out: the new data set; with --held_out or --splits, the folder that will hold one for each.
        sigma: noise standard deviation, where the range of clean values is [-1, 1]: a number for all (0: clean); rules on the names,
            clean/=0,noisy/=0.2; a table (CSV, Parquet) with columns file and sigma. Left out: unknown, and training will refuse it.
        sigma_units: "raw" if sigma is in units of the raw values.
        labels: a table with columns file and label, or "none"; by default the folders are classes.
        fit: for images of different sizes: crop:64x64, pad:64x64, shrink:2 (means of 2x2), resize:64x64 (clean ones alone).
        held_out: number of images to set aside for measuring.
        splits: the outermost folders (train, test) are splits.
        measured_range: the smallest and largest raw values become -1 and 1.
        key: which array or column holds the images, where a file has several.
        label_key: which holds the labels.
        shape: C,H,W of images that are stored as rows of numbers.
        on_error: "skip" leaves out images that cannot be read, and says which.
        part_images: most images in one part; a large data set can be read from afar in parts.
        seed: decides which images are held out.
        name: of the data set; by default the name of the source.
    """
    from noiseworth.data.pack import pack as run

    records = run(
        sources, out, sigma=sigma, sigma_units=sigma_units, labels=labels, fit=fit, held_out=held_out, splits=splits, key=key,
        value_range="measured" if measured_range else value_range, label_key=label_key, shape=_shape(shape), on_error=on_error,
        part_images=part_images, seed=seed, name=name, quiet=as_json,
    )  # fmt: skip
    _tell_sets(records, out, as_json)


def _shape(text: str | None) -> tuple[int, int, int] | None:
    from noiseworth.errors import UserError

    if text is None:
        return None
    numbers = text.split(",")
    if len(numbers) != 3 or not all(n.isdigit() and int(n) for n in numbers):
        raise UserError(f"--shape {text}: three numbers from 1 up, C,H,W")
    channels, height, width = map(int, numbers)
    return channels, height, width


def _tell_sets(records: list[DatasetRecord], out: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps([dataclasses.asdict(r) for r in records], indent=1))
        return
    from noiseworth.data.dataset import open_dataset
    from noiseworth.data.inspect import group_sigmas

    for record in records:
        channels, height, width = record.shape
        place = Path(out) / record.provenance[-1].get("split", "")
        sigma = open_dataset(place).sigma
        levels, counts = group_sigmas(sigma)
        told = [
            ("clean" if s == 0 else f"sigma {s:.4g}") + (f" ({c:,})" if len(levels) > 1 else "")
            for s, c in zip(levels, counts, strict=True)
        ]
        unknown = len(sigma) - int(counts.sum())
        if unknown:
            told.append((f"{unknown:,} of " if counts.sum() else "") + "noise unknown (give --sigma to train on it)")
        dtypes = "+".join(sorted({part.dtype for part in record.parts}))
        few = told if len(told) <= 4 else [*told[:2], "...", told[-1]]
        print(f"{place}: {record.count:,} images of {width}x{height}x{channels}, {dtypes}, {', '.join(few)}")
        if skipped := record.provenance[-1].get("skipped"):
            say(f"noiseworth: {skipped:,} images could not be read and were left out")


def corrupt(source: str, out: str, clean_fraction: float, sigma: str, seed: int = 0, *, as_json: bool) -> None:
    """Add noise to all but a fraction of a clean data set, once and for all.

    Args:
        source: a packed data set of clean images.
        out: the new data set.
        clean_fraction: share of the images that stay clean, 0 to 1.
        sigma: noise standard deviation of the others, where the range of clean values is [-1, 1]: a number; choice:0.1,0.5;
            uniform:0.1:0.5; loguniform:0.05:0.8; a CSV file with the columns id and sigma.
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
        print(f"{out}/{part.folder}: {part.count:,} images, " + (f"sigma {sigma}" if noisy else "clean") + f", {part.dtype}")
    if rounding:
        print(f"storing the noise in {record.parts[-1].dtype} rounds it by {rounding:.2%} of sigma at most")


def join(sources: list[str], out: str, name: str | None = None, *, as_json: bool) -> None:
    """Make one data set of several, without copying their pixels.

    Args:
        sources: packed data sets of one shape.
        out: the new data set; it needs those to stay where they are.
        name: of the data set.
    """
    from noiseworth.data.views import join as run

    _tell_sets([run(sources, out, name=name)], out, as_json)


def split(source: str, out: str, held_out: float, seed: int = 0, *, as_json: bool) -> None:
    """Make two data sets of one, OUT/train and OUT/held-out, that share no image, without copying pixels.

    Args:
        source: a packed data set.
        out: the folder of both.
        held_out: number of images to set aside or, below 1, their share.
        seed: decides which.
    """
    from noiseworth.data.views import split as run

    _tell_sets(run(source, out, held_out=held_out, seed=seed), out, as_json)


def subset(source: str, out: str, take: float, seed: int = 0, *, as_json: bool) -> None:
    """Make a data set of some images of another, always the same, without copying pixels.

    Args:
        source: a packed data set.
        out: the new data set.
        take: number of images or, below 1, their share.
        seed: decides which; more images by one seed are those and others.
    """
    from noiseworth.data.views import subset as run

    _tell_sets([run(source, out, take=take, seed=seed)], out, as_json)


def inspect(data: str, picture: str | None = None, page: str | None = None, *, as_json: bool) -> None:
    """Show what is in a data set: counts, values, noise levels, duplicates, clean versions of noisy images.

    Args:
        data: a packed data set.
        picture: write a grid of the first images to this PNG.
        page: write all of it, with pictures, to this HTML file.
    """
    from noiseworth.data.dataset import open_dataset
    from noiseworth.data.inspect import inspect as run
    from noiseworth.data.pictures import grid_png

    dataset = open_dataset(data)
    found = run(dataset)
    if picture is not None:
        Path(picture).write_bytes(grid_png(dataset.read(first(min(96, len(dataset))))))
    if page is not None:
        from noiseworth.report.data import write_data_page

        write_data_page(found, Path(page), pictures=_pictures(dataset))
    if as_json:
        print(to_json(found))
        return
    print("\n".join(inspection_lines(found)))
    if page is not None:
        print(f"{page}: open it in a browser")


def _pictures(dataset: Any) -> list[tuple[str, bytes]]:
    """Some images of each of at most four noise levels."""
    import numpy as np

    from noiseworth.data.inspect import group_sigmas
    from noiseworth.data.pictures import grid_png

    levels = group_sigmas(dataset.sigma)[0]
    shown = levels if len(levels) <= 4 else levels[[0, 1, len(levels) // 2, -1]]
    found = []
    for level in shown:
        rows = np.argsort(np.abs(dataset.sigma - level), kind="stable")[:48]
        found.append(("clean" if level == 0 else f"sigma {level:.3g}", grid_png(dataset.read(np.sort(rows)), columns=12)))
    return found or [("noise unknown", grid_png(dataset.read(first(min(48, len(dataset)))), columns=12))]


def inspection_lines(found: Inspection) -> list[str]:
    """What an inspection says, in text."""
    channels, height, width = found.shape
    dtypes = ", ".join(p.dtype for p in found.parts[:4]) + (f", ... ({len(found.parts)} parts)" if len(found.parts) > 4 else "")
    lines = [f"{found.name}: {found.count:,} images of {width}x{height}x{channels}, {dtypes}"]
    lines += [
        f"values (model units): {found.minimum:.3g} to {found.maximum:.3g}, mean {found.mean:.3g}, sd {found.standard_deviation:.3g}"
    ]
    if found.not_finite:
        lines += [f"NaN or infinite: {found.not_finite:,} pixels"]
    if found.label_counts:
        lines += [f"labels: {len(found.label_counts)} classes of {min(found.label_counts):,} to {max(found.label_counts):,} images"]
    for group in found.noise:
        noise = "clean" if group.snr_db is None else f"sigma {group.sigma:.4g} (SNR {group.snr_db:.2f} dB)"
        lines += [f"{group.count:>10,}  {noise}"]
    if found.unknown:
        lines += [f"{found.unknown:>10,}  noise unknown"]
    if found.at_limits > 0.001:
        lines += [
            f"{found.at_limits:.1%} of the noisy images' pixels lie at the ends of their type: noise that was cut off is not Gaussian"
        ]
    if found.duplicates:
        first_group = ", ".join(map(str, found.duplicates[0][:5]))
        lines += [f"{found.duplicate_images:,} images have the same pixels as another (images {first_group}, for instance)"]
    if found.leaks:
        noisy, clean = found.leaks[0]
        which = f"image {noisy} is image {clean} with noise, for instance; {found.leak_checked:,} were looked at"
        lines += [f"leak: noisy images whose clean version is here, too ({which})"]
    return lines
