"""The affine subspace of the atoms, from the weighted second moment M of the samples, at a cost of order n d.

    M = sum_i a_i (x_i - c)(x_i - c)^T - (sum_i a_i sigma_i^2) I,   a_i ~ sigma_i^-4,   c a weighted mean

(arXiv 2411.02780, section 4; Doss, Wu, Yang and Zhou, arXiv 2002.05818, algorithm 1). The paper takes the top
k eigenvectors about the origin. We take k - 1 about the mean: k atoms lie in an affine subspace of that
dimension, and the error of the mean is much smaller, of order (d/n)^(1/2).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.floating]  # samples, of any floating dtype

CHUNK_VALUES = 1 << 22  # numbers that are read at a time


@dataclass(frozen=True)
class Subspace:
    """An affine subspace with the variance of the atoms along its directions.

    Attributes:
        centre: (d,) a point of the subspace.
        directions: (d, q) orthonormal columns.
        variances: (q,) variance of the atoms along each direction.
    """

    centre: Array
    directions: Array
    variances: Array

    def project(self, x: Floats) -> Array:
        """Coordinates of points: (n, d) -> (n, q), read in chunks."""
        coordinates = np.empty((len(x), self.directions.shape[1]))
        for part in chunks(x):
            coordinates[part] = (x[part] - self.centre) @ self.directions
        return coordinates

    def lift(self, coordinates: Array) -> Array:
        """Points of given coordinates: (k, q) -> (k, d)."""
        return np.asarray(self.centre + coordinates @ self.directions.T)


def chunks(x: Floats) -> list[slice]:
    """Slices over the rows of `x` (n, d) of at most CHUNK_VALUES numbers."""
    rows = max(1, CHUNK_VALUES // x.shape[1])
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


def weighted_mean(x: Floats, weights: Array) -> Array:
    """`sum_i a_i x_i` for weights summing to 1: (n, d), (n,) -> (d,)."""
    total = np.zeros(x.shape[1])
    for part in chunks(x):
        total += weights[part] @ x[part]
    return total


def find_subspace(x: Floats, sigma: Array, q: int, weights: Array, centre: Array) -> Subspace:
    """The q directions along which the atoms vary most: the top eigenvectors of the second moment.

    Args:
        x: (n, d) samples; any floating dtype, also memory-mapped.
        sigma: (n,) their noise.
        q: number of directions, at most d.
        weights: (n,) weights of the second moment, which sum to 1.
        centre: (d,) the weighted mean.
    """

    def second_moment(v: Array) -> Array:
        total = np.zeros_like(v)
        for part in chunks(x):
            centred = x[part] - centre
            total += centred.T @ (weights[part, None] * (centred @ v))
        return total

    values, directions = top_eigenvectors(second_moment, x.shape[1], q)
    return Subspace(centre, directions, values - float(np.sum(weights * sigma**2)))


def top_eigenvectors(
    apply: Callable[[Array], Array],
    d: int,
    q: int,
    tolerance: float = 1e-6,
    extra: int = 4,
    most_blocks: int = 60,
) -> tuple[Array, Array]:
    """The q largest eigenvalues of a symmetric operator and their eigenvectors, by a block Krylov method.

    (Musco and Musco, arXiv 1504.05477, algorithm 2.) Each pass applies the operator to a block of vectors;
    the estimate is the Ritz vectors of all blocks. A multiple of the identity does not change the
    eigenvectors, so that the noise need not be subtracted first.

    Args:
        apply: the operator, (d, b) -> (d, b).
        d: size of the operator.
        q: number of eigenvalues.
        tolerance: residual at which to stop, relative to the spread of the spectrum.
        extra: size of a block beyond q.
        most_blocks: greatest number of passes.

    Returns:
        Eigenvalues (q,) in falling order, and eigenvectors (d, q).
    """
    block = np.linalg.qr(np.random.default_rng(0).standard_normal((d, min(d, q + extra))))[0]
    basis = np.empty((d, 0))
    image = np.empty((d, 0))
    while True:
        basis = np.hstack([basis, block])
        image = np.hstack([image, apply(block)])
        values, vectors = np.linalg.eigh(basis.T @ image)
        top = vectors[:, ::-1][:, :q]
        residual = np.linalg.norm(image @ top - (basis @ top) * values[::-1][:q], axis=0).max()
        room = d - basis.shape[1]
        if (
            room == 0
            or residual <= tolerance * (values[-1] - values[0])
            or basis.shape[1] >= most_blocks * block.shape[1]
        ):
            return values[::-1][:q].copy(), basis @ top
        block = image[:, -block.shape[1] :][:, :room]
        for _ in range(2):  # in floating point, once does not make the block orthogonal to the basis
            block = np.linalg.qr(block - basis @ (basis.T @ block))[0]
