"""Thousands of texts into a folder: `bark-jax bulk`, resumable, the same bytes with any number of workers."""
