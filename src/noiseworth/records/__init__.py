"""What is written to disk and read back: frozen dataclasses <-> JSON. No torch here, so that readers stay light."""

from noiseworth.records.datasets import DATASET_FORMAT, DatasetRecord, Inspection, PartRecord, SigmaGroup, Use
from noiseworth.records.files import from_json, load_lines, load_record, sha256_of, to_json, to_line, write_atomically
from noiseworth.records.laws import BudgetRecord, LawRecord, NextRecord, PriceRecord, PurchaseRecord, QuoteRecord, SuggestedRun
from noiseworth.records.results import RESULTS_FORMAT, Check, Results, machine, now, versions
from noiseworth.records.runs import (
    REGIMES,
    DemoSummary,
    DoneRecord,
    Evaluation,
    FeatureRecord,
    RegimeSummary,
    RiskCurve,
    StepRecord,
    WorthRecord,
)
from noiseworth.records.studies import Number, Panel, Series, TheoryStudy
from noiseworth.records.sweeps import SWEEP_FORMAT, NoisyPart, SweepPlan, SweepStatus, Trial, TrialRecord, TrialState

__all__ = [
    "DATASET_FORMAT",
    "REGIMES",
    "RESULTS_FORMAT",
    "SWEEP_FORMAT",
    "BudgetRecord",
    "Check",
    "DatasetRecord",
    "DemoSummary",
    "DoneRecord",
    "Evaluation",
    "FeatureRecord",
    "Inspection",
    "LawRecord",
    "NextRecord",
    "NoisyPart",
    "Number",
    "Panel",
    "PartRecord",
    "PriceRecord",
    "PurchaseRecord",
    "QuoteRecord",
    "RegimeSummary",
    "Results",
    "RiskCurve",
    "Series",
    "SigmaGroup",
    "StepRecord",
    "SuggestedRun",
    "SweepPlan",
    "SweepStatus",
    "TheoryStudy",
    "Trial",
    "TrialRecord",
    "TrialState",
    "Use",
    "WorthRecord",
    "from_json",
    "load_lines",
    "load_record",
    "machine",
    "now",
    "sha256_of",
    "to_json",
    "to_line",
    "versions",
    "write_atomically",
]
