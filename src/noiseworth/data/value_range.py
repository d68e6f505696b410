"""Whether values fill the range that they are said to have."""

import math

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
