"""noiseworth: train one diffusion model on images of mixed noise, and learn what the noisy ones were worth.

Names are loaded when they are first used, so `import noiseworth` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from noiseworth.data.corrupt import corrupt as corrupt
    from noiseworth.data.dataset import Dataset as Dataset
    from noiseworth.data.dataset import open_dataset as open_dataset
    from noiseworth.data.inspect import inspect as inspect
    from noiseworth.data.loader import Loader as Loader
    from noiseworth.data.pack import pack as pack
    from noiseworth.data.views import join as join
    from noiseworth.data.views import split as split
    from noiseworth.data.views import subset as subset
    from noiseworth.diffusion.below import impute as impute
    from noiseworth.diffusion.levels import LogNormalLevels as LogNormalLevels
    from noiseworth.diffusion.objective import ambient_loss as ambient_loss
    from noiseworth.diffusion.objective import ambient_pair as ambient_pair
    from noiseworth.diffusion.pairs import PairLaw as PairLaw
    from noiseworth.diffusion.precondition import PreconditionedDenoiser as PreconditionedDenoiser
    from noiseworth.diffusion.worth import PosteriorVariance as PosteriorVariance
    from noiseworth.diffusion.worth import spectrum as spectrum
    from noiseworth.diffusion.worth import worth as worth
    from noiseworth.errors import UserError as UserError
    from noiseworth.experiments.config import DemoConfig as DemoConfig
    from noiseworth.experiments.config import SweepConfig as SweepConfig
    from noiseworth.experiments.config import TheoryConfig as TheoryConfig
    from noiseworth.experiments.demo import run_demo as run_demo
    from noiseworth.experiments.evaluation import evaluate as evaluate
    from noiseworth.experiments.sampling import sample_run as sample_run
    from noiseworth.experiments.sweep.plan import make_plan as make_plan
    from noiseworth.experiments.sweep.plan import save_plan as save_plan
    from noiseworth.experiments.sweep.run import run_sweep as run_sweep
    from noiseworth.experiments.theory.run import run_theory as run_theory
    from noiseworth.laws.budget import Market as Market
    from noiseworth.laws.budget import plan_purchase as plan_purchase
    from noiseworth.laws.fit import fit_law as fit_law
    from noiseworth.laws.observations import read_observations as read_observations
    from noiseworth.laws.price import quote as quote
    from noiseworth.networks import make_backbone as make_backbone
    from noiseworth.report.page import write_report as write_report
    from noiseworth.train.config import TrainConfig as TrainConfig
    from noiseworth.train.driver import run_training as run_training
    from noiseworth.train.run import load_run as load_run

_HOMES = {
    "Dataset": "data.dataset",
    "DemoConfig": "experiments.config",
    "Loader": "data.loader",
    "LogNormalLevels": "diffusion.levels",
    "Market": "laws.budget",
    "PairLaw": "diffusion.pairs",
    "PosteriorVariance": "diffusion.worth",
    "PreconditionedDenoiser": "diffusion.precondition",
    "SweepConfig": "experiments.config",
    "TheoryConfig": "experiments.config",
    "TrainConfig": "train.config",
    "UserError": "errors",
    "ambient_loss": "diffusion.objective",
    "ambient_pair": "diffusion.objective",
    "corrupt": "data.corrupt",
    "evaluate": "experiments.evaluation",
    "fit_law": "laws.fit",
    "impute": "diffusion.below",
    "inspect": "data.inspect",
    "join": "data.views",
    "load_run": "train.run",
    "make_backbone": "networks",
    "make_plan": "experiments.sweep.plan",
    "open_dataset": "data.dataset",
    "pack": "data.pack",
    "plan_purchase": "laws.budget",
    "quote": "laws.price",
    "read_observations": "laws.observations",
    "run_demo": "experiments.demo",
    "run_sweep": "experiments.sweep.run",
    "run_theory": "experiments.theory.run",
    "run_training": "train.driver",
    "sample_run": "experiments.sampling",
    "save_plan": "experiments.sweep.plan",
    "spectrum": "diffusion.worth",
    "split": "data.views",
    "subset": "data.views",
    "worth": "diffusion.worth",
    "write_report": "report.page",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'noiseworth' has no attribute {name!r}")
    return getattr(import_module(f"noiseworth.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
