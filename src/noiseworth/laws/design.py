"""The further trainings that reduce the uncertainty of an answer most: c-optimal design.

With covariance `C` of the parameters and gradient `g` of the answer, the variance of the answer is `g' C g`.
One more observation, of gradient `j` and variance `s^2`, changes the covariance to
`C - C j j' C / (s^2 + j' C j)`. The next run is the candidate that reduces `g' C g` most (Silvey, Optimal
Design, 1980).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from noiseworth.laws.fit import jacobian
from noiseworth.laws.law import Law
from noiseworth.laws.marginal import marginal_worth, mixes
from noiseworth.laws.observations import Observations
from noiseworth.records import SuggestedRun

Array = NDArray[np.float64]


def next_runs(
    law: Law, observations: Observations, column: int, clean: float, noisy: float, count: int = 3
) -> list[SuggestedRun]:
    """The next trainings that narrow the interval of the marginal price at a mix, one after the other.

    Candidates are pairs of observed numbers of clean and noisy images. None has more images than an observed
    model.

    Args:
        law: fitted to `observations`.
        observations: trained models.
        column: index of the noise level of the mix.
        clean, noisy: numbers of images of the mix.
        count: number of trainings.
    """
    sizes = np.unique(observations.n_clean)
    counts = np.unique(np.concatenate([[0.0], observations.n_noisy[:, column]]))
    most = float((observations.n_clean + observations.n_noisy.sum(axis=1)).max())
    candidates = [(c, n) for c in _some(sizes) for n in _some(counts) if c + n <= most * 1.001]

    def answer(p: Array) -> Array:
        return np.atleast_1d(np.log(marginal_worth(replace(law, parameters=p), clean, noisy, column)))

    def qualities(p: Array) -> Array:
        c, n = np.array(candidates).T
        return np.asarray(np.log(replace(law, parameters=p).predict(mixes(law, c, n, column))))

    g = jacobian(answer, law.parameters)[0]
    J = jacobian(qualities, law.parameters)
    C = law.covariance
    before = float(g @ C @ g)
    suggested = []
    for _ in range(count):
        gain = (J @ C @ g) ** 2 / (law.scale**2 + np.einsum("ij,jk,ik->i", J, C, J))
        best = int(gain.argmax())
        j = J[best]
        C = C - np.outer(C @ j, j @ C) / (law.scale**2 + j @ C @ j)
        narrower = float(np.sqrt(max(g @ C @ g, 0.0) / before)) if before > 0 else 1.0
        suggested.append(SuggestedRun(int(candidates[best][0]), int(candidates[best][1]), narrower))
    return suggested


def _some(values: Array, most: int = 12) -> Array:
    """At most `most` of the values, at even distances in their order."""
    rows = np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))
    return np.asarray(values[rows])
