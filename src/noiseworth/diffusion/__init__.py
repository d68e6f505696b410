"""Diffusion in variance-exploding form: preconditioning, levels, worth, objective, sampler (DESIGN section 1)."""
