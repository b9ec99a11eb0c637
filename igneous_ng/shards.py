"""Chunks of a sharded level, by key: found through two small indices and read by ranges, written a shard at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from igneous_ng.errors import DataError
from igneous_ng.formats import sharding
from igneous_ng.formats.sharding import Keys, Span, Spec
from igneous_ng.store import Store

_RUN_BYTES = 4 << 20  # chunks that lie together are fetched together, up to here
_GAP_BYTES = 64 << 10  # what is read in vain rather than asked for apart


@dataclass(frozen=True)
class Run:
    """Chunks that lie close together in one shard: the bytes ``span`` of ``url`` hold each of ``chunks``."""

    url: str
    span: Span
    chunks: tuple[tuple[int, Span], ...]


@dataclass(frozen=True)
class Shards:
    """The shards of one level, in ``folder``."""

    folder: str
    spec: Spec
    store: Store

    def url(self, shard: int) -> str:
        """Where a shard lies."""
        return f"{self.folder}/{self.spec.name(shard)}"

    def minishards(self, keys: Keys) -> dict[tuple[int, int], list[int]]:
        """``keys`` by the shard and minishard that they belong to."""
        found: dict[tuple[int, int], list[int]] = {}
        for key, *place in zip(keys.tolist(), *(part.tolist() for part in self.spec.locate(keys)), strict=True):
            found.setdefault((place[0], place[1]), []).append(key)
        return found

    def find(self, place: tuple[int, int], keys: Iterable[int]) -> list[Run]:
        """Where the chunks of ``keys``, all of one minishard, lie; those that are absent are left out."""
        shard, minishard = place
        url = self.url(shard)
        index = self.store.recall(url, (0, self.spec.index_bytes))
        if index is None:
            return []
        span = sharding.minishard_span(self.spec, index, minishard, url)
        if span is None:
            return []
        table = self._part(url, span, self.store.recall)
        spans = sharding.chunk_spans(self.spec, shard, minishard, table, url)
        return list(_runs(url, sorted((spans[key], key) for key in keys if key in spans)))

    def spans(self, shard: int) -> Iterator[tuple[int, Span]]:
        """Where every chunk of a shard lies, by key, minishard after minishard; none where there is no such shard."""
        url = self.url(shard)
        index = self.store.recall(url, (0, self.spec.index_bytes))
        for minishard in range(1 << self.spec.minishard_bits if index is not None else 0):
            span = sharding.minishard_span(self.spec, index or b"", minishard, url)
            if span is not None:
                table = self._part(url, span, self.store.recall)
                yield from sharding.chunk_spans(self.spec, shard, minishard, table, url).items()

    def fetch(self, run: Run) -> Iterator[tuple[int, bytes]]:
        """The chunks of ``run`` with their keys, as they were before they were packed."""
        data = self._part(run.url, run.span, self.store.get)
        for key, (start, stop) in run.chunks:
            part = data[start - run.span[0] : stop - run.span[0]]
            yield key, sharding.unpacked(part, self.spec.data_encoding, f"{run.url}, chunk {key}")

    def _part(self, url: str, span: Span, read: Callable[[str, Span], bytes | None]) -> bytes:
        try:
            data = read(url, span)
        except (MemoryError, OverflowError):
            data = b""
        if data is None or len(data) != span[1] - span[0]:
            raise DataError(
                f"{url}: it ends before the bytes {span[0]} to {span[1]} that its index names; write this shard again"
            )
        return data


def _runs(url: str, found: list[tuple[Span, int]]) -> Iterator[Run]:
    """``found`` put together to runs; it is sorted by place."""
    together: list[tuple[int, Span]] = []
    start = stop = 0
    for span, key in found:
        if together and (span[0] - stop > _GAP_BYTES or span[1] - start > _RUN_BYTES):
            yield Run(url, (start, stop), tuple(together))
            together = []
        start = start if together else span[0]
        stop = max(stop, span[1]) if together else span[1]
        together.append((key, span))
    if together:
        yield Run(url, (start, stop), tuple(together))
