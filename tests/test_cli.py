"""The command line: quick, one clear line and exit code 2 for bad input, JSON for programs."""

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.cli.runs import print_training
from noiseworth.records import DatasetRecord, DoneRecord, Inspection, from_json, load_record
from noiseworth.train.run_directory import load_config

COMMANDS = ("demo", "pack", "corrupt", "inspect", "train", "sample", "evaluate", "report")


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import noiseworth"],
        ["-m", "noiseworth.cli", "--help"],
        ["-m", "noiseworth.cli", "train", "--help"],
    ],
)
def test_starting_takes_under_a_second(command: list[str]) -> None:
    def run() -> float:
        began = time.monotonic()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.monotonic() - began

    assert min(run() for _ in range(3)) < 1.0


def test_the_public_names_are_there() -> None:
    import noiseworth

    for name in noiseworth.__all__:
        assert getattr(noiseworth, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = noiseworth.nothing


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text
    options = text[text.index("options:") :]
    for block in options.split("\n  --")[1:]:
        assert len(" ".join(block.split("\n")).split()) > 4, f"{command}: no explanation: --{block}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("pack nowhere out", "nowhere: no such file"),
        ("pack sklearn:digits out --sigma -1", "--sigma -1"),
        ("pack sklearn:digits out --held-out 1797", "--held-out 1797"),
        ("pack sklearn:digits out --range 3 1", "--range 3.0 1.0"),
        ("corrupt nowhere out --clean-fraction 0.1 --sigma 1", "nowhere: not a packed data set"),
        ("corrupt {digits}/train out --clean-fraction 2 --sigma 1", "--clean-fraction 2"),
        ("corrupt {digits}/train out --clean-fraction 0.1", "sigma"),
        ("inspect {digits}", "did you mean"),
        ("train --data nowhere --out out", "nowhere: not a packed data set"),
        ("train --data {digits}/train --out out --use noisy", "has no noisy images"),
        ("train --data {digits}/train --out out --preset giant", "choose one of light"),
        ("train --data {digits}/train --out out --n-images many", "many"),
        ("train --data {digits}/train --out out --speed 3", "speed"),
        ("sample nowhere out", "nowhere: not a run"),
        ("features train {mixed} out", "clean ones are needed here"),
        ("report nowhere", "is not a run"),
        ("demo --sigma 0", "--sigma 0"),
        ("demo --out {digits}", "holds no demo"),
        ("fly", "invalid choice: 'fly'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    words: str,
    message: str,
    digits: Path,
    mixed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.format(digits=digits, mixed=mixed).split()) == 2
    printed = capfd.readouterr()
    error = [line for line in printed.err.splitlines() if line]
    assert len(error) == 1
    assert error[0].startswith("noiseworth: error: ")
    assert message in error[0]
    assert not list(tmp_path.iterdir())


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8), np.uint8))
    assert main(["pack", str(tmp_path / "x.npy"), str(tmp_path / "out"), "--sigma", "0", "--json"]) == 0
    (packed,) = json.loads(capsys.readouterr().out)
    assert from_json(DatasetRecord, packed, "stdout").count == 3
    assert main(["inspect", str(tmp_path / "out"), "--json", "--picture", str(tmp_path / "x.png")]) == 0
    assert from_json(Inspection, json.loads(capsys.readouterr().out), "stdout").count == 3
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_dry_run_prints_settings_that_run_as_a_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "d", "--out", str(tmp_path / "run"), "--lr", "0.001", "--dry-run"]
    assert main(words) == 0
    settings = capsys.readouterr().out
    assert "lr: 0.001" in settings
    assert not (tmp_path / "run").exists()
    (tmp_path / "train.yaml").write_text(settings)
    assert main(["train", "--config", str(tmp_path / "train.yaml"), "--lr", "0.01", "--dry-run"]) == 0
    assert capsys.readouterr().out == settings.replace("lr: 0.001", "lr: 0.01")
    (tmp_path / "train.yaml").write_text(settings + "speed: 3\n")
    assert main(["train", "--config", str(tmp_path / "train.yaml"), "--dry-run"]) == 2
    assert "speed" in capsys.readouterr().err


def test_train_and_report_print_the_price_and_its_assumption(
    tmp_path: Path, mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["train", f"--data={mixed}", f"--out={tmp_path / 'run'}", "--n_images=640", "--batch=64"]) == 0
    )
    printed = capsys.readouterr().out
    assert "noisy per clean)" in printed
    assert "assuming that its error falls as 1 / N" in printed
    assert main(["report", str(tmp_path / "run"), f"--out={tmp_path / 'report.html'}"]) == 0
    assert (
        "the error beyond the least possible one falls as 1 / N, and that an imputed image is worth"
        " what it is trusted" in (tmp_path / "report.html").read_text(encoding="utf-8")
    )


def test_a_price_says_what_it_rests_on(
    tmp_path: Path, mixed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without imputation nothing is assumed below the noise; of few images there is no price."""
    train = ["train", "--n_images=640", "--batch=64"]
    assert main([*train, f"--data={mixed}", f"--out={tmp_path / 'run'}", "--below-noise=none"]) == 0
    assert re.search(r"price: [\d.]+ noisy per clean\)", capsys.readouterr().out)
    config, done = load_config(tmp_path / "run"), load_record(DoneRecord, tmp_path / "run" / "DONE.json")
    for ends, words in (((1.2, 14.3), "14.3 if nothing)"), ((1.2, None), "never if nothing)")):
        low, high = ([None, end] for end in ends)
        worth = replace(done.worth, price=[1.0, 4.1], price_low=low, price_high=high)
        print_training(config, replace(done, worth=worth))
        assert (
            "4.1 noisy per clean; 1.2 if imputed images are worth clean ones, " + words
            in capsys.readouterr().out
        )
    assert main(["subset", str(mixed), str(tmp_path / "few"), "--take=32", "--use=noisy"]) == 0
    capsys.readouterr()
    assert main([*train, f"--data={tmp_path / 'few'}", f"--out={tmp_path / 'small'}"]) == 0
    assert "no price: 32 images are too few to tell, at least 100 are needed" in capsys.readouterr().out
    worth = load_record(DoneRecord, tmp_path / "small" / "DONE.json").worth
    assert worth.price == worth.price_low == [None]
