"""What would leave the command line's bounds: pages over inputs, mistakes of its own, escape codes, damaged files."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import noiseworth as nw
from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.cli import parser as cli_parser
from noiseworth.errors import UserError, one_line
from noiseworth.records import DatasetRecord, RiskCurve, SweepPlan, WorthRecord, from_json, parse_record
from noiseworth.records.yaml_files import load_yaml, parse_yaml
from noiseworth.report.figures import risk_figure, worth_figure


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


def test_there_may_be_no_output_at_all() -> None:
    command = f"{sys.executable} -m noiseworth.cli train --data d --out o --dry-run >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


DATASET = {
    "format": 1, "name": "a", "shape": [1, 8, 8], "offset": 127.5, "scale": 127.5, "units": "raw",
    "parts": [{"folder": "part-00000", "dtype": "uint8", "count": 8, "labels": False}],
    "fingerprint": "x", "provenance": [{"command": "pack"}],
}  # fmt: skip
PART: dict[str, Any] = DATASET["parts"][0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": []}, "parts must hold at least one image"),
        ({"parts": [PART | {"folder": "../elsewhere"}]}, "must be the name of a folder"),
        ({"parts": [PART | {"folder": "/"}]}, "must be the name of a folder"),
        ({"parts": [PART | {"dtype": "object"}]}, "must be a type of numbers"),
        ({"parts": [PART | {"count": -1}]}, "count -1"),
        ({"parts": [PART | {"count": 2**80}]}, "too large a number"),
        ({"scale": 0}, "scale 0.0 must be above 0"),
        ({"scale": 10**400}, "scale: must be a finite number"),
        ({"offset": float("inf")}, "not JSON (Infinity is no number)"),
        ({"shape": [0, 8, 8]}, "shape (0, 8, 8)"),
        ({"shape": [2**40, 8, 8]}, "must be channels, height and width"),
        ({"provenance": []}, "how the data set was made"),
    ],
)
def test_a_damaged_data_set_is_named(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET | change))
    line = refusal(["inspect", str(tmp_path)], capsys)
    assert str(tmp_path / "dataset.json") in line
    assert message in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"format": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"format": 1e999}', "unknown key|expected|missing"),
        (b"\xff", "not JSON"),
        (b"", "not JSON"),
        (b"NaN", "NaN is no number"),
    ],
)
def test_no_json_is_a_traceback(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=rf"here: .*({message})"):
        parse_record(DatasetRecord, content, "here")


def test_records_check_themselves() -> None:
    curve = {"levels": [0.5], "risk": [0.1], "standard_error": [0.0], "n_images": 2}
    changes: tuple[dict[str, Any], ...] = (
        {"levels": [0.0]},
        {"risk": [0.1, 0.2]},
        {"risk": [float("nan")]},
    )
    for change in changes:
        with pytest.raises(UserError, match="here"):
            from_json(RiskCurve, curve | change, "here")
    plan = {"data": "d", "held_out": "h", "trials": [{"clean": -1}]}
    with pytest.raises(UserError, match=r"here.*trial"):
        from_json(SweepPlan, plan, "here")


def test_yaml_is_plain_values_alone(tmp_path: Path) -> None:
    assert parse_yaml("a: [1, 2.5, x, null, true]", "here") == {"a": [1, 2.5, "x", None, True]}
    for text, message in (("a: !!binary aGk=", "bytes"), ("a: !!set {b}", "set"), ("&a [*a]", "alias")):
        with pytest.raises(UserError, match=f"here.*{message}"):
            parse_yaml(text, "here")
    with pytest.raises(UserError, match="no ordinary file"):
        load_yaml(tmp_path)


TABLE = "n_clean,n_noisy,sigma,quality\n"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("100,0,0,nan\n", "quality is nan"),
        ("1e400,0,0,1\n", "n_clean is 1e400"),
        ("²,0,0,1\n", "not a number"),
        ("100,1e300,0.2,1\n", "must be 0, or from"),
        ("100,5;5,0.2;0.2,1\n", "names a noise level twice"),
        ("100\n", "quality is ''"),
        ("x" * 200_000 + ",0,0,1\n", "not a CSV file (field larger"),
        ("", "no rows"),
    ],
)
def test_a_wrong_table_is_named(rows: str, message: str, tmp_path: Path, capsys: Captured) -> None:
    table = tmp_path / "table.csv"
    table.write_text(TABLE + rows, encoding="utf-8")
    line = refusal(["fit", str(table)], capsys)
    assert str(table) in line
    assert message in line
    assert len(line) < 500


def test_a_table_may_begin_with_a_mark_of_its_encoding(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(b"\xef\xbb\xbf" + f"{TABLE}100,0,0,1\n".encode())
    assert nw.read_observations(str(table)).n_clean.tolist() == [100]


def test_a_table_is_an_ordinary_file(capsys: Captured) -> None:
    assert "/dev/zero: is no ordinary file" in refusal(["fit", "/dev/zero"], capsys)
    assert "no such data set" in refusal(["fit", "published:../x"], capsys)


@pytest.mark.parametrize("name", ["a$x^{$", "$", "_hidden", "\\$\\frac$"])
def test_a_run_of_any_name_is_drawn_by_its_name(name: str) -> None:
    worth = WorthRecord([1.0, 2.0], [1.0, 1.0], [0.0], [1], [[1.0, 1.0]], [1.0, 1.0], [1.0], [1.0])
    figure = worth_figure({name: worth, "other": worth})
    assert figure is not None
    assert f"{name}</text>" in figure
    assert risk_figure({}, {}) is None
