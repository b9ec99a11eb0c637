"""Bytes to arrays and records, and back: pure functions of their arguments, no I/O."""
