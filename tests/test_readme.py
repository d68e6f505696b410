"""The README's commands and its Python, run as they stand in an empty directory; its table is that of the results."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from noiseworth.studies.config import STUDIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LAWS = (ROOT / "docs" / "laws.md").read_text(encoding="utf-8")
THEORY = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
SHELL = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
# Run with other means: `make demo` on a small budget, `make test` would call itself, the install has
# happened.
SPECIAL = ("make demo", "make test", "pip install --editable .")


def _run(command: str, folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": path},
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_every_shell_command_runs(tmp_path: Path) -> None:
    commands = [line for line in SHELL if line not in SPECIAL]
    assert len(commands) >= 7
    assert set(SPECIAL) <= set(SHELL)
    for command in commands:
        _run(command, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What the noisy images were worth" in page


def test_the_python_runs(tmp_path: Path) -> None:
    assert len(PYTHON) == 1
    (tmp_path / "readme.py").write_text(PYTHON[0])
    printed = _run(f"{sys.executable} readme.py", tmp_path)
    assert printed.startswith("noisy images per clean one: [1.0, ")


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make demo` with this environment and a small budget, run twice."""
    folder = tmp_path_factory.mktemp("make")
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    stamp = folder / "env"
    (stamp / "bin").mkdir(parents=True)
    for name in ("noiseworth", "python"):
        (stamp / "bin" / name).symlink_to(Path(sys.executable).parent / name)
    (stamp / ".ready").touch()
    command = "make demo VENV=env ARGS='--n-images 1280 --n-generated 64'"
    first = _run(command, folder)
    again = _run(command, folder)
    assert "mixed" in first
    assert [line for line in again.splitlines() if "mixed" in line] == [
        line for line in first.splitlines() if "mixed" in line
    ]
    return folder / "runs" / "demo"


def test_make_demo_writes_what_it_says(small_demo: Path) -> None:
    from noiseworth.records import REGIMES, DemoSummary, load_record

    summary = load_record(DemoSummary, small_demo / "summary.json")
    assert tuple(summary.regimes) == REGIMES
    assert {k: (r.n_clean, r.n_noisy) for k, r in summary.regimes.items()} == {
        "clean": (1500, 0),
        "clean_small": (150, 0),
        "noisy": (0, 1500),
        "mixed": (150, 1350),
    }
    assert all(r.n_images == 1280 for r in summary.regimes.values())
    assert summary.features.accuracy is not None
    assert summary.features.accuracy > 0.95


def test_the_demos_report_is_one_self_contained_page(small_demo: Path) -> None:
    page = (small_demo / "report.html").read_text(encoding="utf-8")
    outside = [u for u in re.findall(r"""(?:src|href)=["']([^"'#]+)""", page) if not u.startswith("data:")]
    assert not outside
    assert page.count("<img") == 5
    assert page.count("<svg") == 4
    for name in ("clean", "clean_small", "noisy", "mixed"):
        assert f"<td>{name}</td>" in page


@pytest.mark.parametrize("command", re.findall(r"`(make [^`]+)`", README))
def test_ways_to_call_make_that_the_text_names(command: str) -> None:
    words = command.split()
    assert (
        subprocess.run(
            [*words, "--dry-run", "VENV=nowhere"], cwd=ROOT, capture_output=True, check=False
        ).returncode
        == 0
    )


def test_make_test_runs_the_tests() -> None:
    planned = subprocess.run(
        ["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "python -m pytest" in planned
    assert "mypy" in planned
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def _bench(name: str) -> Any:
    """A script of the folder bench, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "bench" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_the_results() -> None:
    assert _bench("readme_table").updated(README) == README


def test_the_prices_of_the_page_on_laws_are_those_of_its_commands() -> None:
    results = json.loads((ROOT / "results" / "laws-page.json").read_text(encoding="utf-8"))
    assert results["data"]["printed"] in LAWS
    assert all(f"\n{command}\n" in LAWS for command in results["data"]["commands"])


def test_the_theory_page_is_that_of_the_results() -> None:
    theory = _bench("theory")
    studies, checks = theory.load_studies()
    assert theory.updated(THEORY, studies, checks) == THEORY
    assert THEORY.count("**fell short**") == sum(not check.holds for check in checks)
    assert set(re.findall(r"<!-- study (\w+):", THEORY)) == {study.name for study in studies} == set(STUDIES)
    for figure in re.findall(r"!\[[^]]+\]\((figures/[^)]+)\)", THEORY):
        assert (ROOT / "docs" / figure).is_file()


def test_the_theory_pages_python_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", THEORY, re.DOTALL)
    (tmp_path / "theory.py").write_text(code)
    printed = _run(f"{sys.executable} theory.py", tmp_path)
    assert float(printed.splitlines()[0].removeprefix("error: ")) < 0.3


@pytest.mark.parametrize("command", re.findall(r"```bash\n(.*?)\n```", THEORY, re.DOTALL))
def test_the_theory_pages_commands_are_understood(command: str, tmp_path: Path) -> None:
    _run(f"{command} --dry-run", tmp_path)


def test_the_page_of_laws_can_be_followed(tmp_path: Path) -> None:
    """Its commands in their order, on a plan with less to train; a table of models that are there stands for what that would find."""
    plan, run, ask, expose, pilot, worth = (
        block.splitlines() for block in re.findall(r"```bash\n(.*?)\n```", LAWS, re.DOTALL)
    )
    for command in (*plan, *run):
        _run(
            command.replace("--total 150,400,1000 --share 1,0.3,0.1", "--total 150 --share 1,0.1").replace(
                "60000", "1280"
            ),
            tmp_path,
        )
    assert "2 done" in _run(run[-1], tmp_path)
    rows = [
        f"{c},{n},{0.5 if n else ''},{1 + 20 / (c + 0.2 * n)}"
        for c in (50, 100, 200, 400)
        for n in (0, 300, 900)
    ]
    (tmp_path / "runs" / "study" / "observations.csv").write_text(
        "\n".join(["n_clean,n_noisy,sigma,quality", *rows]) + "\n"
    )
    answers = [_run(command, tmp_path) for command in ask]
    assert "worth 0.20" in answers[0]
    assert "on average     5 (" in answers[1]
    assert {path.name for path in tmp_path.glob("*.html")} == {"fit.html", "plan.html"}
    _run(expose[0], tmp_path)
    more = [
        f"{c},{n},{s},{1 + 20 / (c + n / (1 + (s / 0.3) ** 2))}"
        for s in (0.05, 0.2, 0.8)
        for c, n in ((0, 100), (0, 1000), (60, 240), (200, 800))
    ]
    (tmp_path / "runs" / "exposures" / "observations.csv").write_text(
        "\n".join(["n_clean,n_noisy,sigma,quality", *rows, *more]) + "\n"
    )
    (tmp_path / "camera.yaml").write_text(re.findall(r"```yaml\n(.*?)\n```", LAWS, re.DOTALL)[0])
    assert "all shortest" in _run(expose[-1], tmp_path)
    assert "and go on: noiseworth pilot" in _run(pilot[0], tmp_path)
    assert len((tmp_path / "models.csv").read_text().splitlines()) == 16
    assert "cheapest to drop" in _run(worth[0], tmp_path)
