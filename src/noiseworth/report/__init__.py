"""HTML and figures from records; no torch."""
