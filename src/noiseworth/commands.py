"""The table of commands: one entry each. The command line (`cli/parser.py`) and the package's Python names are made from it.

To add a command, write a configuration, a function of it and a printer in one file, and an entry here. The
entry gives it `--help`, `--config`, `--dry-run` and `--json`, and the name of its function and its
configuration in Python. Everything is named by text, so that only what is used is imported.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: as it is typed.
        config: `module:class` of its configuration, a dataclass in a module that is quick to import. The
            class's docstring says in its first line what the command does; the string under a field documents
            the option.
        function: `module:function` of the configuration, which does the work and returns a record, a list of
            records, or an object with a `record`.
        printer: `module:function` of (configuration, result), which prints for people; `--json` prints the
            record instead.
        group: the first word of commands such as `sweep run`; "" for none.
        presets: `module:function` that gives name -> file of configurations that come with the package, for
            the option `--grid`.
        exit_code: `module:function` of the result that gives the exit code; by default it is 0.
    """

    name: str
    config: str
    function: str
    printer: str
    group: str = ""
    presets: str = ""
    exit_code: str = ""

    @property
    def full_name(self) -> str:
        """With its group: `sweep run`."""
        return f"{self.group} {self.name}".strip()


GROUPS = {
    "features": "Features of images, in which distances are measured; kept, so that later comparisons use the same ones.",
    "noise": "The noise of images: measure it, find out which images are clean, check what it is like, measure a camera.",
    "sweep": "Many trainings by one plan: plan them, run them on this machine or on a cluster, and collect their results.",
    "bench": "Measurements of speed on this machine.",
}

COMMANDS = [
    Command("demo", "runs.config:DemoConfig", "runs.demo:run_demo", "cli.runs:print_demo"),
    Command("pack", "data.config:PackConfig", "data.pack:pack", "cli.data:print_datasets"),
    Command("corrupt", "data.config:CorruptConfig", "data.corrupt:corrupt", "cli.data:print_corrupted"),
    Command("join", "data.config:JoinConfig", "data.views:join", "cli.data:print_datasets"),
    Command("split", "data.config:SplitConfig", "data.views:split", "cli.data:print_datasets"),
    Command("subset", "data.config:SubsetConfig", "data.views:subset", "cli.data:print_datasets"),
    Command("unpack", "data.config:UnpackConfig", "data.unpack:unpack", "cli.data:print_unpacked"),
    Command("inspect", "cli.data:InspectConfig", "cli.data:inspect_dataset", "cli.data:print_inspection"),
    Command(
        "estimate",
        "data.noise_config:EstimateConfig",
        "data.estimate_noise:estimate_noise",
        "cli.noise:print_estimate",
        "noise",
    ),
    Command(
        "clean",
        "data.noise_config:CleanConfig",
        "data.estimate_noise:find_clean",
        "cli.noise:print_clean",
        "noise",
    ),
    Command(
        "calibrate",
        "data.noise_config:CalibrateConfig",
        "data.calibrate_camera:calibrate_camera",
        "cli.noise:print_camera",
        "noise",
    ),
    Command(
        "stabilise",
        "data.noise_config:StabiliseConfig",
        "data.stabilise_noise:stabilise_noise",
        "cli.noise:print_stabilised",
        "noise",
    ),
    Command(
        "hide",
        "data.noise_config:HideConfig",
        "data.hide_damage:hide_damage",
        "cli.noise:print_hidden",
        "noise",
    ),
    Command(
        "check",
        "data.noise_config:CheckConfig",
        "cli.noise:check_dataset",
        "cli.noise:print_checks",
        "noise",
        exit_code="cli.noise:exit_code",
    ),
    Command("train", "train.config:TrainConfig", "train.driver:run_training", "cli.runs:print_training"),
    Command("recipe", "runs.config:RecipeConfig", "runs.recipe:run_recipe", "cli.runs:print_recipe"),
    Command("ema", "train.config:EmaConfig", "train.posthoc_ema:make_average", "cli.runs:print_average"),
    Command(
        "restore", "restore.config:RestoreConfig", "restore.command:restore_images", "cli.runs:print_restored"
    ),
    Command("sample", "runs.config:SampleConfig", "runs.sampling:sample_run", "cli.runs:print_samples"),
    Command(
        "evaluate",
        "runs.config:EvaluationConfig",
        "runs.evaluation:run_evaluation",
        "cli.runs:print_evaluation",
    ),
    Command(
        "train",
        "evaluate.config:FeaturesConfig",
        "evaluate.feature_registry:train_features",
        "cli.runs:print_features",
        "features",
    ),
    Command("share", "runs.config:ShareConfig", "runs.shared:share_model", "cli.runs:print_shared"),
    Command("report", "runs.config:ReportConfig", "runs.report:make_report", "cli.runs:print_report"),
    Command(
        "plan",
        "sweep.config:SweepConfig",
        "sweep.plan:plan_sweep",
        "cli.sweeps:print_plan",
        "sweep",
        "sweep.config:grids",
    ),
    Command(
        "run",
        "sweep.config:SweepRunConfig",
        "sweep.run:run_sweep",
        "cli.sweeps:print_run",
        "sweep",
        exit_code="cli.sweeps:exit_code",
    ),
    Command(
        "status",
        "sweep.config:SweepStatusConfig",
        "sweep.status:read_status",
        "cli.sweeps:print_status",
        "sweep",
    ),
    Command(
        "collect",
        "sweep.config:SweepCollectConfig",
        "sweep.collect:collect",
        "cli.sweeps:print_collected",
        "sweep",
    ),
    Command("fit", "cli.laws:FitConfig", "cli.laws:fit", "cli.laws:print_fit"),
    Command("price", "cli.laws:PriceConfig", "cli.laws:price", "cli.laws:print_price"),
    Command("plan", "cli.laws:PlanConfig", "cli.laws:plan", "cli.laws:print_plan"),
    Command("pilot", "cli.pilots:PilotConfig", "cli.pilots:pilot", "cli.pilots:print_pilot"),
    Command("worth", "cli.worth:WorthConfig", "cli.worth:worth_of_groups", "cli.worth:print_worth"),
    Command("theory", "studies.config:TheoryConfig", "studies.run:run_theory", "cli.theory:print_studies"),
    Command(
        "train",
        "train.config:BenchmarkConfig",
        "train.benchmark:measure_speed",
        "cli.runs:print_speed",
        "bench",
    ),
]


def load(where: str) -> Any:
    """What `module:name` names. The module is one of this package; a leading `/` makes it one of any package."""
    module, _, name = where.partition(":")
    full = module.removeprefix("/") if module.startswith("/") else f"noiseworth.{module}"
    return getattr(import_module(full), name)


def run(command: Command, config: Any) -> Any:
    """Do the work of a command."""
    function: Callable[[Any], Any] = load(command.function)
    return getattr(function, "run", function)(config)
