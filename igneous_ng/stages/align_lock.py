"""What of an alignment is to stay as it is, when other parts of it are made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from igneous_ng import words
from igneous_ng.alignment import Alignment
from igneous_ng.errors import DataError, SpecError
from igneous_ng.geometry import Box
from igneous_ng.io import IO
from igneous_ng.stage import LayerUrl, Stage, arg, opt
from igneous_ng.volume import Volume

_SMALL = 120_000_000  # bytes, what libraries keep
_ENTRY = 2_000  # bytes of an entry in a ledger
_ROUGH = ("rough.affines", "rough.json")


@dataclass(frozen=True, kw_only=True)
class Lock(Stage, name="align lock"):
    """Keep the rough maps, and the coarse displacements and weights of a round, as they are now.

    `align rough`, `align settle` and `align weigh` then give what is locked, and the first solves new sections with the
    locked ones held. A change of one region moves all of these a little everywhere, and so all of the alignment would
    have to be made again.
    """

    example = "./alignment --round 1"

    alignment: LayerUrl = arg("Folder of the alignment.")
    round: int = opt(1, "The round that is locked, if it has coarse displacements; others that are locked stay.")
    unlock: bool = opt(False, "Lock nothing any more, of no round.")

    def check(self) -> None:
        """Rounds are counted from 1."""
        if self.round < 1:
            raise SpecError(f"align lock.round: {self.round}; rounds are counted from 1")

    def home(self) -> str:
        """The alignment keeps the records."""
        return self.alignment

    def places(self, io: IO) -> tuple[str, ...]:
        """What is locked."""
        return (f"{self.alignment}/locked",)

    def prepare(self, io: IO) -> None:
        """There must be maps to be locked."""
        Alignment.open(io, self.alignment)
        if missing := [one for one in _ROUGH if not self.unlock and not io.exists(f"{self.alignment}/{one}")]:
            raise DataError(f"{self.alignment}/{missing[0]}: there is nothing to lock; run `align coarse` first")

    def units(self, io: IO) -> Sequence[int]:
        """All at once."""
        return [0]

    def peak_bytes(self, unit: int, io: IO) -> int:
        """A section of displacements, twice, and the entries of all in the ledger."""
        count, section = len(Alignment.open(io, self.alignment).zs), 0
        if io.exists(f"{self._coarse('')}/info"):
            info = io.info(self._coarse(""))
            x, y, _ = info.scales[0].bounds.shape
            section = x * y * info.channels * info.dtype.itemsize
        return _SMALL + 4 * section + _ENTRY * count

    def execute(self, unit: int, io: IO) -> None:
        """Copy, or remove."""
        if self.unlock:
            for url in (f"{self.alignment}/locked/{name}" for name in _ROUGH):
                io.delete(url)
            for number in _rounds(io, self.alignment):
                _remove(io, f"{self.alignment}/locked/rounds/{number}/coarse")
                _clear(io, f"{self.alignment}/locked/rounds/{number}/weights")
            io.note(sections=0)
            return
        for name in _ROUGH:
            io.copy([(f"{self.alignment}/{name}", f"{self.alignment}/locked/{name}")], "none")
        found = io.exists(f"{self._coarse('')}/info")
        if found:
            _copy(io, self._coarse(""), self._coarse("locked/"))
            own, kept = (f"{self.alignment}/{where}rounds/{self.round}/weights" for where in ("", "locked/"))
            _clear(io, kept)
            io.copy([(f"{own}/{name}", f"{kept}/{name}") for name in io.list(own)], "none")
        io.note(sections=len(Alignment.open(io, self.alignment).zs), coarse=found)

    def said(self, io: IO) -> str:
        """What is locked now."""
        if not io.exists(f"{self.alignment}/locked/rough.affines"):
            return "nothing is locked"
        rounds = _rounds(io, self.alignment)
        more = f", and coarse displacements of round {words.listed(rounds)}" if rounds else ""
        return f"locked: rough maps of {words.count(len(Alignment.open(io, self.alignment).zs), 'section')}{more}"

    def _coarse(self, folder: str) -> str:
        return f"{self.alignment}/{folder}rounds/{self.round}/coarse"


def _rounds(io: IO, home: str) -> list[int]:
    """The rounds whose coarse displacements are locked."""
    names = io.list(f"{home}/locked/rounds")
    return sorted(int(one) for one in names if one.isdigit() and io.exists(f"{home}/locked/rounds/{one}/coarse/info"))


def _copy(io: IO, source: str, target: str) -> None:
    """A layer of displacements as it is, section by section."""
    info = io.info(source)
    if io.exists(f"{target}/info") and io.info(target) != info:
        _remove(io, target)  # of another lattice
    io.create_layer(target, info)
    old, new = (io.volume(one, 0, info=info) for one in (source, target))
    for box in _sections(old):
        io.write(new, box, io.read(old, box))


def _clear(io: IO, folder: str) -> None:
    """Remove the files of a folder."""
    for name in io.list(folder):
        io.delete(f"{folder}/{name}")


def _remove(io: IO, layer: str) -> None:
    volume = io.volume(layer, 0)
    for box in _sections(volume):
        for chunk in volume.chunks(box):
            io.delete(volume.url(chunk))
    io.delete(f"{layer}/info")


def _sections(volume: Volume) -> Iterator[Box]:
    (x0, y0, z0), (x1, y1, z1) = volume.bounds.lo, volume.bounds.hi
    for z in range(z0, z1):
        yield Box((x0, y0, z), (x1, y1, z + 1))
