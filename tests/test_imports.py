"""Imports go one way: the table of CONTRIBUTING (DESIGN section 2). A module may also import what those that it may import may."""

import ast
from pathlib import Path

import noiseworth

ROOT = Path(noiseworth.__file__).parent
TABLE: dict[str, set[str]] = {
    "errors": set(),
    "tensors": {"errors"},
    "records": {"errors"},
    "data": {"tensors", "records"},
    "noise": {"tensors", "records"},
    "networks": {"tensors"},
    "diffusion": {"tensors"},
    "train": {"data", "diffusion", "networks", "records"},
    "evaluate": {"data", "diffusion", "records"},
    "laws": {"records"},
    "theory": {"tensors"},
    "experiments": {"tensors", "records", "data", "noise", "networks", "diffusion", "train", "evaluate", "laws", "theory"},
    "report": {"records", "laws"},
    "cli": {"experiments", "report", "data", "noise"},
}
NO_TORCH = ("errors", "records", "report", "laws")


def _closure(name: str) -> set[str]:
    direct = TABLE[name]
    return direct.union(*(_closure(other) for other in direct)) if direct else set()


def _imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full, from noiseworth..."
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _files() -> list[tuple[str, Path]]:
    files = [(file.relative_to(ROOT).parts[0].removesuffix(".py"), file) for file in sorted(ROOT.rglob("*.py"))]
    return [(home, file) for home, file in files if file != ROOT / "__init__.py"]


def test_imports_follow_the_table() -> None:
    wrong = []
    for home, file in _files():
        allowed = _closure(home) | {home}
        for name in _imports(file):
            parts = name.split(".")
            if parts[0] == "noiseworth" and len(parts) > 1 and parts[1] in TABLE and parts[1] not in allowed:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_every_module_is_in_the_table() -> None:
    assert {home for home, _ in _files()} <= TABLE.keys()


def test_records_and_reports_do_without_torch() -> None:
    for home, file in _files():
        if home in NO_TORCH:
            assert not {name.split(".")[0] for name in _imports(file)} & {"torch", "diffusers", "accelerate"}, file


def test_ray_is_for_experiments_alone() -> None:
    for home, file in _files():
        if home != "experiments":
            assert "ray" not in {name.split(".")[0] for name in _imports(file)}, file


def test_files_are_short() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for _, file in _files()}
    assert not {name: length for name, length in lengths.items() if length > 300}
