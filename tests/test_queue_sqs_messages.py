"""What travels through SQS: batches that one request may carry, and texts that fit."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from igneous_ng.queues.sqs_messages import BATCH, Message, batches, shortened

LIMIT = 256 * 1024
LONGEST = 240 * 1024


@given(
    st.lists(st.sampled_from([1, 10, 60_000, 130_000, LONGEST]), max_size=40),
    st.booleans(),
)
def test_batches_keep_order_and_the_limits_of_a_request(sizes: list[int], copies: bool) -> None:
    extra = {"id": "i" * 50, "attempts": 3} if copies else {}
    messages = [Message("b" * size, **extra) for size in sizes]  # type: ignore[arg-type]
    made = list(batches(iter(messages)))
    assert [message for batch in made for message in batch] == messages
    assert all(0 < len(batch) <= BATCH and sum(m.size for m in batch) <= LIMIT for batch in made)
    for batch, following in pairwise(made):
        assert len(batch) == BATCH or sum(m.size for m in batch) + following[0].size > LIMIT


@given(st.text(max_size=600), st.integers(200, 800))
def test_a_shortened_text_fits_and_keeps_both_ends(text: str, room: int) -> None:
    short = shortened(text, room)
    assert len(short.encode(errors="surrogatepass")) <= room
    if len(text.encode()) <= room:
        assert short == text
    else:
        assert short[:10] == text[:10]
        assert short[-10:] == text[-10:]
