"""Whether values fill the range that they are said to have."""

import math

import numpy as np

from noiseworth.data.dataset import Dataset

_LOOKED_AT = 500  # images of a data set
_NARROW = 0.25  # of the range; values that fill less of it are suspicious


def narrower_range(lowest: float, highest: float, low: float, high: float) -> tuple[float, float] | None:
    """The range that values seem to have, if they fill less than a quarter of the one that they are said to have.

    Args:
        lowest: smallest value.
        highest: largest value.
        low: what is said to be black.
        high: what is said to be white.

    Returns:
        From `low` to the largest value of as many bits as the values need, or from the smallest to the largest
        value; None if the range is filled.
    """
    if not highest > lowest or highest - lowest >= _NARROW * (high - low):
        return None
    bits = 2.0 ** math.ceil(math.log2(highest + 1)) - 1 if highest > 0 else 0.0
    if low <= lowest and low == 0 and bits < _NARROW * high + 1:
        return low, max(bits, 1.0)
    return lowest, highest


def narrow_words(dataset: Dataset) -> str | None:
    """What is to be said of a data set whose images fill little of the range -1 to 1; None if they fill it.

    Looks at some of its clean images, or, where it has none, of the noisy ones, which noise makes wider.
    """
    clean = np.flatnonzero(dataset.is_clean)
    rows = clean if len(clean) else np.arange(len(dataset))
    some = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _LOOKED_AT)).astype(np.int64))]
    images = dataset.read(some)
    lowest, highest = float(images.min()), float(images.max())
    scale, offset = dataset.record.scale, dataset.record.offset
    raw = (lowest * scale + offset, highest * scale + offset)
    suggested = narrower_range(*raw, offset - scale, offset + scale)
    if suggested is None:
        return None
    return (
        f"{dataset.path}: the values of its images reach from {lowest:.3g} to {highest:.3g} in model units, a small part"
        " of -1 to 1; if black and white are others than those it was packed with, all noise levels and prices are off:"
        f" pack it again with --range {suggested[0]:g} {suggested[1]:g}"
    )
