"""A wheel in an environment of its own, without extras: `python bench/plain.py`. Two minutes.

Every kind of file is packed there. What needs an extra must end in one line that names it, and everything
else must work. Writes into `results/data.json`.
"""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import Checklist
from fuzz_inputs import PACK, make
from processes import ROOT

NEEDS = {
    "x.tif": "pip install 'noiseworth[formats]'",
    "x.ome.tif": "pip install 'noiseworth[formats]'",
    "x.h5": "pip install 'noiseworth[formats]'",
    "x.fits": "pip install 'noiseworth[formats]'",
    "x.mrc": "pip install 'noiseworth[formats]'",
    "x.nii": "pip install 'noiseworth[formats]'",
    "x.nii.gz": "pip install 'noiseworth[formats]'",
    "x.dcm": "pip install 'noiseworth[formats]'",
    "x.parquet": "pip install 'noiseworth[hub]'",
}
# A line for each file: its name, the exit code, and what was said, with tabs between.
PACK_EACH = """
import contextlib, io, pathlib, sys
from noiseworth.cli import main
for file in sys.argv[1:]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(["pack", file, file + "-out", "--sigma", "0", "--measured-range"])
    print(pathlib.Path(file).name, code, " ".join(said.getvalue().split()), sep="\\t")
"""


def write_files(folder: Path) -> list[Path]:
    """A file of every kind, in `folder/files`."""
    (folder / "work").mkdir()
    with contextlib.chdir(folder / "work"):
        samples = [sample for sample in make(Path.cwd()) if sample.commands == PACK]
    files = [folder / "files" / sample.file for sample in samples]
    (folder / "files").mkdir()
    for file, sample in zip(files, samples, strict=True):
        file.write_bytes(sample.content)
    return files


def wrong(printed: str) -> list[str]:
    """The lines of `PACK_EACH` that are not as a plain install should answer."""
    lines = []
    for line in printed.splitlines():
        name, code, message = line.split("\t")
        needs = NEEDS.get(name)
        if code != ("2" if needs else "0") or (needs or "") not in message:
            lines.append(line)
    return lines if printed else ["nothing was printed"]


def main() -> None:
    """See above."""
    checklist = Checklist("python bench/plain.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(folder)
        python = str(folder / "plain" / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            str(folder),
            str(ROOT),
        ]
        for command in (
            [sys.executable, "-m", "venv", str(folder / "plain")],
            build,
            [*pip, "torch==2.13.0"],
        ):
            subprocess.run(command, check=True)
        subprocess.run([*pip, str(next(folder.glob("*.whl")))], check=True)
        done = subprocess.run(
            [python, "-c", PACK_EACH, *map(str, files)],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        faults = wrong(done.stdout)
    print("\n".join(faults) or "every format works, or is named with its extra")
    checklist.add(
        "data/plain", "kinds of files that a wheel without extras was given", len(files), 20, "min", "kinds"
    )
    checklist.add(
        "data/plain",
        "neither packed nor refused with the extra that is needed",
        len(faults),
        0,
        "max",
        "kinds",
    )
    checklist.update("data.json", {"faults": faults})


if __name__ == "__main__":
    main()
