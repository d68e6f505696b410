"""Claim house/compatible: what the release before the rooms moved wrote (tests/data/release-0.1) opens, resumes, samples, evaluates.

The files were made at commit 0473000 by the script that lies beside them (make.py.txt), with a network so
small that they fit here. They have the names that settings and records had then: `views`, `below`,
`watch_every`, `law_refreshed_at`, `watch`, `leaked_noise`.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import noiseworth as nw
from noiseworth.cli import main
from noiseworth.networks import PRESETS, Preset
from noiseworth.records import Evaluation, StepRecord, load_lines, load_record, machine, versions
from noiseworth.runs.evaluation import run_evaluation
from noiseworth.runs.sampling import sample_run
from noiseworth.sweep.plan import load_plan
from noiseworth.sweep.trial import load_trial, try_trial
from noiseworth.train.run_directory import load_done

RELEASE = Path(__file__).parent / "data" / "release-0.1"
EXPECTED: dict[str, Any] = json.loads((RELEASE / "expected.json").read_text(encoding="utf-8"))
# The same bits are promised on the same machine with the same libraries; on another one, the same numbers up
# to rounding.
SAME_MACHINE = (
    machine()["processor"] == EXPECTED["machine"]["processor"]
    and versions()["torch"] == EXPECTED["versions"]["torch"]
)


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(RELEASE, tmp_path / "release")
    monkeypatch.chdir(tmp_path / "release")
    monkeypatch.setitem(PRESETS, "tiny", Preset(channels=(4,), blocks=1, groups=4))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path / "release"
    torch.set_num_threads(threads)


def test_data_sets_open(release: Path) -> None:
    mixed = nw.open_dataset("data/mixed")
    assert mixed.record.fingerprint == EXPECTED["fingerprint"]
    assert sorted(set(mixed.sigma.tolist())) == pytest.approx([0, 0.2, 0.5])
    train, whole = (
        nw.open_dataset("data/parts/train"),
        nw.open_dataset("data/digits"),
    )  # a view, and what it is of
    rows = {int(i): n for n, i in enumerate(whole.ids)}
    chosen = np.array([rows[int(i)] for i in train.ids])
    np.testing.assert_array_equal(train.read_first(len(train)), whole.read(chosen))


def test_a_run_resumes_to_the_same_weights_and_is_sampled_and_evaluated(release: Path) -> None:
    settings = {
        "--n-images": "2048", "--batch": "32", "--preset": "tiny", "--more-ema": "[500]", "--power-ema": "[0.1]",
        "--presentations": "2.0", "--checkpoint-every": "1024", "--keep": "1", "--held-out": "data/parts/held-out",
        "--monitor-every": "1024", "--warmup": "256", "--augment": "shift", "--device": "cpu",
    }  # fmt: skip
    words = [word for pair in settings.items() for word in pair]
    assert main(["train", "--data", "data/mixed", "--out", "interrupted", "--labels", *words]) == 0
    done = load_done(Path("interrupted"))
    assert done is not None
    if SAME_MACHINE:  # what is kept of imputed images and of the best average is new
        new = {"below.safetensors", "best.safetensors"}
        assert {k: v for k, v in done.weights.items() if k not in new} == {
            k: v for k, v in EXPECTED["weights"].items() if k not in new
        }
    assert done.worth.counts == [16, 20, 28]
    records = load_lines(StepRecord, Path("interrupted/metrics.jsonl"))
    assert [record.step for record in records] == list(range(1, 65))
    assert [record.n_images for record in records if record.monitor is not None] == [1024, 2048]
    made = sample_run(
        "interrupted", "made", n=8, steps=4, label=3, schedule="edm", sampler="heun"
    ).read_first(8)
    if SAME_MACHINE:
        assert hashlib.sha256(made.tobytes()).hexdigest() == EXPECTED["samples"]
    assert made.mean() == pytest.approx(EXPECTED["sample_mean"], abs=1e-3)
    result = run_evaluation(
        "interrupted",
        "data/parts/train",
        "data/parts/held-out",
        features="pca",
        n=64,
        steps=4,
        schedule="edm",
        check_steps=0,
    )
    assert result.risk is not None
    assert result.distances is not None
    assert result.risk.risk == pytest.approx(EXPECTED["risk"], rel=1e-3)
    assert result.frechet_distance == pytest.approx(EXPECTED["frechet_distance"], rel=1e-2)
    assert result.distances.learned_noise == pytest.approx(EXPECTED["learned_noise"], abs=1e-3)


def test_a_finished_run_is_read(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = load_record(Evaluation, Path("finished/evaluation.json"))
    assert old.distances is not None
    assert old.distances.learned_noise == EXPECTED["learned_noise"]
    page = nw.make_report(["finished"], "report.html", title="kept").report
    assert "What the noisy images were worth" in Path(page).read_text(encoding="utf-8")
    assert main(["train", "--config", "finished/config.yaml", "--out", "again", "--dry-run"]) == 2
    assert "finished/config.yaml: below is called below_noise now" in capsys.readouterr().err
    assert main(["train", "--data", "data/mixed", "--out", "again", "--views", "2"]) == 2
    assert "--views: is called --presentations now" in capsys.readouterr().err


def test_a_sweep_goes_on(release: Path) -> None:
    status = nw.read_status("sweep")
    assert (status.done, status.waiting) == (1, 1)
    plan = load_plan(Path("sweep"))
    waiting, finished = plan.trials
    assert finished.train == {"below": "none"}  # as it was written, so that its directory keeps its name
    record = load_trial(Path("sweep"), plan, finished)
    assert record is not None
    assert record.risk.risk == EXPECTED["trial_risk"]["risk"]
    assert try_trial(Path("sweep"), plan, waiting) == "done"
    trained = load_trial(Path("sweep"), plan, waiting)
    assert trained is not None
    # It had not begun, so it is trained as runs are now, with a tenth of its clean images held back.
    assert trained.risk.risk == pytest.approx(EXPECTED["other_trial"]["risk"]["risk"], rel=0.2)
    assert nw.collect("sweep").rows == 2
