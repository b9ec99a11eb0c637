from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from igneous_ng.io import IO
from igneous_ng.store import Store
from igneous_ng.worker.overlap import Depth, Turn


class Diary:
    """Who computes and who waits for storage, at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.computing = self.away = self.most_computing = self.overlaps = 0

    def change(self, computing: int, away: int) -> None:
        with self.lock:
            self.computing += computing
            self.away += away
            self.most_computing = max(self.most_computing, self.computing)
            self.overlaps += bool(self.computing and self.away)


def unit(turn: Turn, diary: Diary) -> None:
    with turn.prepared():
        for seconds in (0.03, 0.03):
            with turn.away():
                diary.change(0, 1)
                time.sleep(seconds)
                diary.change(0, -1)
            diary.change(1, 0)
            time.sleep(0.03)
            diary.change(-1, 0)


def test_one_computes_while_others_wait_for_storage() -> None:
    turn, diary = Turn(), Diary()
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(unit, turn, diary) for _ in range(9)]:
            done.result()
    assert diary.most_computing == 1
    assert diary.overlaps > 9
    assert turn.away_seconds >= 9 * 0.06


def test_a_turn_is_given_back_by_a_unit_that_fails() -> None:
    turn = Turn()
    for _ in range(3):
        try:
            with turn.prepared(), turn.away():
                raise ValueError
        except ValueError:
            pass
    with turn.prepared(), turn.away(), turn.away():  # nested: nothing is given up twice
        pass


def test_threads_without_a_unit_never_wait_for_a_turn() -> None:
    turn = Turn()
    with turn.prepared():
        with turn.away():
            pass
        helper = threading.Thread(target=lambda: turn.away().__enter__())
        helper.start()
        helper.join(5)
        assert not helper.is_alive()


def test_io_gives_the_turn_up_around_each_wait() -> None:
    entered: list[str] = []

    class Away:
        def __enter__(self) -> None:
            entered.append("in")

        def __exit__(self, *_: object) -> None:
            entered.append("out")

    io = IO(Store(), Away)
    io.put("mem://overlap/a", b"1")
    assert io.get("mem://overlap/a") == b"1"
    assert io.exists("mem://overlap/a")
    assert entered == ["in", "out"] * 3


def test_units_overlap_only_where_storage_takes_a_share_of_their_time() -> None:
    depth = Depth(3)
    assert depth.now() == 1
    depth.learn(1.0, 0.05)
    assert depth.now() == 1
    depth.learn(1.0, 0.5)
    assert depth.now() == 3
    depth.learn(10.0, 0.0)
    assert depth.now() == 1
