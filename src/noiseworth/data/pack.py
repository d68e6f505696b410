"""Packing images, with the noise level of each, into the data-set format."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.fit import Fit, parse_fit
from noiseworth.data.gather import Gathered, gather, public_name
from noiseworth.data.same import held_out_rows
from noiseworth.data.told import check_early, resolve_labels, resolve_sigma
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.errors import UserError
from noiseworth.records import DatasetRecord

_RANGES = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}
_SATURATED = 0.001  # share of pixels at the ends of the type from which a warning is due
_CHUNK = 1024
_log = logging.getLogger("noiseworth")


def pack(
    source: str | Sequence[str],
    out: Path | str,
    *,
    sigma: float | str | None = None,
    sigma_units: Literal["model", "raw"] = "model",
    labels: str | None = None,
    value_range: tuple[float, float] | Literal["measured"] | None = None,
    float_range: tuple[float, float] | None = None,
    fit: str | None = None,
    key: str | None = None,
    label_key: str | None = None,
    shape: tuple[int, int, int] | None = None,
    splits: bool = False,
    held_out: int = 0,
    seed: int = 0,
    name: str | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    part_images: int | None = None,
    quiet: bool = True,
) -> list[DatasetRecord]:
    """Pack images into `out`, or, with `held_out` or `splits`, into a data set for each split under it.

    Args:
        source: what to read (see `sources`), or several of them, one after the other.
        out: the new directory.
        sigma: noise standard deviation: a number for every image; rules on their names, "clean/=0,noisy/=0.2"; a CSV or Parquet
            table with columns "file" and "sigma"; None for what the source tells, else unknown.
        sigma_units: whether sigma is in model units, or in those of the raw values.
        labels: a table with columns "file" and "label"; "none"; by default what the source tells, or its folders.
        value_range: the raw values that become -1 and 1 in model units, or "measured". By default the dtype's range for whole
            numbers; floating-point images have none, so it must be given.
        float_range: the same for floating-point images alone.
        fit: what to do with images of other sizes, see `fit`; by default they are refused.
        key, label_key: which array or column holds images and labels, where a file has several.
        shape: C, H, W of images stored as rows of numbers.
        splits: the outermost folders ("train", "test") are splits, each packed into a data set of its own; as are batches of CIFAR-10
            and files of MNIST's form.
        held_out: number of images, drawn by `seed`, to set aside; no image is in both, nor are two with the same pixels apart.
        name: of the data set; by default the name of the source.
        on_error: "skip" leaves out what cannot be read, and says so.
        part_images: most images in one part (shard) of the data set.
        quiet: no progress bar.

    Returns:
        One record for each data set written.

    Raises:
        UserError: a source or an argument is bad; what and where is named. `out` is not there then.
    """
    sources = [source] if isinstance(source, str) else list(source)
    rule = parse_fit(fit)
    check_early(sigma)
    if part_images is not None and part_images < 1:
        raise UserError(f"--part-images {part_images}: at least 1")
    if isinstance(value_range, tuple) and not (all(map(math.isfinite, value_range)) and value_range[0] < value_range[1]):
        raise UserError(f"--range {value_range[0]} {value_range[1]}: give two finite numbers, the lower first")
    with new_directory(Path(out)) as folder:
        packed = Gathered()
        try:
            gather(packed, folder, sources, rule, on_error, {"key": key, "label_key": label_key, "shape": shape}, quiet)
        finally:
            if packed.writer is not None:
                packed.writer.abandon() if packed.writer.count == 0 else packed.writer.close()
        if packed.writer is None:
            raise UserError(f"{sources[0]}: every one of its {len(packed.skipped):,} images was skipped ({packed.skipped[0]})")
        low, high = _range(packed, sources[0], value_range, float_range)
        scale, count = (high - low) / 2, len(packed.names)
        levels = resolve_sigma(sigma, packed.names, packed.sigma)
        levels *= (rule.noise_factor if rule else 1.0) / (scale if sigma_units == "raw" else 1.0)
        _check_noise(packed, levels, rule, sources[0])
        groups, inner = _splits(packed, splits)
        classes = packed.classes
        known, found = resolve_labels(labels, packed.names if labels else inner, packed.labels, packed.folders)
        classes = found or classes
        if not 0 <= held_out < count:
            raise UserError(f"--held-out {held_out}: {sources[0]} has {count} images; hold out between 0 and {count - 1}")
        if held_out and splits:
            raise UserError("--held-out: the source's own splits are used (--splits); hold out with `noiseworth split` later")
        columns = Columns(levels.astype(np.float32), np.arange(count, dtype=np.int64), known)
        stored = np.load(packed.writer.path, mmap_mode="r")
        if held_out:
            kept = held_out_rows(stored, held_out, seed)
            groups = {"held-out": np.flatnonzero(kept), "train": np.flatnonzero(~kept)}
        title = name or "+".join(public_name(s) for s in sources)
        provenance: dict[str, Any] = {"command": "pack", "source": "+".join(public_name(s) for s in sources), "range": [low, high]}
        provenance |= {"classes": classes} if classes and known is not None else {}
        provenance |= {"fit": fit} if fit else {}
        provenance |= {"skipped": len(packed.skipped)} if packed.skipped else {}
        records = []
        for split, rows in groups.items():
            told = provenance | ({"split": split, "seed": seed} if held_out else {"split": split} if split else {})
            (folder / split).mkdir(exist_ok=True)
            parts = _parts(folder / split, packed.writer.path, stored, columns, rows, part_images)
            records.append(
                write_dataset(
                    folder / split,
                    parts,
                    name="-".join(filter(None, (title, split))),
                    offset=(low + high) / 2,
                    scale=scale,
                    units="raw",
                    provenance=[told],
                )
            )
        packed.writer.path.unlink(missing_ok=True)
    for line in packed.skipped:
        _log.warning("skipped: %s", line)
    return records


def _range(
    packed: Gathered, source: str, given: tuple[float, float] | Literal["measured"] | None, for_floats: tuple[float, float] | None
) -> tuple[float, float]:
    if given == "measured":
        if not packed.low < packed.high:
            raise UserError(f"{source}: all pixels are {packed.low:g}; there is no range to measure")
        return packed.low, packed.high
    found = given or packed.value_range or _RANGES.get(packed.dtype) or for_floats
    if found is None:
        raise UserError(
            f"{source}: floating-point images have no natural range; give the raw values that become -1 and 1, for instance"
            f" --range {packed.low:.6g} {packed.high:.6g} (these are the smallest and largest found)"
        )
    return found


def _check_noise(packed: Gathered, sigma: NDArray[np.float64], rule: Fit | None, source: str) -> None:
    """What noise and pixels say of each other."""
    noisy = sigma > 0
    if rule is not None and rule.how in ("resize", "pad") and noisy.any():
        which = packed.names[int(np.flatnonzero(noisy)[0])]
        why = "makes the noise of neighbouring pixels alike" if rule.how == "resize" else "repeats noisy pixels"
        raise UserError(
            f"--fit {rule.how}: {why}, and {which} has sigma {sigma[noisy][0]:g}; use crop or shrink, which keep noise white"
        )
    if noisy.any():
        share = float(np.mean(np.array(packed.saturated)[noisy]))
        if share > _SATURATED:
            kind = packed.writer.dtype if packed.writer else ""
            _log.warning(
                "%s: %.2g%% of the pixels of its noisy images lie at the ends of %s: noise that was cut off there is not Gaussian, and"
                " training takes it for such; use the raw data of the camera, if there are any",
                source, 100 * share, kind,
            )  # fmt: skip


def _splits(packed: Gathered, wanted: bool) -> tuple[dict[str, NDArray[np.int64]], list[str]]:
    """Rows of each split, and the images' names without it."""
    names = packed.inner
    if not wanted:
        return {"": np.arange(len(names))}, names
    tops, inner = [], []
    for whole in names:
        top, _, rest = _split_of(whole)
        tops.append(top)
        inner.append(rest)
    kinds = sorted(set(tops))
    if "" in kinds:
        raise UserError(f"--splits: {names[tops.index('')]} lies in no folder; put every image below one, such as train/ or test/")
    return {kind: np.flatnonzero(np.array(tops) == kind) for kind in kinds}, inner


def _split_of(name: str) -> tuple[str, str, str]:
    """Split and inner name."""
    file = name.rsplit("/", 1)[-1]
    for start, split in (("data_batch", "train"), ("test_batch", "test"), ("train-images", "train"), ("t10k-images", "test")):
        if file.startswith(start):
            return split, "/", file
    top, slash, rest = name.partition("/")
    return (top, slash, rest) if slash else ("", "", name)


def _parts(folder: Path, file: Path, stored: NDArray[Any], columns: Columns, rows: NDArray[np.int64], most: int | None) -> list[Part]:
    """Parts of some rows; the whole file as one part is moved into its place, not copied."""
    cuts = [rows[i : i + most] for i in range(0, len(rows), most)] if most else [rows]
    parts = []
    for number, piece in enumerate(cuts):
        place = part_folder(folder, number)
        place.mkdir()
        if len(piece) == len(stored):
            file.rename(place / "images.npy")
        else:
            writer = ImageWriter(place / "images.npy", stored.shape[1:], str(stored.dtype))
            for i in range(0, len(piece), _CHUNK):
                writer.add(stored[piece[i : i + _CHUNK]])
            writer.close()
        parts.append(Part(columns.select(piece)))
    return parts
