"""The command line as a gate: in whatever order and spelling, what no command can use ends in one line and exit code 2."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import noiseworth as nw
from noiseworth.cli import main
from noiseworth.cli import parser as cli_parser
from noiseworth.commands import COMMANDS, Command, load
from noiseworth.errors import UserError, one_line
from noiseworth.options import flag_of, hints_of

Captured = pytest.CaptureFixture[str]

# One word for each thing that a command cannot do without.
NEEDED = {
    "sources": ["a", "b"], "source": ["a"], "data": ["a"], "out": ["new"], "run": ["a"], "runs": ["a", "b"],
    "target": ["a"], "file": [str(Path(__file__).parent.parent / "recipes" / "cifar10.yaml")], "against": ["a"],
    "held_out": ["0.5"], "take": ["0.5"], "clean_fraction": ["0.5"], "sigma": ["0.5"], "sigma_rel": ["0.1"],
    "budget": ["10"], "clean_price": ["1"], "noisy_price": ["1"], "total": ["10"],
}  # fmt: skip
NAMES = [command.full_name for command in COMMANDS]


def needed(command: Command) -> dict[str, list[str]]:
    """Field -> words, of the options and positions that a command needs."""
    fields = dataclasses.fields(load(command.config))
    missing = dataclasses.MISSING
    names = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    return {
        name: NEEDED[name] for name in [*names, *(["total"] if command.full_name == "sweep plan" else [])]
    }


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


def refusal(words: list[str], capsys: Captured) -> str:
    """The line with which a command line is refused."""
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("noiseworth: error: ")
    return line


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
        ("train --data d --out o --batch 99999999999999", "--batch"),
        ("train --data d --out o --level-mean many", "--level-mean: cannot be many"),
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"lr: [1, 2", "not YAML"),
        (b"- 1\n- 2\n", "holds no settings"),
        (b"just words", "holds no settings"),
        (b"", "holds no settings"),
        (b"lr: 2020-01-01", "read as a date"),
        (b"lr: 2020-99-99", "not YAML"),
        (b"1: 2", "the name 1 is no text"),
        (b"more_ema: &a [1]\npower_ema: *a", "the alias *a"),
        (b"more_ema: " + b"[" * 10_000 + b"]" * 10_000, "levels deep"),
        (b"seed: " + b"9" * 5000, "not YAML"),
        (b"lr: .nan", "--lr nan"),
        (b"lr: many", "--lr: must be a number"),
        (b"seed: [1]", "--seed: must be an integer"),
        (b"data: 7", "--data: must be text"),
        (b"speed: 1", "speed"),
        (b"title: " + b"x" * 3_000_000, "is larger than"),
    ],
)
def test_a_file_of_settings_is_checked(
    content: bytes, message: str, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(content)
    line = refusal(["train", "--config", str(file), "--data", "d", "--out", "o"], capsys)
    assert message in line
    assert len(line) < 500


def test_settings_are_read_from_ordinary_files_alone(tmp_path: Path, capsys: Captured) -> None:
    os.mkfifo(tmp_path / "fifo")
    for file in ("/dev/zero", str(tmp_path), str(tmp_path / "fifo")):
        assert "no ordinary file" in refusal(["train", "--data", "d", "--out", "o", "--config", file], capsys)
    assert "no such file" in refusal(["train", "--data", "d", "--out", "o", "--config", "lr: 1"], capsys)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A small data set."""
    np.save(tmp_path / "a.npy", np.arange(512).reshape(8, 8, 8).astype(np.uint8))
    nw.pack(tmp_path / "a.npy", tmp_path / "packed", sigma=0.0)
    return tmp_path / "packed"


def test_a_page_never_replaces_what_is_read(packed: Path, tmp_path: Path, capsys: Captured) -> None:
    table = tmp_path / "table.html"
    table.write_text("n_clean,n_noisy,sigma,quality\n1,0,0,1\n")
    (tmp_path / "link.html").symlink_to(table)
    (tmp_path / "hard.html").hardlink_to(table)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "to-data.html").symlink_to(packed / "dataset.json")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for words in (
        ["fit", str(table), "--page", str(table)],
        ["fit", str(table), "--page", str(tmp_path / "link.html")],
        ["fit", str(table), "--page", f"{tmp_path}/packed/../hard.html"],
        ["inspect", str(packed), "--page", str(packed / "dataset.json")],
        ["inspect", str(packed), "--page", str(tmp_path / "to-data.html")],
        ["inspect", str(packed), "--picture", str(packed / "part-00000" / "images.npy")],
        ["inspect", str(packed), "--page", str(tmp_path / "notes.txt")],
        ["inspect", str(packed), "--page", str(packed)],
        ["inspect", str(packed), "--page", "/dev/null"],
        ["inspect", str(packed), "--page", str(tmp_path / "notes.txt" / "page.html")],
        ["inspect", str(packed), "--page", str(tmp_path / ("x" * 250))],
        ["evaluate", str(packed), "--against", str(packed), "--page", str(packed / "dataset.json")],
        ["report", str(packed), "--out", str(tmp_path / "a.npy")],
    ):
        assert "--page" in (line := refusal(words, capsys)) or "--picture" in line or "--out" in line
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_page_is_replaced_by_a_newer_one(packed: Path, tmp_path: Path, capsys: Captured) -> None:
    words = ["inspect", str(packed), f"--page={tmp_path}/new/p.html", f"--picture={tmp_path}/new/p.png"]
    assert main(words) == 0
    assert main(words) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["p.html", "p.png"]


def _raise(error: BaseException) -> Any:
    def command(*_: Any) -> Any:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyError("x"), 70, "internal error: KeyError: 'x'; please report it"),
        (ValueError("one\ntwo"), 70, "internal error: ValueError: one; please report it"),
        (AssertionError(), 70, "internal error: AssertionError: AssertionError; please report it"),
        (MemoryError("cannot have 8 TB"), 2, "not enough memory for this (cannot have 8 TB)"),
        (RecursionError("deep"), 2, "nested too deeply"),
        (UserError("a\x1b[31mb" + "c" * 10**6 + " remedy"), 2, "a\\x1b[31mb"),
        (PermissionError(13, "Permission denied", "x"), 2, "x: Permission denied"),
    ],
)
def test_what_escapes_is_one_line(
    error: Exception, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(cli_parser, "run", _raise(error))
    assert main(["inspect", "x"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert len(line) < 2_100
    assert main(["inspect", "x", "--debug"]) == code
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert "in command" in shown


def test_a_long_message_keeps_its_remedy() -> None:
    line = one_line("what " + "x" * 10**6 + " remedy")
    assert len(line) == 2_000
    assert line.startswith("what ")
    assert line.endswith(" remedy")
    assert " ... " in line


def test_a_name_in_a_file_steers_no_terminal(packed: Path, capsys: Captured) -> None:
    record = packed / "dataset.json"
    record.write_text(record.read_text().replace('"name": "a.npy"', '"name": "a\\u001b[31m\\u202eb"'))
    assert main(["inspect", str(packed)]) == 0
    printed = capsys.readouterr().out
    assert "a\\x1b[31m\\u202eb" in printed
    assert not {"\x1b", "\u202e"} & set(printed)


def test_nobody_reads_the_output_any_more() -> None:
    command = (
        f"{sys.executable} -m noiseworth.cli train --data d --out o --dry-run | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0: it was quicker than `true`


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
