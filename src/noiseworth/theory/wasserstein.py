"""The Wasserstein distance W1 between distributions of a few atoms, on the line and in R^d."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def w1_on_line(atoms: Array, weights: Array, other_atoms: Array, other_weights: Array) -> Array:
    """W1 between distributions on the line, exact, for many pairs at once.

    It is the area between the distribution functions.

    Args:
        atoms, weights: (..., k) of the first distributions.
        other_atoms, other_weights: (..., l) of the second ones; leading axes are broadcast.

    Returns:
        (...).
    """
    lead = np.broadcast_shapes(*(a.shape[:-1] for a in (atoms, weights, other_atoms, other_weights)))
    first, mass, second, other = (
        np.broadcast_to(a, (*lead, a.shape[-1])) for a in (atoms, weights, other_atoms, other_weights)
    )
    positions = np.concatenate([first, second], axis=-1)
    signed = np.concatenate([mass, -other], axis=-1)
    order = np.argsort(positions, axis=-1)
    gap = np.diff(np.take_along_axis(positions, order, axis=-1), axis=-1)
    difference = np.cumsum(np.take_along_axis(signed, order, axis=-1), axis=-1)[..., :-1]
    return np.asarray((np.abs(difference) * gap).sum(axis=-1))


def w1(atoms: Array, weights: Array, other_atoms: Array, other_weights: Array) -> float:
    """W1 between two distributions in R^d, by a linear programme with Euclidean cost.

    Args:
        atoms, weights: (k, d) and (k,) of the first distribution.
        other_atoms, other_weights: (l, d) and (l,) of the second one.

    Raises:
        ValueError: the dimensions differ.
        ImportError: d > 1 and POT, of the extra `theory`, is not installed.
    """
    if atoms.shape[1:] != other_atoms.shape[1:]:
        raise ValueError(f"atoms of shapes {atoms.shape} and {other_atoms.shape}: the dimensions must agree")
    if atoms.shape[1] == 1:
        return float(w1_on_line(atoms[:, 0], weights, other_atoms[:, 0], other_weights))
    import ot

    cost = np.linalg.norm(atoms[:, None] - other_atoms[None], axis=-1)
    return float(ot.emd2(weights / weights.sum(), other_weights / other_weights.sum(), cost))
