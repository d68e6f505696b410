"""Features saved as a directory: `features.json` and `weights.safetensors`.

With the same features, distances measured at different times or by different people can be compared.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from noiseworth.data.writer import write_tensors
from noiseworth.errors import UserError, first_line
from noiseworth.evaluate.features import ClassifierFeatures, Features, make_classifier
from noiseworth.evaluate.pca import PcaFeatures
from noiseworth.records import sha256_of, write_atomically

_FORMAT = 1
_RECORD, _WEIGHTS = "features.json", "weights.safetensors"


def save_features(features: Features, shape: tuple[int, int, int], folder: Path) -> None:
    """Write features into an empty directory.

    Args:
        shape: C, H, W of the images that they are computed from.

    Raises:
        UserError: features of this kind have no weights to save.
        OSError: the disk is full, or cannot be written.
    """
    if isinstance(features, ClassifierFeatures):
        tensors = dict(features.classifier.state_dict())
        extra: dict[str, Any] = {
            "scale": features.scale,
            "accuracy": features.accuracy,
            "classes": features.classifier.output.out_features,
        }
    elif isinstance(features, PcaFeatures):
        tensors = {
            "mean": torch.from_numpy(features.mean),
            "components": torch.from_numpy(np.ascontiguousarray(features.components)),
        }
        extra = {"scale": features.scale}
    else:
        raise UserError(
            f"features of the kind {features.describe().name} are not trained: there is nothing to save"
        )
    write_tensors(folder / _WEIGHTS, tensors)
    description = features.describe()
    record = {
        "format": _FORMAT,
        "name": description.name,
        "shape": list(shape),
        "sha256": description.sha256,
        "weights": sha256_of(folder / _WEIGHTS),
    }
    write_atomically(folder / _RECORD, json.dumps(record | extra, indent=1) + "\n")


def load_features(folder: Path, shape: tuple[int, int, int]) -> Features:
    """Read saved features.

    Args:
        shape: C, H, W of the images that they will be computed from.

    Raises:
        UserError: there are none, they are damaged, or they are for images of another shape.
    """
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            raise UserError(
                f"{folder}: has format {record['format']}, this version reads {_FORMAT}; train the features"
                " again"
            )
        if record["weights"] != sha256_of(folder / _WEIGHTS):
            raise UserError(
                f"{folder / _WEIGHTS}: is not the file that {_RECORD} names (its SHA-256 differs); train"
                " the features again"
            )
        if tuple(record["shape"]) != shape:
            raise UserError(
                f"{folder}: features for images of shape {tuple(record['shape'])}; yours have {shape}"
            )
        tensors = load_file(folder / _WEIGHTS)
        if record["name"] == "pca":
            return PcaFeatures(tensors["mean"].numpy(), tensors["components"].numpy(), record["scale"])
        classifier = make_classifier(shape[0], record["classes"])
        classifier.load_state_dict(tensors)
        classifier.eval().requires_grad_(False)
        return ClassifierFeatures(
            classifier, record["scale"], record["sha256"], record["accuracy"], record["name"]
        )
    except FileNotFoundError:
        raise UserError(f"{folder}: no features there; `noiseworth features train` makes them") from None
    except (json.JSONDecodeError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{folder}: damaged features ({first_line(error)}); train them again") from None
