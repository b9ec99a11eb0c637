"""Rates: the one that says most of a request serves; those that are shipped are of stages there are."""

from __future__ import annotations

from igneous_ng import catalog, rates
from igneous_ng.stage import field_types

TEXT = """
[measured]
machine = "a machine"
date = "2026-11-22"
process_bytes = 1000
[chains]
"x all" = ["x one", "x two"]
""" + "".join(
    f'[[rate]]\nstage = "x one"\non = "tissue"\ncpu_ns = {ns}\nleast = {ns / 2}\nmost = {ns * 2}\nread = 1.0\n'
    f"written = 2.0\ngets = 3.0\nputs = 4.0\n{when}\n"
    for ns, when in (
        (10.0, ""),
        (20.0, 'when = { kind = "image" }'),
        (30.0, 'when = { kind = "image", chunk = "*" }'),
        (40.0, 'when = { encoding = ["jpeg"] }'),
    )
)


def test_the_rate_that_says_most_of_a_request_serves() -> None:
    table = rates.parse(TEXT)

    def speed(**facts: object) -> float | None:
        found = table.find("x one", facts)
        return None if found is None else found.cpu_ns

    assert speed() == 10
    assert speed(kind="segmentation") == 10
    assert speed(kind="image", chunk=None) == 20
    assert speed(kind="image", chunk=[8, 8, 8]) == 30
    assert speed(kind="image", chunk=[8, 8, 8], encoding=["jpeg"]) == 30
    assert speed(encoding=["jpeg"]) == 40
    assert table.find("x two", {}) is None
    assert table.chains == {"x all": ("x one", "x two")}
    assert table.rates[0].spread == 4


def test_the_rates_that_are_shipped_are_of_stages_and_fields_that_there_are() -> None:
    shipped = rates.shipped()
    assert shipped.process_bytes > 10_000_000
    stages = catalog.entries()
    for rate in shipped.rates:
        assert rate.stage in stages
        assert rate.when.keys() <= {*field_types(catalog.load(rate.stage)), "kind"}
        assert 0 < rate.least <= rate.cpu_ns <= rate.most
        assert min(rate.read, rate.written, rate.gets, rate.puts) >= 0
    for name, steps in shipped.chains.items():
        assert name in catalog.chains()
        assert set(steps) <= stages.keys()
        assert {rate.stage for rate in shipped.rates} >= set(steps)
