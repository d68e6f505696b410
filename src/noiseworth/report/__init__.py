"""HTML pages, text tables and figures from records. The package imports no torch."""
