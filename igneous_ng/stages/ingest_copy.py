"""The raw archive: every file that was found good, copied once and read back."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from igneous_ng.errors import DataError, SpecError
from igneous_ng.formats.verified import Seen
from igneous_ng.io import IO
from igneous_ng.manifests import Manifest
from igneous_ng.stage import LayerUrl, Stage, arg
from igneous_ng.store import digest

Batch = tuple[int, int]
_SMALL = 8_000_000  # bytes for lines and what libraries keep
_COPIES = 3  # of a file: as it is read, as it is stored, as it is read back


@dataclass(frozen=True, kw_only=True)
class Copy(Stage, name="ingest copy"):
    """Copy the files that `ingest verify` found good into an archive, under their paths below what all have in common.

    Nothing in the archive is ever replaced: an object that is there already is fine if it is the same, else the task
    fails and names it. Each copy is read back and compared with the digest of the file when it was verified. Mark the
    archive with `archive` when all is done, so that nothing writes there any more.
    """

    example = "./montage /archive/tiles -p 4"

    montage: LayerUrl = arg("Folder of the montage, in which `ingest verify` has looked at the files.")
    archive: LayerUrl = arg("Folder to copy to; it must not lie in that of the files, nor hold it.")

    def home(self) -> str:
        """The montage keeps the records."""
        return self.montage

    def places(self, io: IO) -> tuple[str, ...]:
        """The archive, and what the montage keeps of it."""
        return (self.archive, f"{self.montage}/copies")

    def prepare(self, io: IO) -> None:
        """Find what all paths have in common; SpecError where the archive lies among the files, or around them."""
        root = self._common(io)
        for one, other in ((root, self.archive), (_true(root), _true(self.archive))):
            if _within(one, other) or _within(other, one):
                raise SpecError(f"{self.archive}: the files lie in {root}; choose a folder that is apart from them")
        io.put_json(self._plan, {"archive": self.archive, "root": root})

    def units(self, io: IO) -> Sequence[Batch]:
        """Batches of 100 lines of each section."""
        return Manifest.open(io, self.montage).batches

    def peak_bytes(self, unit: Batch, io: IO) -> int:
        """The largest file, as it is read, stored and read back."""
        manifest = Manifest.open(io, self.montage)
        lines = manifest.batch(io, *unit)
        both = zip(lines, manifest.seen(io, *unit, lines), strict=True)
        return _SMALL + _COPIES * max(max(line.size or 0, one.bytes or 0) for line, one in both)

    def execute(self, unit: Batch, io: IO) -> None:
        """Copy the good files of one batch; those that cannot be are named together when the others are done."""
        manifest = Manifest.open(io, self.montage)
        plan = io.get_json(self._plan)
        if plan is None:
            raise DataError(f"{self._plan}: is missing; run `ingest copy` again as a whole")
        seen = manifest.seen(io, *unit, manifest.batch(io, *unit))
        good = {one.url: one for one in seen if not one.bad}
        wrong = [said for one in good.values() for said in self._copied(io, one, plan["root"])]
        io.note(files=len(good) - len(wrong), left_out=len({one.url for one in seen} - good.keys()))
        if wrong:
            raise DataError(f"{len(wrong)} of {len(good)} files could not be copied: {'; '.join(wrong)}")

    def _copied(self, io: IO, one: Seen, root: str) -> Iterator[str]:
        """Copy a file; what went wrong."""
        target = self.archive + one.url.removeprefix(root)
        data = io.get(one.url)
        if data is None or _changed(data, one):
            yield f"{one.url} is not what it was when it was verified (run `ingest verify` again)"
        elif not io.create(target, data):
            yield f"{target} is there already and holds something else (it was left as it is)"
        elif (back := io.peek(target)) is None or digest(back) != digest(data):
            yield f"{target} is not what was stored when it is read back (check the storage)"

    @property
    def _plan(self) -> str:
        return f"{self.montage}/copies/{digest(self.archive.encode())}.json"

    def _common(self, io: IO) -> str:
        """The folder that all files lie in."""
        manifest = Manifest.open(io, self.montage)
        common: list[str] | None = None
        for z, _ in manifest.sections:
            for line in manifest.lines(io, z):
                folders = line.url.split("/")[:-1]
                common = folders if common is None else _shared(common, folders)
        if common is None or not any(common[2:]):  # the scheme, and an empty part before the host or path
            raise SpecError(f"{self.montage}: its files have no folder in common; copy them section by section")
        return "/".join(common)


def _shared(one: list[str], other: list[str]) -> list[str]:
    count = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:count]


def _changed(data: bytes, one: Seen) -> bool:
    """Whether a file is another than the one that was verified; of a file of parts only the parts were."""
    return not one.part and hashlib.sha256(data).hexdigest() != one.sha256


def _within(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/")


def _true(url: str) -> str:
    """A folder with its links followed."""
    scheme, _, path = url.partition("://")
    return f"file://{Path(path).resolve()}" if scheme == "file" else url
