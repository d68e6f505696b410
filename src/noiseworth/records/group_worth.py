"""What each group of images of a data set is worth."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GroupWorth:
    """One group of images.

    Attributes:
        name: in words: its noise, its label, or its number.
        count: images.
        repeated: images of a scene of which there is another image in the data set.
        worth: clean images that do for the denoising risk what one image of the group does, beside all others.
        replaced_by: the same for the whole group.
        loss: by how much the excess of the risk over the least possible one grows without the group, relative.
        by_level: worth of one image at each level, of which neighbours share what they teach.
    """

    name: str
    count: int
    repeated: int
    worth: float
    replaced_by: float
    loss: float
    by_level: list[float]


@dataclass(frozen=True)
class CheapImage:
    """An image that is lost with the least harm: its position in the data set, its noise, its worth, and how many images of its scene
    there are."""

    position: int
    sigma: float
    worth: float
    of_scene: int


@dataclass(frozen=True)
class GroupWorthRecord:
    """What `noiseworth worth` found: groups, most valuable first, and the images that cost least to drop.

    `levels` are those of the worth by level; `by_run` is the run whose posterior variance it rests on (None: a bound from the images);
    `remarks` say what was not looked at.
    """

    levels: list[float]
    groups: list[GroupWorth]
    cheapest: list[CheapImage]
    by_run: str | None
    remarks: list[str]
