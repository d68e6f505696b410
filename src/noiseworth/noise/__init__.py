"""Noise: models of it as objects, its measurement, and its checks. Arrays in, arrays out; files are the business of `data/`."""
