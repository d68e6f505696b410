"""Scaling laws of quality against numbers of images: fits, prices, plans. The package imports no torch."""
