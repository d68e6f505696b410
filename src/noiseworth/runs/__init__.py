"""Whole jobs: sampling and evaluating a run, the demo. Core modules never import from here."""
