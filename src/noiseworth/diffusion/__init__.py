"""Diffusion in variance-exploding form: preconditioning, levels, worth, pairs, objective, sampler."""
