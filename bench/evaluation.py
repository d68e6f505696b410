"""Can the evaluation be trusted? `python bench/evaluation.py --fashion DIR`.

Line 1 runs the tests of closed forms and repeats the bootstrap 200 times; line 2 compares Frechet and kernel distance, precision and
recall with those of torch-fidelity on the same features, and times both, each in a process of its own (`pip install --no-deps
torch-fidelity`; torchvision, which these functions do not use, may be missing); line 3 makes digits and Fashion-MNIST worse by known
steps. Writes `results/evaluation.json` and the table of `docs/evaluation.md`. About 30 minutes on two cores.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch

import faults
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.fidelity import INCEPTION, FidelityFeatures, as_bytes, inception_score
from noiseworth.evaluate.frechet import Moments, frechet_distance, frechet_estimate, moments
from noiseworth.evaluate.kernel import kernel_distance
from noiseworth.evaluate.neighbours import neighbour_scores
from noiseworth.records import Check, Results, machine, now, sha256_of, to_json, versions, write_atomically

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "evaluation.json"
ISSUE, COMMAND = 6, "python bench/evaluation.py"
PAIRS = ("frechet", "kernel", "neighbours")


def features(n: int, d: int, seed: int) -> np.ndarray:
    """Skew features like those of a network, of the same law but for a shift by the seed."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).standard_normal((d, d)).astype(np.float32) / d**0.5
    x = np.maximum(rng.standard_normal((n, d), dtype=np.float32) @ mixing + 0.1 * seed, 0)
    return np.asarray(x, dtype=np.float32)


def fidelity() -> Any:
    """torch-fidelity, with an empty torchvision where there is none: what is called here does not use it."""
    try:
        import torchvision  # noqa: F401
    except ImportError:

        class Anything(types.ModuleType):
            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)
                return type(name, (), {})

        for name in ("", ".datasets", ".transforms", ".transforms.functional", ".models", ".ops"):
            module = sys.modules[f"torchvision{name}"] = Anything(f"torchvision{name}")
            if name:
                parent, _, child = f"torchvision{name}".rpartition(".")
                setattr(sys.modules[parent], child, module)
    import torch_fidelity

    return torch_fidelity


def theirs(what: str, x: np.ndarray, y: np.ndarray) -> list[float]:
    fidelity()
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    if what == "frechet":
        values = fid_statistics_to_metric(fid_features_to_statistics(a.double()), fid_features_to_statistics(b.double()), verbose=False)
        return [float(values["frechet_inception_distance"])]
    if what == "kernel":
        size = min(len(x), 1000) if len(x) > 10_000 else len(x)
        values = kid_features_to_metric(
            a.double(), b.double(), kid_subsets=100 if size < len(x) else 1, kid_subset_size=size, verbose=False
        )
        return [float(values["kernel_inception_distance_mean"])]
    values = prc_features_to_metric(a, b, prc_neighborhood=3, save_cpu_ram=True, verbose=False)
    return [float(values["precision"]), float(values["recall"])]


def ours(what: str, x: np.ndarray, y: np.ndarray) -> list[float]:
    if what == "frechet":
        return [frechet_distance(moments(x), moments(y))]
    if what == "kernel":
        # As many pairs as 100 subsets of 1,000: 50 disjoint ones of 1,000 use every image once.
        return [kernel_distance(x, y, subset_size=1000 if len(x) > 10_000 else len(x)).distance]
    found = neighbour_scores(x, y, 3)
    return [found.precision, found.recall]


def one(what: str, who: str, n: int, d: int) -> None:
    """One measurement in this process: values, seconds and peak memory, as JSON."""
    x, y = features(n, d, 1), features(n, d, 2)
    if who == "theirs":
        fidelity()
    elif who == "all":
        x, y = x.astype(np.float64), y.astype(np.float64)
    began = time.perf_counter()
    values = [distances(x, y).frechet] if who == "all" else (ours if who == "ours" else theirs)(what, x, y)
    seconds = time.perf_counter() - began
    print(json.dumps({"values": values, "seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def in_process(what: str, who: str, n: int, d: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", what, who, str(n), str(d)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(found.stdout.splitlines()[-1]))


def coverage(repeats: int = 200) -> dict[str, float]:
    """How often nominal 95% intervals hold the truth: normals of known distance."""
    d, shift, scale = 8, 0.5, 1.2
    frechet, reference = d * (shift**2 + (scale - 1) ** 2), Moments(np.zeros(d), np.eye(d), 10**9)
    rng = np.random.default_rng(10**6)
    kernel = kernel_distance(rng.normal(size=(40_000, d)), scale * rng.normal(size=(40_000, d)) + shift).distance
    hits = {"frechet": 0, "kernel": 0}
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(400, d)), scale * rng.normal(size=(400, d)) + shift
        f, k = frechet_estimate(y, reference), kernel_distance(x, y)
        hits["frechet"] += f.low <= frechet <= f.high
        hits["kernel"] += k.low <= kernel <= k.high
    return {name: count / repeats for name, count in hits.items()}


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, who, n, d = arguments.one
        one(what, who, int(n), int(d))
        return
    made: list[Check] = []

    def check(
        line: int, what: str, value: float, unit: str, bound: float, direction: Literal["max", "min"], command: str = COMMAND
    ) -> None:
        made.append(Check(ISSUE, line, what, round(value, 9), unit, bound, direction, command))
        print(f"line {line}: {what}: {value:.6g} ({direction} {bound:g}) {'' if made[-1].holds else 'FELL SHORT'}", flush=True)

    command = "pytest tests/test_evaluate.py tests/test_features.py tests/test_fidelity.py"
    tests = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, check=False)
    for line, what in ((1, "closed forms of distances, risk and likelihood"), (4, "bad input ends in one clear line")):
        check(line, what, float(tests.returncode == 0), "yes", 1, "min", command)
    for name, value in coverage().items():
        check(1, f"coverage of the nominal 95% interval of the {name} distance, 200 repeats: at least", value, "share", 0.90, "min")
        check(1, f"the same, {name}: at most", value, "share", 0.98, "max")
    timings = compare(check, arguments.n, arguments.d)
    inception(check)
    table = faults.measure(arguments.fashion)
    for data, by_fault in table.items():
        for fault, by_metric in by_fault.items():
            for metric in ("frechet", "kernel", "sliced"):
                grows = float(faults.sees(metric, by_metric[metric]))
                check(3, f"{data}, {fault}: the {metric} distance grows with every step", grows, "yes", 1, "min")
    results = Results("issue 6: evaluation", COMMAND, now(), machine(), versions(), 0, made, {"timings": timings, "faults": table})
    write_atomically(RESULTS, to_json(results) + "\n")
    faults.write_page(table)


def compare(check: Callable[..., None], n: int, d: int) -> dict[str, Any]:
    """Line 2: values on 5,000 images, times and memory on `n`."""
    timings: dict[str, Any] = {}
    for what in PAIRS:
        a, b = (in_process(what, who, 5000, 256) for who in ("ours", "theirs"))
        for name, u, v in zip(["precision", "recall"] if what == "neighbours" else [what], a["values"], b["values"], strict=True):
            check(2, f"{name}, relative difference from torch-fidelity, 5,000 x 256 features", abs(u / v - 1), "ratio", 1e-6, "max")
        timings[what] = {who: in_process(what, who, n, d) for who in ("ours", "theirs")}
        ratio = timings[what]["ours"]["seconds"] / timings[what]["theirs"]["seconds"]
        check(
            2,
            f"{what}: time over that of torch-fidelity, {n:,} x {d:,} features ({timings[what]['ours']['seconds']:.0f} s)",
            ratio,
            "ratio",
            1.0,
            "max",
        )
        check(2, f"{what}: peak memory, {n:,} x {d:,} features, both kinds included", timings[what]["ours"]["mib"], "MiB", 4096, "max")
    timings["everything"] = in_process("everything", "all", n, d)
    check(
        2,
        f"every distance with its interval: peak memory, {n:,} x {d:,} features, both kinds included",
        timings["everything"]["mib"],
        "MiB",
        4096,
        "max",
    )
    return timings


def inception(check: Callable[..., None]) -> None:
    """Line 2, from images on: our Inception features and score against torch-fidelity's own network, with weights drawn at random."""
    fidelity()
    from torch_fidelity import feature_extractor_inceptionv3 as module
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.utils import create_feature_extractor

    images = np.random.default_rng(0).uniform(-1, 1, (100, 3, 32, 32)).astype(np.float32)
    torch.manual_seed(0)
    with (
        mock.patch.object(module, "load_state_dict_from_url", return_value={}),  # no weights: those drawn at random stay
        mock.patch.object(module.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        drawn = create_feature_extractor(INCEPTION, ["2048", "logits_unbiased"], cuda=False, verbose=False)
    with torch.no_grad():
        expected = drawn(torch.from_numpy(as_bytes(images)))[0].numpy()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        torch.save(drawn.state_dict(), weights)
        found = FidelityFeatures(INCEPTION, weights, sha256=sha256_of(weights))(images)
    apart = float(np.abs(found - expected).max() / np.abs(expected).max())
    what = "Inception's features (weights drawn at random), relative difference from torch-fidelity"
    check(2, what, apart, "ratio", 1e-6, "max")
    logits = np.random.default_rng(1).standard_normal((5000, 1008)) * 2
    score = isc_features_to_metric(torch.from_numpy(logits), splits=1)["inception_score_mean"]
    apart = abs(inception_score(logits, 1)[0] / score - 1)
    check(2, f"Inception score, relative difference from torch-fidelity ({score:.3g})", apart, "ratio", 1e-6, "max")


if __name__ == "__main__":
    main()
