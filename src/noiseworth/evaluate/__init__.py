"""Measuring: features -> statistics -> distance, and denoising risk. Each step is a function of its own."""
