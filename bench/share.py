"""Is a shared model the same model? `python bench/share.py --run runs/restore/digits-8x8/run`. Writes `results/share.json`.

Needs onnx, onnxscript and onnxruntime (`pip install '.[onnx]'`) and deepinv (`pip install deepinv`; or without its dependencies,
of which those that plug-and-play algorithms do without are stood in for here).
"""

import argparse
import importlib
import importlib.machinery
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import noiseworth
import pages
from checks import Checklist, table_rows
from noiseworth.data.dataset import open_dataset
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.runs.config import SampleConfig
from noiseworth.runs.sampling import sample_run
from noiseworth.runs.shared import share_model

IMAGES = 64
STOOD_IN = ("torchvision", "torchmetrics", "natsort", "h5py")


class _Anything(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _StandIn:
    """Finds empty modules in place of packages that are not installed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        is_wanted = name.split(".")[0] in STOOD_IN
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if is_wanted else None  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = _Anything(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is in it."""


def main() -> None:
    """Compare, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True)
    run = parser.parse_args().run
    checklist = Checklist("python bench/share.py --run runs/restore/digits-8x8/run")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        share_model(run, folder / "shared", onnx=True)
        expected = open_dataset(sample_run(run, folder / "a", n=IMAGES).path).read_first(IMAGES)
        made = open_dataset(sample_run(folder / "shared", folder / "b", n=IMAGES).path).read_first(IMAGES)
        checklist.add(
            "share/same",
            "images of the shared model, largest difference",
            np.abs(made - expected).max(),
            1e-4,
            "max",
        )
        pipeline = noiseworth.NoiseworthPipeline.from_run(folder / "shared")
        of_diffusers = pipeline(batch_size=IMAGES, output_type="pt").images.numpy()
        checklist.add(
            "share/same",
            "images of the diffusers pipeline, largest difference",
            np.abs(of_diffusers - expected).max(),
            1e-4,
            "max",
        )
        checklist.add(
            "share/same",
            "images sampled with ONNX, largest difference",
            np.abs(_by_onnx(folder / "shared") - expected).max(),
            1e-4,
            "max",
        )
        before, after = _by_deepinv(folder / "shared")
        checklist.add(
            "share/same",
            "error of a masked digit after deepinv's plug-and-play descent, over that before",
            after / before,
            0.7,
            "max",
            "ratio",
        )
        size = sum(p.stat().st_size for p in (folder / "shared").iterdir() if p.name != "model.onnx") / 1e6
        checklist.add("share/size", "shared digits model", size, 5, "max", "MB")
        code = (
            "import time, noiseworth; noiseworth.load_run; t = time.monotonic();"
            f" noiseworth.load_run({str(folder / 'shared')!r}); print(time.monotonic() - t)"
        )
        printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        checklist.add("share/size", "loaded in, once torch is imported", float(printed.stdout), 2, "max", "s")
    checklist.write("share.json", "shared models", 0)
    pages.put("sharing.md", "share: bench/share.py writes it", table_rows(checklist.checks))


def _by_onnx(shared: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    onnxruntime = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(str(shared / "model.onnx"))
    model = noiseworth.load_run(shared)

    def denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {"x": x.numpy(), "sigma": sigma.numpy()})[0])

    config = SamplerConfig(SampleConfig.steps, SampleConfig.sampler, SampleConfig.churn)
    images = sample(
        denoiser, torch.arange(IMAGES), model.shape, config=config, v=model.v, trained_from=model.trained_from
    )
    made: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = images.clip(-1, 1).numpy()
    return made


def _by_deepinv(shared: Path) -> tuple[float, float]:
    """Root mean square error of a masked, noisy digit before and after."""
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.insert(0, _StandIn())
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    example = importlib.import_module("deepinv_prior")
    deepinv = importlib.import_module("deepinv")
    restored = example.main(str(shared))
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().images[:1]).float()[:, None] / 16
    torch.manual_seed(0)
    physics = deepinv.physics.Inpainting((1, 8, 8), mask=0.6)
    physics.noise_model = deepinv.physics.GaussianNoise(sigma=0.05)
    masked = physics(x)
    return float((masked - x).square().mean().sqrt()), float((restored - x).square().mean().sqrt())


if __name__ == "__main__":
    main()
