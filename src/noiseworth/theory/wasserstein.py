"""The Wasserstein distance W1 between laws of a few atoms: exact on the line, and by a linear programme in any dimension."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def w1_on_line(atoms: Array, weights: Array, other_atoms: Array, other_weights: Array) -> Array:
    """W1 between laws on the line, the area between their distribution functions: exact, for any number of pairs at once.

    Args:
        atoms, weights: (..., k) of the first laws.
        other_atoms, other_weights: (..., l) of the second; leading axes broadcast.

    Returns:
        (...).
    """
    lead = np.broadcast_shapes(*(a.shape[:-1] for a in (atoms, weights, other_atoms, other_weights)))
    first, mass, second, other = (np.broadcast_to(a, (*lead, a.shape[-1])) for a in (atoms, weights, other_atoms, other_weights))
    place = np.concatenate([first, second], axis=-1)
    signed = np.concatenate([mass, -other], axis=-1)
    order = np.argsort(place, axis=-1)
    gap = np.diff(np.take_along_axis(place, order, axis=-1), axis=-1)
    difference = np.cumsum(np.take_along_axis(signed, order, axis=-1), axis=-1)[..., :-1]
    return np.asarray((np.abs(difference) * gap).sum(axis=-1))


def w1(atoms: Array, weights: Array, other_atoms: Array, other_weights: Array) -> float:
    """W1 between laws in R^d with Euclidean cost: atoms (k, d) and (l, d), weights (k,) and (l,).

    Raises:
        ValueError: the dimensions differ.
        ImportError: d > 1 and POT, of the extra `theory`, is not installed.
    """
    if atoms.shape[1:] != other_atoms.shape[1:]:
        raise ValueError(f"atoms of shapes {atoms.shape} and {other_atoms.shape} do not live in one space")
    if atoms.shape[1] == 1:
        return float(w1_on_line(atoms[:, 0], weights, other_atoms[:, 0], other_weights))
    import ot

    cost = np.linalg.norm(atoms[:, None] - other_atoms[None], axis=-1)
    return float(ot.emd2(weights / weights.sum(), other_weights / other_weights.sum(), cost))
