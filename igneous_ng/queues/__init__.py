"""Where tasks wait for workers. One protocol; a POSIX directory, Amazon SQS, or this process's memory."""

from __future__ import annotations

from igneous_ng.errors import SpecError
from igneous_ng.queues.protocol import Counts, Lease, Letter, MissingQueue, Priority, Queue

__all__ = ["Counts", "Lease", "Letter", "MissingQueue", "Priority", "Queue", "connect"]

_FORMS = "fq://DIRECTORY, sqs://NAME, sqs://REGION/NAME or memory://NAME"


def connect(url: str) -> Queue:
    """The queue at ``url``; nothing is made or changed, on disk or in a cloud, before the first ``put``.

    ``fq:///abs/dir`` and ``fq://relative/dir`` are directories on any POSIX file system, NFS and Lustre
    included; ``sqs://NAME`` and ``sqs://REGION/NAME`` are Amazon SQS, or an emulator at ``AWS_ENDPOINT_URL``;
    ``memory://NAME`` is shared by the threads of this process. SpecError: anything else.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or not rest:
        raise SpecError(f"{url!r} is not a queue; write {_FORMS}")
    if scheme == "fq":
        from igneous_ng.queues.posix import PosixQueue

        return PosixQueue(rest)
    if scheme == "sqs":
        from igneous_ng.queues.sqs import SqsQueue

        region, _, name = rest.rpartition("/")
        return SqsQueue(name, region or None)
    if scheme == "memory":
        from igneous_ng.queues.memory import MemoryQueue

        return MemoryQueue(rest)
    raise SpecError(f"{url!r}: {scheme}:// is no kind of queue; write {_FORMS}")
