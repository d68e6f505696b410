"""Gaussian mixtures under noise: closed forms, the reference in the tests of the other packages.

It never imports `diffusion`, so that the reference is independent of the code that it tests.
"""
