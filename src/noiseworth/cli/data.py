"""Commands on data sets."""

import dataclasses
import json
from pathlib import Path

from noiseworth.cli.words import first
from noiseworth.records import to_json


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

        Path(picture).write_bytes(grid_png(dataset.read(first(min(96, len(dataset))))))
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
