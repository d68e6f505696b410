"""Checks of records, so that what reads them can rely on them: files may be damaged, or a stranger's."""

from collections.abc import Sequence
from typing import Any

from noiseworth.errors import UserError


def require(condition: bool, must: str) -> None:
    """Refuse a record.

    Raises:
        UserError: the condition does not hold. Who reads the record puts the file's name before it.
    """
    if not condition:
        raise UserError(must)


def require_as_many(record: Any, *names: str) -> None:
    """Refuse a record whose lists of these names differ in length; None passes.

    Raises:
        UserError: they do.
    """
    lists: list[Sequence[Any]] = [values for name in names if (values := getattr(record, name)) is not None]
    require(len({len(values) for values in lists}) <= 1, f"{', '.join(names)} must hold as many values")
