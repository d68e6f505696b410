"""What arrays of HDF5 and Zarr say of themselves: names of their dimensions, and numbers."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from noiseworth.errors import UserError

# The first letter of these names of dimensions is the letter of `--axes`.
_NAMES = {
    "t": "T", "time": "T", "z": "Z", "depth": "Z", "y": "Y", "row": "Y", "rows": "Y", "height": "Y", "h": "Y", "lat": "Y",
    "latitude": "Y", "x": "X", "col": "X", "column": "X", "columns": "X", "width": "X", "w": "X", "lon": "X", "longitude": "X",
    "c": "C", "channel": "C", "channels": "C", "band": "C", "bands": "C", "rgb": "C", "s": "S", "sample": "S", "n": "N",
}  # fmt: skip


def attribute(array: Any, name: str) -> Any:
    try:
        return array.attrs.get(name)
    except Exception:  # an attribute of a type that the library cannot read
        return None


def own_axes(array: Any) -> str | None:
    """The letters of an array's dimensions, where its own metadata name them."""
    names: Any = attribute(array, "_ARRAY_DIMENSIONS")  # xarray
    names = (
        names if names is not None else getattr(getattr(array, "metadata", None), "dimension_names", None)
    )  # Zarr 3
    if names is None and hasattr(array, "dims"):  # HDF5's dimension scales
        labels = [dimension.label for dimension in array.dims]
        names = labels if all(labels) else None
    if names is None:
        names = attribute(array, "axes")
        names = names.decode() if isinstance(names, bytes) else names
    if names is None:
        tags = attribute(array, "axistags")  # ilastik
        try:
            names = [axis["key"] for axis in json.loads(tags)["axes"]] if tags else None
        except (ValueError, TypeError, KeyError):
            names = None
    try:
        return letters(list(names)) if names is not None else None
    except TypeError:  # not a list
        return None


def letters(names: Sequence[Any]) -> str | None:
    """The letters of `--axes` for names of dimensions; None if the height or the width is not among them."""
    axes = ""
    for name in names:
        text = (name.decode() if isinstance(name, bytes) else str(name)).strip().lower()
        letter = _NAMES.get(text, "")
        axes += (
            letter if letter and letter not in axes else next(k for k in "NTZQPRUVABDEFG" if k not in axes)
        )
    return axes if {"Y", "X"} <= set(axes) else None


def number(array: Any, name: str, where: str) -> float | None:
    """An attribute that is one number.

    Raises:
        UserError: it is something else.
    """
    value = attribute(array, name)
    if value is None:
        return None
    try:
        (number,) = np.ravel(np.asarray(value, dtype=np.float64))
    except (ValueError, TypeError):
        raise UserError(
            f"{where}: its attribute {name} is not one number; give --stored-values, or mend it"
        ) from None
    return float(number)
