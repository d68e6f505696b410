"""The rooms: what is where, what may import what (`lint-imports`, see pyproject.toml), and how long files are."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import noiseworth

ROOT = Path(__file__).parent.parent
PACKAGE = Path(noiseworth.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# Names that say nothing of what lives there; a newcomer had to open the file.
GONE = {
    "told",
    "same",
    "gather",
    "feed",
    "below",
    "words",
    "leak",
    "tensors",
    "watch",
    "loop",
    "run",
    "experiments",
}
# Where "run" is the verb, and the file does it.
RUNS_IT = {"studies/run.py", "sweep/run.py"}


def test_no_file_has_a_name_that_says_nothing() -> None:
    """Claim house/layout."""
    names = {str(path.relative_to(PACKAGE)): path.stem for path in FILES}
    assert not {path for path, name in names.items() if name in GONE} - RUNS_IT
    assert not {path.name for path in PACKAGE.iterdir() if path.is_dir()} & GONE


def _lint_imports(*arguments: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_follow_the_layers() -> None:
    """Claim house/layout: arrows go one way, and every module is in a layer."""
    done = _lint_imports()
    assert done.returncode == 0, done.stdout


def test_the_layers_would_notice_an_arrow_that_runs_back_up(tmp_path: Path) -> None:
    """The same contracts, on a package whose records import its command line, and whose theory imports diffusion."""
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(settings[settings.index("[tool.importlinter]") :])
    package = tmp_path / "noiseworth"
    for path in FILES:
        copy = package / path.relative_to(PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"))
    with (package / "records" / "files.py").open("a") as file:
        file.write("\nimport noiseworth.cli.parser\n")
    with (package / "theory" / "bounds.py").open("a") as file:
        file.write("\nimport noiseworth.diffusion.worth\nimport torch\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[0] = 'lint-imports';"
    code += " from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "noiseworth.records.files -> noiseworth.cli.parser" in done.stdout
    assert "noiseworth.theory.bounds -> noiseworth.diffusion.worth" in done.stdout


def test_every_import_is_written_in_full() -> None:
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, (
                f"{file}: write from noiseworth..."
            )


def test_files_are_short() -> None:
    lengths = {str(f.relative_to(PACKAGE)): len(f.read_text(encoding="utf-8").splitlines()) for f in FILES}
    assert not {name: length for name, length in lengths.items() if length > 300}


def test_nothing_in_the_package_knows_of_issues_or_claims() -> None:
    """Which number is held to what is the benches' business."""
    for file in FILES:
        assert not re.search(r"\bissue \d|claim house/|Checklist", file.read_text(encoding="utf-8")), file


def test_the_picture_of_the_rooms_is_that_of_the_code() -> None:
    """docs/figures/rooms.svg is made by bench/rooms.py; its last line lists the arrows that it shows."""
    rooms = pytest.importorskip("rooms")
    picture = (ROOT / "docs" / "figures" / "rooms.svg").read_text(encoding="utf-8")
    assert rooms.arrows_of(picture) == rooms.arrows()


def test_the_table_of_layers_in_the_docs_is_that_of_the_settings() -> None:
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]["layers"]
    names = {name.strip(" ()") for layer in layers for name in re.split(r"[|:]", layer)}
    assert names == {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()} - {
        "__init__",
        "__pycache__",
        "py",
    }
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert not {
        name
        for name in names
        if f"`{name}`" not in page and f"`{name}/`" not in page and f"`{name}.py`" not in page
    }
