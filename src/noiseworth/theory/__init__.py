"""Gaussian mixtures under noise: closed forms that everything else is held against. Never imports `diffusion`."""
