"""The fingerprint of a data set: SHA-256 over its files, and over what gives their values a meaning."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.storage import is_address
from noiseworth.errors import UserError
from noiseworth.records import DATASET_FORMAT, PartRecord

_COLUMNS = ("images", "sigma", "ids", "labels", "rows", "interval", "noise")


def fingerprint(folder: Path, parts: Sequence[PartRecord], offset: float, scale: float) -> str:
    """The fingerprint of the files in `folder`; of a view, over the fingerprints of the data sets that it refers to.

    Args:
        parts: of its `dataset.json`.
        offset: raw value that becomes 0 in model units.
        scale: raw units per model unit.
    """
    digest = hashlib.sha256(f"{DATASET_FORMAT} {offset!r} {scale!r}".encode())
    for part in parts:
        if part.images is not None:
            view = f"{part.folder} {part.fingerprint} {part.images} {part.offset!r} {part.scale!r}"
            digest.update(view.encode())
        for name in _COLUMNS:
            file = folder / part.folder / (f"{name}.npy" if name != "noise" else "noise.json")
            if file.is_file():
                with file.open("rb") as opened:
                    of_file = hashlib.file_digest(opened, "sha256").digest()
                digest.update(f"{part.folder}/{name}".encode() + of_file)
    return digest.hexdigest()


def verify_fingerprint(dataset: Dataset) -> None:
    """Read every byte of a data set, and of those that it is a view of, and compare with what was packed.

    Raises:
        UserError: some file is another one than was packed, or the data set is not on this machine.
    """
    waiting, checked = [dataset], set()
    while waiting:
        one = waiting.pop()
        if is_address(one.path):
            raise UserError(f"{one.path}: only a data set on this machine can be verified")
        checked.add(str(Path(one.path).resolve()))
        record = one.record
        actual = fingerprint(Path(one.path), record.parts, record.offset, record.scale)
        if actual != record.fingerprint:
            raise UserError(
                f"{one.path}: its files are not those that were packed (fingerprint {actual[:12]}, packed as"
                f" {record.fingerprint[:12]}); pack it again"
            )
        for _, part, images, _ in one.views():
            base = images.rsplit("/", 2)[0]
            if part.images is not None and str(Path(base).resolve()) not in checked:
                waiting.append(open_dataset(base))
                checked.add(str(Path(base).resolve()))
