"""Deflate without matches: for what has grain and no repeats."""

def deflate(data: bytes | memoryview) -> bytes:
    """The bytes as a raw deflate stream (RFC 1951) of literals alone; the same on every machine."""
