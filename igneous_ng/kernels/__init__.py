"""Numerics that are long or shared: numpy arrays in, numpy arrays out; no files, no paths, no state."""
