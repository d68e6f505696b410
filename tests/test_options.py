"""The command line as a gate: in whatever order and spelling, what no command can use ends in one line and exit code 2."""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import noiseworth as nw
from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.commands import COMMANDS, Command, load
from noiseworth.errors import UserError
from noiseworth.options import flag_of, hints_of

# One word for each thing that a command cannot do without.
NEEDED = {
    "sources": ["a", "b"], "flats": ["a", "b"], "dark": ["a"],
    "source": ["a"], "data": ["a"], "images": ["a"], "out": ["new"], "run": ["a"], "runs": ["a", "b"],
    "target": ["a"], "file": [str(Path(__file__).parent.parent / "recipes" / "cifar10.yaml")], "against": ["a"],
    "held_out": ["0.5"], "take": ["0.5"], "clean_fraction": ["0.5"], "sigma": ["0.5"], "sigma_rel": ["0.1"],
    "budget": ["10"], "instrument": ["a"], "clean_price": ["1"], "noisy_price": ["1"], "total": ["10"],
}  # fmt: skip
NAMES = [command.full_name for command in COMMANDS]


def needed(command: Command) -> dict[str, list[str]]:
    """Field -> words, of the options and positions that a command needs."""
    fields = dataclasses.fields(load(command.config))
    missing = dataclasses.MISSING
    names = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    one_of_several = {"sweep plan": ["total"], "corrupt": ["sigma"], "plan": ["instrument"]}
    return {name: NEEDED[name] for name in [*names, *one_of_several.get(command.full_name, [])]}


def words_of(command: Command, values: dict[str, list[str]]) -> list[str]:
    """A command line that gives each field its words: options first, then what goes by position."""
    positional = {f.name for f in dataclasses.fields(load(command.config)) if f.metadata.get("positional")}
    options = [w for name, given in values.items() if name not in positional for w in (flag_of(name), *given)]
    return [
        *command.full_name.split(),
        *options,
        *(w for name in values if name in positional for w in values[name]),
    ]


def resolved(words: list[str], capsys: Captured) -> dict[str, Any]:
    """The settings that a command line stands for."""
    assert main(["--dry-run", *words]) == 0, capsys.readouterr().err
    settings_: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return settings_


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_every_flag_can_be_said_in_every_way(command: Command, capsys: Captured) -> None:
    config = load(command.config)
    start = words_of(command, needed(command))
    for name in (f.name for f in dataclasses.fields(config) if hints_of(config)[f.name] is bool):
        for flag in (flag_of(name), f"--{name}"):
            for words in ([flag], [flag, "true"], [flag, "True"], [f"{flag}=true"]):
                assert resolved([*start, *words], capsys)[name] is True
            opposites = ["--no-" + flag[2:], "--no_" + flag[2:]]
            for words in ([flag, "false"], [f"{flag}=false"], *([word] for word in opposites)):
                assert resolved([*start, *words], capsys)[name] is False
        assert "true or false" in refusal([*start, f"{flag_of(name)}=maybe"], capsys)


_ORDERS = (
    "pack a.npy b.npy out --sigma 0 --range 0 255 --splits",
    "pack a.npy b.npy --sigma 0 --range 0 255 --splits out",
    "pack --sigma=0 a.npy --range 0 255 --splits b.npy out",
    "pack --splits --sigma 0 --range 0 255 a.npy b.npy out",
    "--splits pack a.npy --range=0,255 b.npy out --sigma 0.0",
    "pack --splits true --sigma 0 --range 0 255 -- a.npy b.npy out",
)


def test_options_may_lie_anywhere(capsys: Captured) -> None:
    expected = resolved(_ORDERS[0].split(), capsys)
    for words in _ORDERS:
        assert resolved(words.split(), capsys) == expected
    assert resolved(["pack", "--sigma", "0", "--", "-a.npy", "--sigma"], capsys)["out"] == "./--sigma"
    assert resolved(["pack", "a", "out", "--range", "-1e-3", "1"], capsys)["range"] == [-0.001, 1.0]
    assert resolved(["pack", "a", "out", "--name", "-x"], capsys)["name"] == "-x"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sample r o --n 0", "--n 0: must be at least 1"),
        ("sample r o --steps 1", "--steps 1: must be at least 2"),
        ("sample r o --seed -1", "--seed -1: must be 0 or more"),
        ("sample r o --seed 9223372036854775808", "--seed"),
        ("sample r o --guidance nan --label 1", "--guidance: must be a number, not nan"),
        ("sample r .", "OUT .: must end with the name"),
        ("evaluate r --against d --steps 1", "--steps 1"),
        ("evaluate r --against d --n 5", "--n 5"),
        ("train --data d --out o --lr inf", "--lr: must be a number, not inf"),
        ("train --data d --out o --n-images 99999999999999 --batch 99999999999999", "--batch"),
        ("train --data d --out o --level-mean many", "--level-mean: must be a number, not many"),
        ("train --data d --out ..", "--out ..: must end with the name"),
        ("train --data d", "missing: out"),
        ("train --data d --out o --sead 1", "did you mean --seed?"),
        ("train --data d --out o --seed", "--seed: needs a value"),
        ("pack a o --sigma nan", "--sigma nan"),
        ("pack a o --held-out ²", "--held-out ²: must be a number in the digits 0 to 9"),
        ("pack a o --held-out ٣", "--held-out ٣: must be a number in the digits 0 to 9"),
        ("pack a o --held-out -1", "--held-out -1"),
        ("pack a o --range 0 nan", "--range"),
        ("pack a o --range 0", "--range: needs 2 numbers"),
        ("pack a o --no-splits=true", "takes no value"),
        ("corrupt a o --clean-fraction nan --sigma 1", "--clean-fraction: must be a number, not nan"),
        ("split a o --held-out 0", "--held-out 0.0: must be above 0"),
        ("sweep plan --data d --held-out h --out o --total 10 --seeds 1000000000000", "--seeds"),
        ("sweep plan --data d --held-out h --out o --total ٣", "--total"),
        ("plan t --budget 1 --clean-price 1e-300 --noisy-price 1 --sigma 1", "--clean-price 1e-300"),
        ("price t --sigma -1", "--sigma -1"),
        ("ema r o --sigma-rel 7", "--sigma-rel 7"),
    ],
)  # fmt: skip
def test_a_value_that_no_command_can_use_is_named(words: str, message: str, capsys: Captured) -> None:
    assert message in refusal(words.split(), capsys)


@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_without_end_are_refused(digits: int, capsys: Captured) -> None:
    line = refusal(["sample", "r", "o", "--n", "9" * digits], capsys)
    assert "--n" in line
    assert len(line) < 300
    assert "--sigma" in refusal(["pack", "a", "o", "--sigma", "9" * digits], capsys)


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_every_text_is_without_control_characters_and_not_empty(command: Command, capsys: Captured) -> None:
    config = load(command.config)
    start = needed(command)
    for field in dataclasses.fields(config):
        kinds = (hints_of(config)[field.name], *get_args(hints_of(config)[field.name]))
        if str not in kinds:
            continue
        wrong = ["a\0b", "\x1b[31mred", "\udcff"] + ([""] if field.default != "" else [])
        for text in wrong:
            line = refusal(words_of(command, start | {field.name: [text]}), capsys)
            assert field.name.upper() in line or flag_of(field.name) in line
            assert "\x1b" not in line


def test_python_has_the_same_gate(tmp_path: Path) -> None:
    wrong: Any = "many"
    of_numpy: dict[str, Any] = {"n": np.int64(3), "guidance": np.float32(1)}
    for call in (
        lambda: nw.SampleConfig("r", "o", n=wrong),
        lambda: nw.SampleConfig("r", "o", seed=-1),
        lambda: nw.TrainConfig(data="d", out="o", lr=float("nan")),
        lambda: nw.TrainConfig(data="d", out="o", batch=wrong),
        lambda: nw.TrainConfig(data="d\0", out="o"),
        lambda: nw.inspect_dataset(tmp_path, page=tmp_path),
    ):
        with pytest.raises(UserError, match=r"--|must"):
            call()
    assert nw.SampleConfig("r", tmp_path / "o", **of_numpy).n == 3


HOSTILE = st.one_of(
    st.sampled_from(
        [
            "0",
            "1",
            "-1",
            "2",
            "0.5",
            "1e400",
            "-1e400",
            "nan",
            "inf",
            "-inf",
            ".nan",
            "1e-320",
            "2.5e9",
            "9223372036854775807",
            "9223372036854775808",
            "²",
            "٣",
            "None",
            "null",
            "true",
            "~",
            "-",
            ".",
            "..",
            "/",
            "[]",
            "[1,2]",
            "[nan]",
            "{}",
            "{a:1}",
            "[1,[2]]",
            "2020-01-01",
            "0x10",
            "1_000",
            "1,2",
            "crop:64x64",
            "a=b",
            "a=b=c",
            "::",
            "*a",
            "&a",
            "!!x",
            "train.n_images=1e2",
            "train.lr=.nan",
            "pack.sigma=[1]",
            "train.=1",
            "train.data=x",
            "$x",
            "%s",
            "%(x)s",
            "{x}",
            "//",
            "~/x",
        ]
    ),
    st.sampled_from(
        ["", " ", "\t", "a\nb", "\0", "\x1b[2J", "9" * 400, "9" * 5000, "x" * 5000, "[" * 3000, "\udc80"]
    ),
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
)


def _fuzzed(command: Command) -> st.SearchStrategy[list[str]]:
    """Command lines with what is needed, and up to three hostile values for options of the command."""
    config = load(command.config)

    def choices(hint: Any) -> st.SearchStrategy[list[str]]:
        if hint is bool:
            return st.sampled_from([[], ["true"], ["false"]])
        good = [[str(value)] for value in get_args(hint)] if get_origin(hint) is Literal else [["1"]]
        one = st.one_of(st.sampled_from(good), HOSTILE.map(lambda text: [text]))
        return st.tuples(HOSTILE, HOSTILE).map(list) if tuple[float, float] in get_args(hint) else one

    fields = st.sampled_from([f.name for f in dataclasses.fields(config)])
    given_ = fields.flatmap(lambda name: st.tuples(st.just(name), choices(hints_of(config)[name])))
    return st.lists(given_, min_size=1, max_size=3).map(
        lambda pairs: words_of(command, needed(command) | dict(pairs))
    )


@pytest.mark.parametrize("command", COMMANDS, ids=NAMES)
def test_no_value_of_an_option_escapes_the_gate(command: Command, capsys: Captured) -> None:
    """Claim data/fuzz: 0 or 2, at most one line on stderr, and nothing is written."""

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(_fuzzed(command))
    def check(words: list[str]) -> None:
        code = main([*words, "--dry-run"])
        printed = capsys.readouterr()
        assert code in (0, 2), (words, printed.err)
        assert len(printed.err.splitlines()) == (code == 2), (words, printed.err)
        assert code == 0 or printed.err.startswith("noiseworth: error: "), words

    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            check()
        finally:
            os.chdir(before)
        assert not list(Path(folder).iterdir())
