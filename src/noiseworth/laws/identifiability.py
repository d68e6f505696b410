"""Identifiability: whether the numbers of images of the observations determine the parameters of a law."""

import numpy as np

from noiseworth.errors import UserError
from noiseworth.laws.observations import Observations


def check_design(o: Observations, n_parameters: int) -> None:
    """Refuse observations that do not determine a law, and name the missing runs.

    Args:
        o: trained models.
        n_parameters: number of parameters of the law.

    Raises:
        UserError: too few observations, too few numbers of clean images alone, or one mix alone of a noise
            level.
    """
    need = n_parameters + 2
    if len(o) < need:
        raise UserError(
            f"{len(o)} models cannot determine {n_parameters} parameters: train {need} models or more"
        )
    alone = o.n_noisy.sum(axis=1) == 0
    sizes = len(np.unique(o.n_clean[alone]))
    if sizes < 3:
        raise UserError(
            f"{sizes} numbers of clean images alone do not determine both floor and exponent: add runs with"
            f" clean images alone, of {3 - sizes} other number(s) or more, far apart"
        )
    for column, sigma in enumerate(o.sigmas):
        rows = (o.n_noisy[:, column] > 0) & (o.n_clean > 0)
        if len(np.unique(o.n_clean[rows] + 1j * o.n_noisy[rows, column])) < 2:
            raise UserError(
                f"one mix with noise {sigma:g} is too little to fit its worth: add runs with such noisy"
                " images and another number of clean images"
            )
