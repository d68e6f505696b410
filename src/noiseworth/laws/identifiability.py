"""Identifiability: whether the numbers of images of the observations determine the parameters of a law."""

import numpy as np

from noiseworth.errors import UserError
from noiseworth.laws.observations import Observations

_LEVELS = 3  # of noise, clean ones included, for the two parameters of a curve
_SIZES = 3  # for floor and exponent
_VAGUE = 1.0  # standard error of ln s_0 or ln q, above which a curve is refused


def check_curve(o: Observations, n_parameters: int) -> None:
    """Refuse observations that do not determine the worth of noise as a curve, and name the missing runs.

    Args:
        o: trained models.
        n_parameters: number of parameters of the law.

    Raises:
        UserError: too few observations, noise levels, or numbers of images.
    """
    need = n_parameters + 2
    if len(o) < need:
        raise UserError(
            f"{len(o)} models cannot determine {n_parameters} parameters: train {need} models or more"
        )
    levels = int((o.n_noisy > 0).any(axis=0).sum()) + bool((o.n_clean > 0).any())
    if levels < _LEVELS:
        raise UserError(
            f"images of {levels} noise levels do not determine what noise costs: add runs on images of {_LEVELS - levels} other level(s)"
            " or more, far apart (clean ones are a level, too)"
        )
    sizes = len(np.unique(o.n_clean + o.n_noisy.sum(axis=1)))
    if sizes < _SIZES:
        raise UserError(
            f"{sizes} numbers of images do not determine both floor and exponent: add runs on {_SIZES - sizes} other number(s) or more,"
            " far apart"
        )


def require_curve(o: Observations, of_scale: float, of_power: float) -> None:
    """Refuse a curve whose ln s_0 or ln q, of these variances, is hardly known.

    Raises:
        UserError: they are.
    """
    if max(of_scale, of_power) > _VAGUE**2:
        levels = ", ".join(f"{s:g}" for s in o.sigmas)
        raise UserError(
            f"models of noise {levels} hardly tell what noise costs between these levels: add levels farther apart, more seeds, or models"
            " of more different numbers of images"
        )


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
