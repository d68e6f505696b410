"""Laws of quality against data: prices, fits with uncertainty. Arrays in, numbers out; no torch."""
