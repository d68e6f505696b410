"""Records: exact round trips, refusals by name, and the schema of everything under results/."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from checks import Check, Results
from noiseworth.errors import UserError
from noiseworth.records import (
    DatasetRecord,
    Evaluation,
    FeatureRecord,
    PartRecord,
    RiskCurve,
    from_json,
    load_record,
    to_json,
    write_atomically,
)

RECORDS: list[Any] = [
    DatasetRecord(
        1,
        "x",
        (1, 8, 8),
        127.5,
        127.5,
        "raw",
        [PartRecord("part-00000", "uint8", 3, True)],
        "ab",
        [{"k": [1, None]}],
    ),
    Evaluation(
        0.5,
        None,
        FeatureRecord("pixels", 64),
        10,
        20,
        18,
        RiskCurve([0.1, 1 / 3], [1e-300, 0.2], [0.0, 0.1], 9),
        0,
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_round_trip_is_exact(record: object) -> None:
    assert from_json(type(record), json.loads(to_json(record)), "here") == record


def test_refusals_name_the_place(tmp_path: Path) -> None:
    good = dataclasses.asdict(RECORDS[0])
    for change, message in (
        ({"extra": 1}, "unknown key 'extra'"),
        ({"scale": "1"}, "scale: expected"),
        ({"scale": True}, "scale: expected"),
        ({"shape": [1, 8]}, "shape: expected"),
        ({"parts": [{"folder": "p"}]}, r"parts\[0\]: key 'dtype' is missing"),
    ):
        with pytest.raises(UserError, match=message):
            from_json(DatasetRecord, json.loads(json.dumps(good | change)), "here")
    del good["name"]
    with pytest.raises(UserError, match="key 'name' is missing"):
        from_json(DatasetRecord, json.loads(json.dumps(good)), "here")
    (tmp_path / "x.json").write_text("{")
    for path, message in ((tmp_path / "x.json", "not JSON"), (tmp_path / "y.json", "no such file")):
        with pytest.raises(UserError, match=message):
            load_record(DatasetRecord, path)


def test_nan_never_reaches_a_file() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        to_json(RiskCurve([0.1], [float("nan")], [0.0], 1))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_check_directions() -> None:
    assert Check("a/b", "x", 1.0, "", 1.0, "max", "c").holds
    assert not Check("a/b", "x", 0.9, "", 1.0, "min", "c").holds


RESULTS = sorted((Path(__file__).parent.parent / "results").rglob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.name)
def test_results_follow_the_schema(path: Path) -> None:
    results = load_record(Results, path)
    assert results.checks
    assert results.command
    for check in results.checks:
        assert check.command
        assert check.what
