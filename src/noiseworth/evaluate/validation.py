"""Checks of the features that a distance is given."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError


def check_finite(features: NDArray[np.floating], before: int = 0) -> None:
    """Check that features are (N, F) and finite; `before`: number of earlier images, for the message.

    Raises:
        UserError: they are not.
    """
    if features.ndim != 2:
        raise UserError(f"a distance needs feature vectors (N, F), got shape {features.shape}")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise UserError(
            f"features of {len(bad)} of {len(features)} images are NaN or infinite (first: image"
            f" {before + bad[0]})"
        )


def check_features(x: NDArray[np.floating], y: NDArray[np.floating], *, least: int) -> None:
    """Check that both are finite, have one dimension, and hold at least `least` vectors.

    Raises:
        UserError: they do not.
    """
    for features in (x, y):
        check_finite(features)
        if len(features) < least:
            raise UserError(
                f"a distance needs at least {least} feature vectors of each kind, got {len(features)}"
            )
    if x.shape[1] != y.shape[1]:
        raise UserError(
            f"features of dimension {x.shape[1]} cannot be compared with features of dimension {y.shape[1]}"
        )
