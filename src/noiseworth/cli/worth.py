"""The command worth: what each group of images of a data set is worth."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseworth.errors import UserError
from noiseworth.options import PAGE, POSITIONAL, StrPath, check, with_options
from noiseworth.progress import notice
from noiseworth.records import GroupWorthRecord

if TYPE_CHECKING:
    from noiseworth.data.dataset import Dataset

_SHOWN = 20  # groups


@dataclass(frozen=True)
class WorthConfig:
    """Say what each group of images of a data set is worth in clean images, which images are repeated, and which cost least to drop."""

    data: StrPath = field(metadata=POSITIONAL)
    """Packed data set; every image's noise must be known."""
    run: StrPath | None = field(default=None, metadata=POSITIONAL)
    """A run on these images, or on such as these: what it has left to learn makes the answer sharper."""
    by: str = "noise"
    """How images are grouped: noise, label, image, or a .npy file with the number of the group of each image."""
    page: StrPath | None = field(default=None, metadata=PAGE)
    """An HTML file for the table, and a figure of the worth by level."""

    def __post_init__(self) -> None:
        check(self)
        if self.by not in ("noise", "label", "image") and not self.by.endswith(".npy"):
            raise UserError(f"--by {self.by}: must be noise, label, image or a .npy file")


@with_options(WorthConfig)
def worth_of_groups(config: WorthConfig) -> GroupWorthRecord:
    """Worth of the groups of a data set, each beside all others.

    Raises:
        UserError: the data set or the run cannot be read, the noise of an image is not known, or the groups make no sense.
    """
    from noiseworth.data.dataset import open_dataset
    from noiseworth.records import DoneRecord, load_record
    from noiseworth.report.group_worth import write_group_worth
    from noiseworth.runs.group_worth import measure_groups

    dataset = open_dataset(config.data)
    dataset.require_known_sigma()
    if len(dataset) < 2:
        raise UserError(f"{config.data}: holds one image; worth is told beside others")
    of_run = None
    if config.run is not None:
        done = Path(config.run) / "DONE.json"
        if not done.is_file():
            raise UserError(f"{config.run}: no run that has ended (no DONE.json)")
        of_run = load_record(DoneRecord, done).worth
    groups, names = _groups(dataset, config.by)
    record = replace(
        measure_groups(dataset, groups, names, of_run), by_run=None if config.run is None else str(config.run)
    )
    if config.page is not None:
        write_group_worth(str(config.data), record, Path(config.page))
    return record


def _groups(dataset: "Dataset", by: str) -> tuple[Any, list[str]]:
    """The group of each image, and their names."""
    import numpy as np

    if by == "image":
        return np.arange(len(dataset)), [f"image {i}" for i in range(len(dataset))]
    if by == "noise":
        values, number = np.unique(dataset.sigma, return_inverse=True)
        if len(values) > _SHOWN:  # measured levels, each a little different: steps of a tenth
            steps = np.where(
                dataset.sigma > 0, np.exp(np.round(np.log(np.maximum(dataset.sigma, 1e-9)) * 10) / 10), 0
            )
            values, number = np.unique(steps, return_inverse=True)
        return number.reshape(-1), ["clean" if s == 0 else f"noise {s:.3g}" for s in values]
    if by == "label":
        if dataset.labels is None:
            raise UserError(f"{dataset.path}: has no labels; group it by noise, by image or by a .npy file")
        values, number = np.unique(dataset.labels, return_inverse=True)
        return number.reshape(-1), [f"label {label}" for label in values]
    try:
        given = np.load(by, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--by {by}: cannot be read ({str(error).splitlines()[0]}); give a .npy file of numbers"
        ) from None
    if given.shape != (len(dataset),) or given.dtype.kind not in "iu":
        raise UserError(
            f"--by {by}: has {given.dtype} of shape {given.shape}; must be a whole number for each of {len(dataset):,} images"
        )
    values, number = np.unique(given, return_inverse=True)
    return number.reshape(-1), [f"group {value}" for value in values]


def print_worth(config: WorthConfig, record: GroupWorthRecord) -> None:
    """A table of groups, the cheapest images, and what it rests on."""
    print(f"{'group':<16}{'images':>9}{'repeated':>10}{'worth':>8}{'together':>10}{'without them':>14}")
    for group in record.groups[:_SHOWN]:
        print(
            f"{group.name:<16}{group.count:>9,}{group.repeated:>10,}{group.worth:>8.3f}{group.replaced_by:>10.4g}{group.loss:>+14.1%}"
        )
    if len(record.groups) > _SHOWN:
        print(f"... {len(record.groups) - _SHOWN:,} more; --json lists all")
    print(
        "worth: clean images that would do what one of the group does; together: what all of it do; without them: how much"
    )
    print(
        "more the denoising risk exceeds the least possible one; repeated: another image shows the same scene"
    )
    cheap = ", ".join(
        f"{image.position} ({image.worth:.3f}{', repeated' if image.of_scene > 1 else ''})"
        for image in record.cheapest
    )
    print(f"cheapest to drop: images {cheap}")
    source = (
        f"by what {record.by_run} has left to learn"
        if record.by_run
        else "by a bound from the images alone; a run makes it sharper"
    )
    print(f"({source})")
    for remark in record.remarks:
        notice(remark)
    if config.page:
        print(f"{config.page}: open it in a browser")
