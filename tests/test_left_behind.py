"""What processes leave behind: killed ones, ones side by side, links in place of locks, full disks, copies of runs."""

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from noiseworth.cli import main
from noiseworth.data.writer import new_directory
from noiseworth.errors import UserError
from noiseworth.process import lock
from noiseworth.records import load_json, sha256_of, write_atomically
from noiseworth.records.directory import claim
from noiseworth.runs.evaluation import run_evaluation
from noiseworth.runs.model import load_run
from noiseworth.runs.sampling import sample_run, samples_of
from noiseworth.sweep import trial as trial_module
from noiseworth.sweep import worker
from noiseworth.sweep.plan import plan_text, save_plan
from noiseworth.sweep.trial import clear_done, trial_directory
from noiseworth.train import checkpoint, run_directory
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from sweep_plans import TRIALS, plan


def _config(data: Path, out: Path, **settings: object) -> TrainConfig:
    fixed = {"batch": 64, "n_images": 640, "device": "cpu", "monitor_every": 0}
    return TrainConfig(data=str(data), out=str(out), **(fixed | settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(mixed: Path) -> Path:
    """A short run with two checkpoints and imputed images, made by a user whose files others may read."""
    run = mixed.parent / "left-behind"
    before = os.umask(0o022)
    run_training(_config(mixed, run, checkpoint_every=320, below_noise="imputation"))
    os.umask(before)
    return run


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---- what exists stays until the new is complete ---------------------------------------------------------------


@pytest.mark.parametrize("wrong", [["--steps", "1"], ["--n", "0"], ["--seed", "-1"]])
def test_settings_that_are_refused_leave_a_runs_samples(
    wrong: list[str], copy: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples_of(load_run(copy), copy, n=8, steps=4, seed=0)
    before = _files(copy)
    words = ["evaluate", str(copy), "--against", str(digits / "train"), "--features", "pca", *wrong]
    assert main(words) == 2
    assert wrong[0] in capsys.readouterr().err
    assert _files(copy) == before


def test_sampling_that_fails_leaves_the_samples_before(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_run(copy)
    samples_of(model, copy, n=8, steps=4, seed=0)
    before = _files(copy)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("noiseworth.runs.sampling.write_dataset", full)
    with pytest.raises(UserError, match="no space left on the disk"):
        samples_of(model, copy, n=9, steps=4, seed=0)
    # What is made already stays hidden beside, so that the same command goes on.
    assert {name: what for name, what in _files(copy).items() if ".pieces." not in name} == before
    monkeypatch.undo()
    assert len(samples_of(model, copy, n=9, steps=4, seed=0)) == 9
    assert not list(copy.glob(".*.partial"))


# ---- rests of processes that died ------------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
from noiseworth.data.writer import new_directory
with new_directory(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_rests_of_a_killed_process_go_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    out = tmp_path / "data.1"
    for name in (".data.1.abcdefgh.other", ".data.partial", "data.1.x"):
        (tmp_path / name).mkdir()  # names of other things
    writers = []
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writers.append(writer)
    rests = set(tmp_path.glob(".data.1.*.partial"))
    assert len(rests) == 2
    writers[0].kill()
    writers[0].wait()
    with new_directory(out) as folder:
        (folder / "whole").write_text("whole")
    (left,) = tmp_path.glob(".data.1.*.partial")
    assert (left / "half").is_file()
    writers[1].kill()
    writers[1].wait()
    shutil.rmtree(out)
    with new_directory(out):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".data.1.abcdefgh.other", ".data.partial", "data.1", "data.1.x",
    ]  # fmt: skip


FILE_WRITER = """
import sys, time
from pathlib import Path
from noiseworth.process import file_beside

with file_beside(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_rests_of_files_go_with_the_next_write_and_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    others = (".record.json.0123abcd.0123abcd.partial", ".record.json.partial", ".other.json.x.partial")
    for name in others:  # of another host, of other things
        (tmp_path / name).write_text("")
    writers = []
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", FILE_WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writers.append(writer)
    writers[0].kill()
    writers[0].wait()
    write_atomically(path, "whole")
    (living,) = {p.name for p in tmp_path.iterdir()} - {*others, path.name}
    assert (tmp_path / living).read_text() == "half"
    writers[1].kill()
    writers[1].wait()
    write_atomically(path, "again")
    assert {p.name for p in tmp_path.iterdir()} == {*others, path.name}
    assert path.read_text() == "again"


def test_a_kill_after_the_last_checkpoint_leaves_no_rests(copy: Path, mixed: Path) -> None:
    """No later checkpoint is written that would take them away."""
    before = _files(copy)
    rest = copy / "checkpoints" / ".step-00000004.partial"  # was being removed
    rest.mkdir()
    (rest / "state.json").write_text("{")
    (copy / "ema").mkdir()
    (copy / "ema" / ".00000640-0.05.safetensors.partial").write_text("half")
    (copy / "DONE.json").unlink()
    run_training(_config(mixed, copy, checkpoint_every=320, below_noise="imputation"))
    assert not list(copy.rglob("*.partial"))
    assert _files(copy).keys() == before.keys() | {".lock"}


def test_a_run_that_was_killed_while_it_was_made_longer_says_so_once(
    copy: Path, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = _config(mixed, copy, checkpoint_every=320, below_noise="imputation", n_images=1280)
    with monkeypatch.context() as patch:
        patch.setattr(yaml, "safe_dump", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_directory.begin(longer)
    run_directory.begin(longer)
    assert load_json(copy / "env.json")["lengthened"] == [[640, 1280]]


def test_images_of_a_trial_that_is_done_go(digits: Path, tmp_path: Path) -> None:
    """The worker was killed between the record and their removal; no worker comes any more."""
    trials = plan(digits, [TRIALS[0], TRIALS[1]])
    for trial in trials.trials:
        (trial_directory(tmp_path, trial) / "data").mkdir(parents=True)
    done, running = (trial_directory(tmp_path, trial) for trial in trials.trials)
    (done / "trial.json").write_text("{}")
    clear_done(tmp_path, trials)
    assert (not (done / "data").exists(), (running / "data").exists()) == (True, True)


def test_a_worker_that_is_stopped_within_an_import_has_not_failed(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sweep was killed, and so it stops: whatever makes other errors of errors must not make one of this."""
    trials = plan(digits, [TRIALS[0]])

    def train(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except Exception as error:  # as lazy imports do
            raise RuntimeError("failed to import") from error

    monkeypatch.setattr(trial_module, "_train", train)
    monkeypatch.setattr(worker, "_stop_with_parent", lambda parent: None)
    monkeypatch.setattr("sys.stdin", io.StringIO(plan_text(trials)))
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert worker.work(tmp_path, os.getppid()) == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [p.name for p in trial_directory(tmp_path, trials.trials[0]).iterdir()] == ["lock"]
    assert [p.name for p in (tmp_path / "trials").iterdir()] == [trials.trials[0].name]


def test_samples_that_are_complete_may_be_asked_for_again(copy: Path, tmp_path: Path) -> None:
    """A kill between the rename and the end of the process looks like a failure; the same command then succeeds, another does not."""
    made = sample_run(copy, tmp_path / "made", n=3, steps=4)
    before = _files(tmp_path / "made")
    (tmp_path / ".made.abcdefgh.partial").mkdir()  # it was killed while it removed what was there before
    assert sample_run(copy, tmp_path / "made", n=3, steps=4).record == made.record
    assert not list(tmp_path.glob(".made*"))
    assert _files(tmp_path / "made") == before
    others: list[dict[str, Any]] = [{"n": 4}, {"n": 3, "seed": 1}, {"n": 3, "steps": 5}]
    for other in others:
        with pytest.raises(UserError, match="exists already"):
            sample_run(copy, tmp_path / "made", **{"steps": 4, **other})


# ---- locks -----------------------------------------------------------------------------------------------------


def test_a_lock_that_is_a_link_or_a_file_of_somebody_is_left_alone(mixed: Path, copy: Path) -> None:
    precious = copy.parent / "thesis.tex"
    path = copy / ".lock"
    makers: dict[str, Callable[[], None]] = {
        "symbolic": lambda: path.symlink_to(precious),
        "hard": lambda: path.hardlink_to(precious),
        "directory": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
    }
    for kind, make in makers.items():
        precious.write_text("ten years of work")
        path.unlink(missing_ok=True)
        make()
        (copy / "DONE.json").unlink(missing_ok=True)
        with pytest.raises(UserError, match="where a lock should be"):
            run_training(_config(mixed, copy, checkpoint_every=320))
        assert precious.read_text() == "ten years of work", kind
        if kind == "directory":
            path.rmdir()
    path.unlink()
    assert run_training(_config(mixed, copy, checkpoint_every=320)).n_images == 640


def test_a_lock_that_is_held_is_not_emptied(tmp_path: Path) -> None:
    with lock(tmp_path / "lock") as first, lock(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
        assert (tmp_path / "lock").read_text().split()[1] == str(os.getpid())
    assert (tmp_path / "lock").read_text() == ""


# ---- reading beside writing ------------------------------------------------------------------------------------


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_no_damage(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train --keep 1` writes the next checkpoint and removes the one that is being read, three times in a row."""
    folder = copy / "checkpoints"
    shutil.rmtree(folder / "step-00000005")
    state, tensors = checkpoint.load(folder / "step-00000010")
    inner, left = sha256_of, [3]

    def replaced(file: Path) -> str:
        if left[0] and file.parent.name.startswith("step-"):
            left[0] -= 1
            monkeypatch.setattr(checkpoint, "sha256_of", inner)
            checkpoint.save(folder, replace(state, step=20 - left[0]), tensors, keep=1)
            monkeypatch.setattr(checkpoint, "sha256_of", replaced)
        return inner(file)

    monkeypatch.setattr(checkpoint, "sha256_of", replaced)
    newest = checkpoint.load_newest(folder)
    assert newest is not None
    assert (newest[0].step, newest[2]) == (20, [])


def test_samples_beside_a_training_that_keeps_one_checkpoint(mixed: Path, copy: Path) -> None:
    state, tensors = checkpoint.load(copy / "checkpoints" / "step-00000010")
    stop = threading.Event()

    def train() -> None:
        step = 10
        while not stop.is_set():
            step += 1
            checkpoint.save(copy / "checkpoints", replace(state, step=step), tensors, keep=1)

    writer = threading.Thread(target=train)
    writer.start()
    try:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            load_run(copy)
    finally:
        stop.set()
        writer.join()


# ---- sharing ---------------------------------------------------------------------------------------------------


def test_what_others_may_read_they_can_read(trained: Path) -> None:
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (trained / "checkpoints").rglob("*.safetensors")}
    assert set(modes) >= {"ema.safetensors", "model.safetensors"}
    assert set(modes.values()) == {0o644}


def test_a_run_without_imputed_images_and_optimiser_is_used_and_not_gone_on_with(
    copy: Path, mixed: Path, digits: Path
) -> None:
    for step in (copy / "checkpoints").iterdir():
        for group in ("below", "optimizer", "model"):
            (step / f"{group}.safetensors").unlink()
    assert load_run(copy).n_images == 640
    assert len(sample_run(copy, copy.parent / "made", n=3, steps=4)) == 3
    result = run_evaluation(copy, digits / "train", digits / "held-out", features="pca", n=16, steps=4)
    assert result.risk is not None
    (copy / "DONE.json").unlink()
    with pytest.raises(
        UserError, match=r"safetensors: is missing\); the run can be sampled, evaluated and started"
    ):
        run_training(_config(mixed, copy, checkpoint_every=320))


def test_a_strangers_run_does_not_make_evaluate_call_an_address(
    copy: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    inner = run_evaluation.run.__globals__["open_dataset"]

    def noted(path: object) -> object:
        opened.append(str(path))
        return inner(path)

    monkeypatch.setitem(run_evaluation.run.__globals__, "open_dataset", noted)
    text = (copy / "config.yaml").read_text().splitlines()
    text[0] = "data: http://127.0.0.1:9/data"
    (copy / "config.yaml").write_text("\n".join(text) + "\n")
    result = run_evaluation(copy, digits / "train", digits / "held-out", features="pca", n=16, steps=4)
    assert result.distances is not None
    assert result.distances.copied is None
    assert not any("127.0.0.1" in path for path in opened)


def test_a_process_that_was_killed_while_it_took_away_a_checkpoint_left_nothing_half(copy: Path) -> None:
    """A checkpoint is renamed before it is removed, and the next save removes what is left of it."""
    folder = copy / "checkpoints"
    (folder / "step-00000005").rename(folder / ".step-00000005.partial")
    (folder / ".step-00000005.partial" / "ema.safetensors").unlink()
    newest = checkpoint.load_newest(folder)
    assert newest is not None
    assert newest[2] == []
    state, tensors, _ = newest
    checkpoint.save(folder, replace(state, step=11), tensors, keep=1)
    assert [p.name for p in folder.iterdir()] == ["step-00000011"]


# ---- starting anew ---------------------------------------------------------------------------------------------


def test_starting_anew_can_be_killed_while_it_removes(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    claim(out, "demo.json", {"seed": 0}, what="a demo", fresh=False)
    (out / "zzz").write_text("a run")
    with pytest.raises(UserError, match="--fresh to start again"):
        claim(out, "demo.json", {"seed": 1}, what="a demo", fresh=False)
    code = (
        "import os, shutil, signal, sys; from pathlib import Path; from noiseworth.records.directory import claim\n"
        "shutil.rmtree = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        "claim(Path(sys.argv[1]), 'demo.json', {'seed': 1}, what='a demo', fresh=True)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    claim(out, "demo.json", {"seed": 1}, what="a demo", fresh=True)
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]
    assert [p.name for p in out.iterdir()] == ["demo.json"]
    (out / "demo.json").write_text("{")
    with pytest.raises(UserError, match="--fresh to start again"):
        claim(out, "demo.json", {"seed": 1}, what="a demo", fresh=False)


# ---- full disks ------------------------------------------------------------------------------------------------

FULL = """
import resource, sys
from noiseworth.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(main(sys.argv[2:]))
"""


def _with_little_room(size: int, *words: str) -> tuple[int, list[str]]:
    """Exit code and lines on stderr of a command whose files, and those of its workers, cannot grow beyond a size."""
    command = [sys.executable, "-c", FULL, str(size), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, [line for line in done.stderr.splitlines() if line]


@pytest.mark.parametrize("size", [20, 2_000, 100_000])  # no plan for a worker, no data, no checkpoint
def test_a_sweep_on_a_full_disk_stops_with_one_line(size: int, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    save_plan(plan(digits, [TRIALS[0], TRIALS[1]]), out)
    code, lines = _with_little_room(size, "sweep", "run", str(out), "--jobs", "1")
    assert code == 2
    assert len(lines) == 1
    assert "no space left on the disk; make room, and the same command goes on" in lines[0]
    assert not list(out.rglob("failed.txt"))
    assert not list(out.rglob("*.partial"))


def test_features_on_a_full_disk(digits: Path, tmp_path: Path) -> None:
    code, lines = _with_little_room(
        2_000, "features", "train", str(digits / "train"), str(tmp_path / "new"), "--kind", "pca"
    )
    assert (code, len(lines)) == (2, 1)
    assert "no space left on the disk" in lines[0]
    assert not list(tmp_path.iterdir())
