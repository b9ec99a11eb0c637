"""Janelia's FIB-SEM ``.dat``: a header of 1024 bytes, then pixels whose channels lie side by side, big-endian.

The layout, versions 1 to 9, is that of the microscope's own ``readfibsem.m`` (C. S. Xu and H. Hess, HHMI Janelia),
published with https://github.com/clbarnes/jfibsem_dat, and, for version 9, that of fibsem-tools
(https://github.com/janelia-cellmap/fibsem-tools). Names of fields are theirs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from igneous_ng.formats.planes import Planes

HEADER = 1024
"""Bytes before the pixels."""
_MAGIC = 3555587570
_VERSIONS = range(1, 10)


class _Rows(NamedTuple):
    """Fields that some versions have: a line each, ``name offset type``."""

    first: int
    last: int
    lines: str


_FIELDS = (
    _Rows(1, 9, """
        FileMagicNum 0 >u4 | FileVersion 4 >u2 | FileType 6 >u2 | SWdate 8 S10 | TimeStep 24 >f8 | ChanNum 32 u1
        EightBit 33 u1 | XResolution 100 >u4 | YResolution 104 >u4 | ZeissScanSpeed 111 u1 | AI1 151 u1 | AI2 152 u1
        AI3 153 u1 | AI4 154 u1 | Notes 180 S200 | DetA 380 S10 | DetB 390 S18 | Mode 600 u1 | FileLength 1000 >i8"""),
    _Rows(1, 3, """
        Oversampling 108 u1 | AIDelay 109 >i2 | ScanRate 112 >f8 | FramelineRampdownRatio 120 >f8 | Xmin 128 >f8
        Xmax 136 >f8"""),
    _Rows(4, 9, """
        Oversampling 108 >u2 | ScanRate 112 >f4 | FramelineRampdownRatio 116 >f4 | Xmin 120 >f4 | Xmax 124 >f4
        Detmin 128 >f4 | Detmax 132 >f4 | DecimatingFactor 136 >u2"""),
    _Rows(1, 2, """
        DetC 700 S20 | DetD 720 S20 | Mag 408 >f8 | PixelSize 416 >f8 | WD 424 >f8 | EHT 432 >f8 | SEMApr 440 u1
        HighCurrent 441 u1 | SEMCurr 448 >f8 | SEMRot 456 >f8 | ChamVac 464 >f8 | GunVac 472 >f8 | SEMStiX 480 >f8
        SEMStiY 488 >f8 | SEMAlnX 496 >f8 | SEMAlnY 504 >f8 | StageX 512 >f8 | StageY 520 >f8 | StageZ 528 >f8
        StageT 536 >f8 | StageR 544 >f8 | StageM 552 >f8 | BrightnessA 560 >f8 | ContrastA 568 >f8
        BrightnessB 576 >f8 | ContrastB 584 >f8 | FIBFocus 608 >f8 | FIBProb 616 u1 | FIBCurr 624 >f8 | FIBRot 632 >f8
        FIBAlnX 640 >f8 | FIBAlnY 648 >f8 | FIBStiX 656 >f8 | FIBStiY 664 >f8 | FIBShiftX 672 >f8
        FIBShiftY 680 >f8"""),
    _Rows(3, 9, """
        DetC 410 S20 | DetD 430 S20 | Mag 460 >f4 | PixelSize 464 >f4 | WD 468 >f4 | EHT 472 >f4 | SEMApr 480 u1
        HighCurrent 481 u1 | SEMCurr 490 >f4 | SEMRot 494 >f4 | ChamVac 498 >f4 | GunVac 502 >f4 | SEMShiftX 510 >f4
        SEMShiftY 514 >f4 | SEMStiX 518 >f4 | SEMStiY 522 >f4 | SEMAlnX 526 >f4 | SEMAlnY 530 >f4 | StageX 534 >f4
        StageY 538 >f4 | StageZ 542 >f4 | StageT 546 >f4 | StageR 550 >f4 | StageM 554 >f4 | BrightnessA 560 >f4
        ContrastA 564 >f4 | BrightnessB 568 >f4 | ContrastB 572 >f4 | FIBFocus 604 >f4 | FIBProb 608 u1
        FIBCurr 620 >f4 | FIBRot 624 >f4 | FIBAlnX 628 >f4 | FIBAlnY 632 >f4 | FIBStiX 636 >f4 | FIBStiY 640 >f4
        FIBShiftX 644 >f4 | FIBShiftY 648 >f4"""),
    _Rows(5, 9, """
        MillingXResolution 652 >u4 | MillingYResolution 656 >u4 | MillingXSize 660 >f4 | MillingYSize 664 >f4
        MillingULAng 668 >f4 | MillingURAng 672 >f4 | MillingLineTime 676 >f4 | FIBFOV 680 >f4
        MillingLinesPerImage 684 >u2 | MillingPIDOn 686 u1 | MillingPIDMeasured 689 u1 | MillingPIDTarget 690 >f4
        MillingPIDTargetSlope 694 >f4 | MillingPIDP 698 >f4 | MillingPIDI 702 >f4 | MillingPIDD 706 >f4
        MachineID 800 S30 | SEMSpecimenI 980 >f4"""),
    _Rows(6, 9, """
        Temperature 850 >f4 | FaradayCupI 854 >f4 | FIBSpecimenI 858 >f4 | BeamDump1I 862 >f4
        SEMSpecimenICurrent 866 >f4 | MillingYVoltage 870 >f4 | FocusIndex 874 >f4 | FIBSliceNum 878 >u4"""),
    _Rows(8, 9, "BeamDump2I 882 >f4 | MillingI 886 >f4"),
    _Rows(9, 9, "Restart 68 u1 | StageMove 69 u1 | FirstX 70 >i4 | FirstY 74 >i4 | SampleID 155 S25"),
)  # fmt: skip


class Header(NamedTuple):
    """What a file says before its pixels."""

    fields: dict[str, Any]
    """By their names: numbers, texts, and for ``Scaling`` an array ``[channel, 4]``."""
    planes: Planes
    """One plane, a value for each channel."""


def parse(data: bytes) -> Header:
    """The header in the first bytes of a file; ValueError where they are not those of a ``.dat``.

    Pixels are int16, or uint8 in files of eight bits, as they came from the detectors, not scaled.
    """
    if len(data) < HEADER:
        raise ValueError(f"it has {len(data)} bytes of its header of {HEADER}")
    magic, version = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:6], "big")
    if magic != _MAGIC or version not in _VERSIONS:
        raise ValueError(f"it begins with {magic} and version {version}, not with {_MAGIC} and a version from 1 to 9")
    record = np.frombuffer(data[:HEADER], _layout(version))[0]
    fields = {name: _value(record[name]) for name in record.dtype.names or ()}
    channels = fields["ChanNum"]
    if channels not in (1, 2, 3, 4):
        raise ValueError(f"its header says {channels} channels; there are 1 to 4")
    fields["Scaling"] = _scaling(data, version, channels)
    dtype = np.dtype(np.uint8 if fields["EightBit"] else ">i2")
    pixel = float(fields["PixelSize"])
    shape = (1, fields["YResolution"], fields["XResolution"], channels)
    return Header(fields, Planes(HEADER, shape, dtype, pixel if 0 < pixel < np.inf else None))


def _layout(version: int) -> np.dtype[Any]:
    text = "|".join(line for rows in _FIELDS if rows.first <= version <= rows.last for line in rows.lines.splitlines())
    names, offsets, types = zip(*(field.split() for field in text.split("|") if field.strip()), strict=True)
    return np.dtype(
        {"names": list(names), "offsets": [int(n) for n in offsets], "formats": list(types), "itemsize": HEADER}
    )


def _value(value: Any) -> Any:
    return value.split(b"\0")[0].decode("latin-1") if isinstance(value, bytes) else value.item()


def _scaling(data: bytes, version: int, channels: int) -> Any:
    """Four factors a channel; from version 7 on those of two channels are stored, however many there are."""
    stored = np.dtype(">f8" if version == 1 else ">f4")
    rows = channels if version < 7 else 2
    return np.frombuffer(data, stored, 4 * rows, 36).reshape(rows, 4)
