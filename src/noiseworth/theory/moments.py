"""The denoised method of moments: unbiased moments, projection onto the moment space, Gauss quadrature.

It estimates a k-atomic distribution D on the line from noisy samples (Wu and Yang, "Optimal estimation of
Gaussian mixtures via denoised method of moments", arXiv 1807.07237), here with noise of many known levels
(arXiv 2411.02780, section 4).

    x_i = u_i + sigma_i z_i,  u_i ~ D on [-radius, radius],  m_r = E[u^r],  r = 1 .. 2k-1

The functions take leading batch axes (`...`), so that thousands of repetitions cost a few numpy calls. All
numbers are float64.
"""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def hermite_moments(x: Array, sigma: Array | float, order: int) -> Array:
    """The polynomials `gamma_{r, sigma}(x)`, r = 0 .. order, with `E[gamma_{r, sigma}(u + sigma z)] = u^r`.

        gamma_{r, s}(x) = r! sum_j (-1/2)^j / (j! (r-2j)!) s^(2j) x^(r-2j)     (arXiv 1807.07237, equation 12)

    They are computed by the recursion `gamma_{r+1} = x gamma_r - r s^2 gamma_{r-1}`, which is stable.

    Args:
        x: points, any shape.
        sigma: noise of each point, broadcast against `x`.
        order: the highest r, at least 0.

    Returns:
        (order + 1, *x.shape).
    """
    variance = np.square(sigma)
    values = [np.ones_like(x), x]
    for r in range(1, order):
        values.append(x * values[r] - r * variance * values[r - 1])
    return np.stack(values[: order + 1])


def inverse_power_weights(sigma: Array, power: float, floor: float = 0.0) -> Array:
    """Weights `a_i ~ max(sigma_i, floor)^-power`, (n,), which sum to 1.

    The power is 4 for the subspace and 4k-2 for the moments (arXiv 2411.02780, section 4), for sigma_i >= 1
    in units of the ball's radius. There the variance comes from the noise. Below `floor` it comes from the
    scatter of the atoms, and less noise is no gain.

    Raises:
        ValueError: a weight would be infinite (sigma 0 and no floor).
    """
    level = np.maximum(sigma, floor)
    if not (level > 0).all():
        raise ValueError("a sample without noise gets all the weight: give a floor above 0")
    weights = (level / level.min()) ** -power
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def weighted_moments(
    x: Array, sigma: Array, weights: Array, order: int, directions: Array | None = None, values: int = 1 << 21
) -> Array:
    """Unbiased moments `m_r = sum_i a_i gamma_{r, sigma_i}(x_i)`, r = 0 .. order.

    Args:
        x: (n,) samples on the line, or (n, q) samples that are projected onto `directions`.
        sigma: (n,) their noise.
        weights: (n,) weights a_i, which sum to 1.
        order: the highest r.
        directions: (m, q) unit vectors, for the moments of m projections at once.
        values: numbers that are computed at a time; it bounds the memory.

    Returns:
        (order + 1,) or (m, order + 1).
    """
    total = np.zeros((order + 1,) if directions is None else (order + 1, len(directions)))
    chunk = max(1, values // total.size)
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        if directions is None:
            total += hermite_moments(x[part], sigma[part], order) @ weights[part]
        else:
            along = hermite_moments(x[part] @ directions.T, sigma[part, None], order)
            total += np.tensordot(along, weights[part], axes=(1, 0))
    return np.moveaxis(total, 0, -1)


def moment_noise(sigma: Array, weights: Array, order: int) -> Array:
    """Standard deviations of the weighted moments: `sqrt(r! sum_i a_i^2 sigma_i^(2r))`, r = 0 .. order.

    They are exact for `D = delta_0`, and a good approximation where the noise dominates. For `D = delta_0`
    the moments are also uncorrelated, because the polynomials are orthogonal under their noise.
    """
    return np.array(
        [math.sqrt(math.factorial(r) * np.sum(weights**2 * sigma ** (2 * r))) for r in range(order + 1)]
    )


# ---- the moment space --------------------------------------------------------------------------------------


def _hankels(u: Array) -> Array:
    """The Hankel matrices `H0 - H1` and `H0 + H1`, (2, ..., k, k), of moments u_0 .. u_{2k-1}.

    The numbers are moments of a distribution on [-1, 1] if and only if both matrices are positive
    semidefinite (the truncated Hausdorff problem of odd degree; arXiv 1807.07237, section 3.1).
    """
    k = u.shape[-1] // 2
    index = np.add.outer(np.arange(k), np.arange(k))
    return np.stack([u[..., index] - u[..., index + 1], u[..., index] + u[..., index + 1]])


def in_moment_space(m: Array, radius: float, margin: float = 0.0) -> NDArray[np.bool_]:
    """Whether m_0 .. m_{2k-1}, (..., 2k), are moments of a distribution on [-radius, radius].

    Args:
        m: (..., 2k).
        radius: of the support, positive.
        margin: least eigenvalue of the Hankel matrices, in units of the radius; above 0 for the inside alone.

    Returns:
        (...).
    """
    u = m / radius ** np.arange(m.shape[-1])
    smallest = np.linalg.eigvalsh(_hankels(u))[..., 0]
    return np.asarray((smallest > margin).all(axis=0))


def project_moments(m: Array, noise: Array, radius: float) -> Array:
    """The moments p of a distribution on [-radius, radius] that are nearest to `m`, in units of their noise.

    They minimise `sum_r ((p_r - m_r) / noise_r)^2 / 2` over the moment space. This is a semidefinite
    programme in at most seven unknowns, solved for the whole batch by a barrier and Newton's method. Moments
    inside the moment space are returned as they are. The result lies strictly inside, so that `quadrature`
    always gives k atoms.

    Args:
        m: (..., 2k), m[..., 0] = 1.
        noise: (2k,) or (..., 2k), positive; the first is not used.
        radius: of the support, positive.

    Returns:
        (..., 2k).
    """
    powers = float(radius) ** np.arange(m.shape[-1])
    flat = (m / powers).reshape(-1, m.shape[-1])
    scale = np.broadcast_to(noise / powers, m.shape).reshape(flat.shape)
    outside = ~in_moment_space(flat, 1.0, margin=1e-13)
    if outside.any():
        flat[outside] = _barrier_projection(flat[outside], scale[outside])
    return np.asarray(flat.reshape(m.shape) * powers)


# Nodes of the starting point, the arcsine distribution, whose moments lie well inside the moment space.
_CENTRE_MOMENTS = 64


def _barrier_projection(target: Array, scale: Array, last: float = 1e-7) -> Array:
    """Projections (b, 2k) onto the moment space, by a barrier of weight mu and Newton's method. They minimise

        |(u - target) / scale|^2 / 2 - mu (log det (H0 - H1) + log det (H0 + H1))

    mu falls to `last max(1, |(u - target) / scale|^2)`.
    """
    size = target.shape[1]
    nodes = np.cos(np.pi * (np.arange(_CENTRE_MOMENTS) + 0.5) / _CENTRE_MOMENTS)
    u = np.tile((nodes[:, None] ** np.arange(size)).mean(axis=0), (len(target), 1))
    basis = np.stack([_hankels(row) for row in np.eye(size)[1:]], axis=1)  # (2, 2k-1, k, k)
    curvature = 1 / scale[:, 1:] ** 2  # (b, 2k-1)
    mu = np.maximum(1.0, ((u - target)[:, 1:] ** 2 * curvature).sum(axis=1))
    for _ in range(400):
        inverse = np.linalg.inv(_hankels(u))  # (2, b, k, k)
        moved = np.einsum("sbij,srjl->sbril", inverse, basis)  # (2, b, 2k-1, k, k)
        gradient = (u - target)[:, 1:] * curvature / mu[:, None] - np.einsum("sbrii->br", moved)
        hessian = np.einsum("sbril,sbqli->brq", moved, moved)
        diagonal = np.arange(size - 1)
        hessian[:, diagonal, diagonal] += curvature / mu[:, None]
        step = -np.linalg.solve(hessian, gradient[..., None])[..., 0]
        decrement = np.sqrt(np.maximum(-(step * gradient).sum(axis=1), 0))
        # The objective divided by mu is self-concordant, so that this step never leaves the moment space.
        u[:, 1:] += step * np.where(decrement < 0.25, 1.0, 1 / (1 + decrement))[:, None]
        done = decrement < 0.25
        end = last * np.maximum(1.0, ((u - target)[:, 1:] ** 2 * curvature).sum(axis=1))
        if (done & (mu <= end)).all():
            break
        mu = np.where(done & (mu > end), np.maximum(mu * 0.2, end), mu)
    return u


def quadrature(m: Array) -> tuple[Array, Array]:
    """Gauss quadrature: the distribution of k atoms with the moments m_0 .. m_{2k-1}.

    The atoms are the eigenvalues of `L^-1 H1 L^-T`, with `H0 = L L^T` and `H1` the Hankel matrices of
    m_0 .. m_{2k-2} and of m_1 .. m_{2k-1}. Each weight is the squared first entry of the eigenvector.

    Args:
        m: (..., 2k) strictly inside the moment space.

    Returns:
        Atoms (..., k) in rising order, and weights (..., k).

    Raises:
        numpy.linalg.LinAlgError: no distribution of k distinct atoms has these moments.
    """
    k = m.shape[-1] // 2
    index = np.add.outer(np.arange(k), np.arange(k))
    root = np.linalg.cholesky(m[..., index])
    half = np.linalg.solve(root, m[..., index + 1])
    values, vectors = np.linalg.eigh(np.linalg.solve(root, np.swapaxes(half, -1, -2)))
    return values, m[..., :1] * vectors[..., 0, :] ** 2


def denoised_moments(m: Array, noise: Array, radius: float) -> tuple[Array, Array]:
    """Project noisy moments onto the moment space and take their quadrature.

    Args:
        m: (..., 2k), m[..., 0] = 1.
        noise: (2k,) or (..., 2k), positive.
        radius: of the support, positive.

    Returns:
        Atoms (..., k) in rising order on [-radius, radius], and weights (..., k).
    """
    powers = float(radius) ** np.arange(m.shape[-1])
    atoms, weights = quadrature(project_moments(m, noise, radius) / powers)
    return atoms * radius, weights
