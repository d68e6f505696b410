"""Can the evaluation be trusted? `python bench/evaluation.py --fashion DIR`.

- Closed forms, coverage and bad input: the tests, and the bootstrap repeated 200 times.
- Against torch-fidelity: Frechet and kernel distance, precision and recall on the same features; both are
  timed, each in a process of its own. Needs `pip install --no-deps torch-fidelity`; torchvision may be
  missing, as these functions do not use it.
- Sees faults: digits and Fashion-MNIST are made worse by known steps.

Writes `results/evaluation.json` and the table of `docs/evaluation.md`; `--page` rewrites the table from the
results that are there. About 30 minutes on two cores.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

import faults
from checks import RESULTS, Checklist, Results
from noiseworth.evaluate.distances import distances
from noiseworth.evaluate.fidelity import INCEPTION, FidelityFeatures, as_bytes, inception_score
from noiseworth.evaluate.frechet import Moments, frechet_distance, frechet_estimate, moments
from noiseworth.evaluate.kernel import kernel_distance
from noiseworth.evaluate.neighbours import neighbour_scores
from noiseworth.records import load_record, sha256_of
from processes import tests_pass

FILE = "evaluation.json"
CLOSED_FORMS = "evaluation/closed-forms-and-coverage"
AGAINST_TORCH_FIDELITY = "evaluation/against-torch-fidelity"
# What is compared with torch-fidelity -> the values that it gives.
COMPARED = {"frechet": ["frechet"], "kernel": ["kernel"], "neighbours": ["precision", "recall"]}

Array = NDArray[np.floating]


def made_up_features(n: int, d: int, seed: int) -> NDArray[np.float32]:
    """Skew features (N, D) like those of a network, of the same distribution but for a shift by the seed."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).standard_normal((d, d)).astype(np.float32) / d**0.5
    x = np.maximum(rng.standard_normal((n, d), dtype=np.float32) @ mixing + 0.1 * seed, 0)
    return np.asarray(x, dtype=np.float32)


def import_torch_fidelity() -> None:
    """Make torch-fidelity ready, with an empty torchvision where there is none: nothing of it is used."""
    try:
        import torchvision  # noqa: F401
    except ImportError:

        class Anything(types.ModuleType):
            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)
                return type(name, (), {})

        for name in ("", ".datasets", ".transforms", ".transforms.functional", ".models", ".ops"):
            module = Anything(f"torchvision{name}")
            sys.modules[module.__name__] = module
            if name:
                parent, _, child = module.__name__.rpartition(".")
                setattr(sys.modules[parent], child, module)
    import torch_fidelity  # noqa: F401


def theirs(what: str, x: Array, y: Array) -> list[float]:
    """The values of torch-fidelity."""
    import_torch_fidelity()
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    if what == "frechet":
        statistics = [fid_features_to_statistics(features.double()) for features in (a, b)]
        values = fid_statistics_to_metric(*statistics, verbose=False)
        return [float(values["frechet_inception_distance"])]
    if what == "kernel":
        size = min(len(x), 1000) if len(x) > 10_000 else len(x)
        subsets = 100 if size < len(x) else 1
        values = kid_features_to_metric(
            a.double(), b.double(), kid_subsets=subsets, kid_subset_size=size, verbose=False
        )
        return [float(values["kernel_inception_distance_mean"])]
    values = prc_features_to_metric(a, b, prc_neighborhood=3, save_cpu_ram=True, verbose=False)
    return [float(values["precision"]), float(values["recall"])]


def ours(what: str, x: Array, y: Array) -> list[float]:
    """Our values; `everything` is the Frechet distance, with all other distances measured beside it."""
    if what == "everything":
        return [distances(x, y).frechet]
    if what == "frechet":
        return [frechet_distance(moments(x), moments(y))]
    if what == "kernel":
        # As many pairs as 100 subsets of 1,000: 50 disjoint ones of 1,000 use every image once.
        return [kernel_distance(x, y, subset_size=1000 if len(x) > 10_000 else len(x)).distance]
    scores = neighbour_scores(x, y, 3)
    return [scores.precision, scores.recall]


def measure_one(what: str, who: str, n: int, d: int) -> None:
    """One measurement in this process: print values, seconds and peak memory, as JSON."""
    x: Array = made_up_features(n, d, 1)
    y: Array = made_up_features(n, d, 2)
    if what == "everything":
        x, y = x.astype(np.float64), y.astype(np.float64)
    if who == "theirs":
        import_torch_fidelity()
    measure = ours if who == "ours" else theirs
    began = time.perf_counter()
    values = measure(what, x, y)
    seconds = time.perf_counter() - began
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"values": values, "seconds": seconds, "mib": mib}))


def in_process(what: str, who: str, n: int, d: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--one", what, who, str(n), str(d)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_coverage(repeats: int = 200) -> dict[str, float]:
    """How often nominal 95% intervals hold the truth: normals of known distance."""
    d, shift, scale = 8, 0.5, 1.2
    frechet = d * (shift**2 + (scale - 1) ** 2)
    reference = Moments(np.zeros(d), np.eye(d), 10**9)
    rng = np.random.default_rng(10**6)
    x, y = rng.normal(size=(40_000, d)), scale * rng.normal(size=(40_000, d)) + shift
    kernel = kernel_distance(x, y).distance
    hits = {"frechet": 0, "kernel": 0}
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(400, d)), scale * rng.normal(size=(400, d)) + shift
        by_frechet = frechet_estimate(y, reference)
        by_kernel = kernel_distance(x, y)
        hits["frechet"] += by_frechet.low <= frechet <= by_frechet.high
        hits["kernel"] += by_kernel.low <= kernel <= by_kernel.high
    return {name: count / repeats for name, count in hits.items()}


def check_tests_and_coverage(checklist: Checklist) -> None:
    """Closed forms and bad input, by the tests; intervals, by repeats."""
    tests = "tests/test_evaluate.py tests/test_features.py tests/test_fidelity.py"
    passed = tests_pass(tests)
    what = "closed forms of distances, risk and likelihood"
    checklist.yes(CLOSED_FORMS, what, passed, f"pytest {tests}")
    checklist.yes("evaluation/bad-input", "bad input ends in one clear line", passed, f"pytest {tests}")
    for name, share in measure_coverage().items():
        what = f"coverage of the nominal 95% interval of the {name} distance, 200 repeats: at least"
        checklist.add(CLOSED_FORMS, what, share, 0.90, "min", "share")
        checklist.add(CLOSED_FORMS, f"the same, {name}: at most", share, 0.98, "max", "share")


def check_against_torch_fidelity(checklist: Checklist, n: int, d: int) -> dict[str, Any]:
    """Values on 5,000 images, times and memory on `n`; returns what was measured of the second."""
    claim = AGAINST_TORCH_FIDELITY
    size = f"{n:,} x {d:,} features"
    timings: dict[str, Any] = {}
    for what, names in COMPARED.items():
        our_values, their_values = (in_process(what, who, 5000, 256)["values"] for who in ("ours", "theirs"))
        for name, our_value, their_value in zip(names, our_values, their_values, strict=True):
            compared = f"{name}, relative difference from torch-fidelity, 5,000 x 256 features"
            checklist.add(claim, compared, abs(our_value / their_value - 1), 1e-6, "max", "ratio")
        timings[what] = {who: in_process(what, who, n, d) for who in ("ours", "theirs")}
        our_seconds = timings[what]["ours"]["seconds"]
        ratio = our_seconds / timings[what]["theirs"]["seconds"]
        compared = f"{what}: time over that of torch-fidelity, {size} ({our_seconds:.0f} s)"
        checklist.add(claim, compared, ratio, 1.0, "max", "ratio")
        compared = f"{what}: peak memory, {size}, both kinds included"
        checklist.add(claim, compared, timings[what]["ours"]["mib"], 4096, "max", "MiB")
    timings["everything"] = in_process("everything", "ours", n, d)
    compared = f"every distance with its interval: peak memory, {size}, both kinds included"
    checklist.add(claim, compared, timings["everything"]["mib"], 4096, "max", "MiB")
    return timings


def random_inception() -> Any:
    """Inception-v3 of torch-fidelity, with weights drawn at random: no file is loaded."""
    import_torch_fidelity()
    from torch_fidelity import feature_extractor_inceptionv3 as module
    from torch_fidelity.utils import create_feature_extractor

    torch.manual_seed(0)
    with (
        mock.patch.object(module, "load_state_dict_from_url", return_value={}),
        mock.patch.object(module.FeatureExtractorInceptionV3, "load_state_dict"),
    ):
        return create_feature_extractor(INCEPTION, ["2048", "logits_unbiased"], cuda=False, verbose=False)


def check_inception(checklist: Checklist) -> None:
    """From images on: our Inception features and score against those of torch-fidelity's own network."""
    images = np.random.default_rng(0).uniform(-1, 1, (100, 3, 32, 32)).astype(np.float32)
    network = random_inception()
    from torch_fidelity.metric_isc import isc_features_to_metric

    with torch.no_grad():
        expected = network(torch.from_numpy(as_bytes(images)))[0].numpy()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.pth"
        torch.save(network.state_dict(), weights)
        our_features = FidelityFeatures(INCEPTION, weights, sha256=sha256_of(weights))(images)
    difference = float(np.abs(our_features - expected).max() / np.abs(expected).max())
    what = "Inception's features (weights drawn at random), relative difference from torch-fidelity"
    checklist.add(AGAINST_TORCH_FIDELITY, what, difference, 1e-6, "max", "ratio")
    logits = np.random.default_rng(1).standard_normal((5000, 1008)) * 2
    score = isc_features_to_metric(torch.from_numpy(logits), splits=1)["inception_score_mean"]
    difference = abs(inception_score(logits, 1)[0] / score - 1)
    what = f"Inception score, relative difference from torch-fidelity ({score:.3g})"
    checklist.add(AGAINST_TORCH_FIDELITY, what, difference, 1e-6, "max", "ratio")


def check_faults(checklist: Checklist, fashion: Path) -> dict[str, Any]:
    """Distances grow with every fault; returns every metric at every step."""
    table = faults.measure(fashion)
    for data, by_fault in table.items():
        for fault, by_metric in by_fault.items():
            for metric in ("frechet", "kernel", "sliced"):
                what = f"{data}, {fault}: the {metric} distance grows with every step"
                checklist.yes("evaluation/sees-faults", what, faults.sees(metric, by_metric[metric]))
    return table


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--n", type=int, default=50_000, help="images of either kind that are timed")
    parser.add_argument("--d", type=int, default=2048, help="features that are timed")
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, who, n, d = arguments.one
        measure_one(what, who, int(n), int(d))
        return
    if arguments.page:
        faults.write_page(load_record(Results, RESULTS / FILE).data["faults"])
        return
    checklist = Checklist("python bench/evaluation.py")
    check_tests_and_coverage(checklist)
    timings = check_against_torch_fidelity(checklist, arguments.n, arguments.d)
    check_inception(checklist)
    table = check_faults(checklist, arguments.fashion)
    checklist.write(FILE, "evaluation", 0, {"timings": timings, "faults": table})
    faults.write_page(table)


if __name__ == "__main__":
    main()
