"""noiseworth: train one diffusion model on images of mixed noise, and learn what the noisy ones were worth.

Every command is a function here, with the command's options as its arguments (`noiseworth/commands.py` lists
them), beside the pieces for training loops of your own. Names are loaded when they are first used, so
`import noiseworth` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noiseworth.commands import COMMANDS

__version__ = "0.1.0"

if TYPE_CHECKING:
    from noiseworth.cli.data import InspectConfig as InspectConfig
    from noiseworth.cli.data import inspect_dataset as inspect_dataset
    from noiseworth.cli.laws import FitConfig as FitConfig
    from noiseworth.cli.laws import PlanConfig as PlanConfig
    from noiseworth.cli.laws import PriceConfig as PriceConfig
    from noiseworth.cli.laws import fit as fit
    from noiseworth.cli.laws import plan as plan
    from noiseworth.cli.laws import price as price
    from noiseworth.cli.noise import check_dataset as check_dataset
    from noiseworth.cli.pilots import PilotConfig as PilotConfig
    from noiseworth.cli.pilots import pilot as pilot
    from noiseworth.cli.worth import WorthConfig as WorthConfig
    from noiseworth.cli.worth import worth_of_groups as worth_of_groups
    from noiseworth.data.calibrate_camera import calibrate_camera as calibrate_camera
    from noiseworth.data.config import CorruptConfig as CorruptConfig
    from noiseworth.data.config import JoinConfig as JoinConfig
    from noiseworth.data.config import PackConfig as PackConfig
    from noiseworth.data.config import SplitConfig as SplitConfig
    from noiseworth.data.config import SubsetConfig as SubsetConfig
    from noiseworth.data.corrupt import corrupt as corrupt
    from noiseworth.data.dataset import Dataset as Dataset
    from noiseworth.data.dataset import open_dataset as open_dataset
    from noiseworth.data.estimate_noise import estimate_noise as estimate_noise
    from noiseworth.data.estimate_noise import find_clean as find_clean
    from noiseworth.data.hide_damage import hide_damage as hide_damage
    from noiseworth.data.inspect import inspect as inspect
    from noiseworth.data.loader import Loader as Loader
    from noiseworth.data.noise_config import CalibrateConfig as CalibrateConfig
    from noiseworth.data.noise_config import CheckConfig as CheckConfig
    from noiseworth.data.noise_config import CleanConfig as CleanConfig
    from noiseworth.data.noise_config import EstimateConfig as EstimateConfig
    from noiseworth.data.noise_config import HideConfig as HideConfig
    from noiseworth.data.noise_config import StabiliseConfig as StabiliseConfig
    from noiseworth.data.pack import pack as pack
    from noiseworth.data.stabilise_noise import stabilise_noise as stabilise_noise
    from noiseworth.data.views import join as join
    from noiseworth.data.views import split as split
    from noiseworth.data.views import subset as subset
    from noiseworth.diffusion.imputation import impute as impute
    from noiseworth.diffusion.memorisation import Memorisation as Memorisation
    from noiseworth.diffusion.noise_distribution import LogNormalLevels as LogNormalLevels
    from noiseworth.diffusion.objective import ambient_loss as ambient_loss
    from noiseworth.diffusion.objective import ambient_pair as ambient_pair
    from noiseworth.diffusion.pair_sampler import PairSampler as PairSampler
    from noiseworth.diffusion.precondition import PreconditionedDenoiser as PreconditionedDenoiser
    from noiseworth.diffusion.worth import PosteriorVariance as PosteriorVariance
    from noiseworth.diffusion.worth import spectrum as spectrum
    from noiseworth.diffusion.worth import worth as worth
    from noiseworth.errors import UserError as UserError
    from noiseworth.evaluate.config import FeaturesConfig as FeaturesConfig
    from noiseworth.evaluate.feature_registry import train_features as train_features
    from noiseworth.laws.budget import Market as Market
    from noiseworth.laws.budget import plan_purchase as plan_purchase
    from noiseworth.laws.fit import fit_law as fit_law
    from noiseworth.laws.observations import read_observations as read_observations
    from noiseworth.laws.price import quote as quote
    from noiseworth.networks import make_backbone as make_backbone
    from noiseworth.progress import quiet as quiet
    from noiseworth.report.page import write_report as write_report
    from noiseworth.restore.command import restore_images as restore_images
    from noiseworth.restore.config import RestoreConfig as RestoreConfig
    from noiseworth.runs.config import DemoConfig as DemoConfig
    from noiseworth.runs.config import EvaluationConfig as EvaluationConfig
    from noiseworth.runs.config import RecipeConfig as RecipeConfig
    from noiseworth.runs.config import ReportConfig as ReportConfig
    from noiseworth.runs.config import SampleConfig as SampleConfig
    from noiseworth.runs.config import ShareConfig as ShareConfig
    from noiseworth.runs.demo import run_demo as run_demo
    from noiseworth.runs.evaluation import run_evaluation as run_evaluation
    from noiseworth.runs.hub import SharedModel as SharedModel
    from noiseworth.runs.model import load_run as load_run
    from noiseworth.runs.pipeline import NoiseworthPipeline as NoiseworthPipeline
    from noiseworth.runs.recipe import run_recipe as run_recipe
    from noiseworth.runs.report import make_report as make_report
    from noiseworth.runs.sampling import sample_run as sample_run
    from noiseworth.runs.shared import share_model as share_model
    from noiseworth.studies.config import TheoryConfig as TheoryConfig
    from noiseworth.studies.run import run_theory as run_theory
    from noiseworth.sweep.collect import collect as collect
    from noiseworth.sweep.config import SweepCollectConfig as SweepCollectConfig
    from noiseworth.sweep.config import SweepConfig as SweepConfig
    from noiseworth.sweep.config import SweepRunConfig as SweepRunConfig
    from noiseworth.sweep.config import SweepStatusConfig as SweepStatusConfig
    from noiseworth.sweep.plan import make_plan as make_plan
    from noiseworth.sweep.plan import plan_sweep as plan_sweep
    from noiseworth.sweep.plan import save_plan as save_plan
    from noiseworth.sweep.run import run_sweep as run_sweep
    from noiseworth.sweep.status import read_status as read_status
    from noiseworth.train.benchmark import measure_speed as measure_speed
    from noiseworth.train.config import BenchmarkConfig as BenchmarkConfig
    from noiseworth.train.config import EmaConfig as EmaConfig
    from noiseworth.train.config import TrainConfig as TrainConfig
    from noiseworth.train.driver import run_training as run_training
    from noiseworth.train.posthoc_ema import make_average as make_average

# Where names live that are no command's function or configuration.
_HOMES = {
    "Dataset": "data.dataset",
    "DemoConfig": "runs.config",
    "Loader": "data.loader",
    "LogNormalLevels": "diffusion.noise_distribution",
    "Market": "laws.budget",
    "Memorisation": "diffusion.memorisation",
    "NoiseworthPipeline": "runs.pipeline",
    "PairSampler": "diffusion.pair_sampler",
    "PosteriorVariance": "diffusion.worth",
    "PreconditionedDenoiser": "diffusion.precondition",
    "SharedModel": "runs.hub",
    "SweepConfig": "sweep.config",
    "TheoryConfig": "studies.config",
    "TrainConfig": "train.config",
    "UserError": "errors",
    "ambient_loss": "diffusion.objective",
    "ambient_pair": "diffusion.objective",
    "fit_law": "laws.fit",
    "impute": "diffusion.imputation",
    "inspect": "data.inspect",
    "load_run": "runs.model",
    "make_backbone": "networks",
    "make_plan": "sweep.plan",
    "open_dataset": "data.dataset",
    "plan_purchase": "laws.budget",
    "quiet": "progress",
    "quote": "laws.price",
    "read_observations": "laws.observations",
    "save_plan": "sweep.plan",
    "spectrum": "diffusion.worth",
    "worth": "diffusion.worth",
    "write_report": "report.page",
}


def _homes() -> dict[str, str]:
    """Name -> module, those of the table of commands included."""
    of_commands = (
        where.partition(":") for command in COMMANDS for where in (command.function, command.config)
    )
    return {name: module for module, _, name in of_commands} | _HOMES


__all__ = sorted(_homes())


def __getattr__(name: str) -> Any:
    module = _homes().get(name)
    if module is None:
        raise AttributeError(f"module 'noiseworth' has no attribute {name!r}")
    return getattr(
        import_module(module.removeprefix("/") if module.startswith("/") else f"noiseworth.{module}"), name
    )


def __dir__() -> list[str]:
    return [*_homes(), "__version__"]
