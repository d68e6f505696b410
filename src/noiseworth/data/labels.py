"""The class of each image: from a table, from its source, or by its folder."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.tables import Table
from noiseworth.errors import UserError

# What only divides many files: numbers of four digits or more, archives of pieces.
_SHARD = re.compile(r"\d{4,}|.*\d\.(zip|tar|tgz|txz|tar\.\w+)")
_DIGITS = 7  # a label has fewer digits; longer numbers (dates, serial numbers) are names of classes


def resolve_labels(
    spec: str | None,
    names: Sequence[str],
    from_source: Sequence[int | None],
    folders: bool,
    by_row: bool = False,
    of_noise: Collection[str] = (),
) -> tuple[NDArray[np.int64] | None, list[str]]:
    """Class of each image, or None, and the names of classes.

    Args:
        spec: "none"; a table with a column "label"; None for the source's labels or, without these, folders.
        names: of the images, without the folder of a split.
        from_source: the label that the source gives for each image; None where it gives none.
        folders: whether folders may be classes. Those whose names are numbers of four digits or more are not:
            they only divide many files.
        by_row: a table's rows are in the order of the images.
        of_noise: folders that tell the noise level, and so no classes.

    Raises:
        UserError: a table that does not fit, or has no label for some image.
    """
    if spec == "none":
        return None, []
    if spec is not None:
        path, _, column = spec.partition(":")
        column_values = Table(Path(path), column or "label", "--labels").by_image(names, by_row)
        missing = [name for name, value in zip(names, column_values, strict=True) if not value]
        if missing:
            raise UserError(
                f"{path}: has no label for {missing[0]} ({len(missing):,} images); list all, or leave out"
                " --labels"
            )
        values = [str(value) for value in column_values]
        if all(value.isascii() and value.isdigit() and len(value) < _DIGITS for value in values):
            return np.array([int(value) for value in values], dtype=np.int64), []
        classes = sorted(set(values))
        return np.array([classes.index(value) for value in values], dtype=np.int64), classes
    if any(t is not None for t in from_source):
        if None in from_source:
            raise UserError(
                f"{names[list(from_source).index(None)]}: has no label, and other images have; give a table with"
                " --labels, or --labels none"
            )
        return _checked([str(t) for t in from_source], names, "its source"), []
    if not folders:
        return None, []
    tops = [parts[0] if len(parts) > 1 else "" for parts in (PurePosixPath(name).parts for name in names)]
    classes = sorted(set(tops))
    if "" in classes or len(classes) < 2 or set(classes) <= set(of_noise):
        return None, []
    if all(_SHARD.fullmatch(name) for name in classes):
        return None, []
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number[top] for top in tops], dtype=np.int64), classes


def _checked(values: Sequence[str], names: Sequence[str], where: str) -> NDArray[np.int64]:
    """Whole numbers from 0 up, and not so large that counting them would fill the memory."""
    for name, value in zip(names, values, strict=True):
        if not (value.isascii() and value.isdigit()) or len(value) >= _DIGITS:
            raise UserError(
                f"{name}: {where} gives it the label {value}; labels are whole numbers from 0 up: give a"
                " table with --labels"
            )
    return np.array([int(value) for value in values], dtype=np.int64)
