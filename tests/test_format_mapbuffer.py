from __future__ import annotations

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igneous_ng.errors import DataError
from igneous_ng.formats import mapbuffer
from tests import igneous_made

values = st.dictionaries(st.integers(0, 2**64 - 1), st.binary(max_size=40), max_size=12)


def test_the_checksum_is_the_published_one() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720 has the polynomial)


@settings(deadline=None)
@given(values=values, compress=st.sampled_from(["br", "none"]), version=st.sampled_from([0, 1]))
def test_values_come_back_in_order(values: dict[int, bytes], compress: str, version: int) -> None:
    data = igneous_made.mapbuffer(values, compress, version)
    assert list(mapbuffer.items(data, "x")) == sorted(values.items())


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_damage_passes_unseen(data: st.DataObject) -> None:
    """A label may be damaged unseen: nothing in the format guards it. The values are found, or the file is refused."""
    whole = {7: b"abcdef", 2**64 - 1: b"", 12: b"ghi"}
    packed = bytearray(igneous_made.mapbuffer(whole, "none"))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    in_a_label = any(16 + 16 * row <= at < 24 + 16 * row for row in range(3))
    if in_a_label:
        assert sorted(v for _, v in mapbuffer.items(bytes(packed), "x")) == sorted(whole.values())
    elif at != 7:  # without the version nothing is checked
        with pytest.raises(DataError, match="forge this cell again"):
            list(mapbuffer.items(bytes(packed), "x"))


@pytest.mark.parametrize("data", [b"", b"mapbufr", b"\x80\x04\x95" + bytes(40), b"mapbufr\x01lzma" + bytes(8)])
def test_what_is_no_container_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="not a container of fragments as Igneous writes it"):
        list(mapbuffer.items(data, "x"))
