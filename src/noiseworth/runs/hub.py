"""Shared models on the Hugging Face hub: loaded from there by name, uploaded when asked."""

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, snapshot_download

from noiseworth.errors import UserError, first_line
from noiseworth.runs.model import CONFIG, WEIGHTS, RunModel, is_shared, load_run


class SharedModel(ModelHubMixin):
    """A shared model (`noiseworth share`), by its directory or by its name on the hub.

    `SharedModel.from_pretrained("somebody/model")` or `("directory")`, `save_pretrained(directory)`, `push_to_hub("me/model")`. Nothing
    is unpickled; nothing is uploaded but by `push_to_hub`.

    Attributes:
        folder: where its files lie.
        model: what `noiseworth.load_run` gives: the denoiser, and what its use needs.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not is_shared(self.folder):
            raise UserError(
                f"{folder}: is no shared model (no {CONFIG} and {WEIGHTS}); make one with `noiseworth share RUN {folder}`"
            )
        self.model: RunModel = load_run(self.folder)

    def _save_pretrained(self, save_directory: Path) -> None:
        for name in (CONFIG, WEIGHTS, "README.md", "model.onnx"):
            if (self.folder / name).is_file() and not (save_directory / name).exists():
                shutil.copyfile(self.folder / name, save_directory / name)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> "SharedModel":
        if Path(model_id).is_dir():
            return cls(model_id)
        allowed = {
            k: options[k]
            for k in ("revision", "cache_dir", "force_download", "local_files_only", "token")
            if k in options
        }
        try:
            return cls(snapshot_download(model_id, allow_patterns=[CONFIG, WEIGHTS, "README.md"], **allowed))
        except UserError:
            raise
        except Exception as error:  # the hub's client raises a dozen kinds
            raise UserError(f"{model_id}: cannot be loaded from the hub ({first_line(error)})") from None
