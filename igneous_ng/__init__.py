"""Electron microscopy of brain tissue, from raw tiles to a queryable connectome, chunk by chunk, anywhere."""

__version__ = "0.1.0"
