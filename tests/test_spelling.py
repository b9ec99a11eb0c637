"""Guesses at what was meant."""

from __future__ import annotations

from igneous_ng import catalog, spelling


def test_a_near_name_is_guessed_and_what_there_is_is_listed() -> None:
    assert spelling.choices("lagre", ["small", "large"]) == "did you mean 'large'? there are: small, large"
    assert spelling.choices("Large", ["small", "large"]).startswith("did you mean 'large'?")
    assert spelling.choices("zzz", ["small", "large"]) == "there are: small, large"
    assert spelling.choices("zzz", []) == "there are: none"


def test_beside_a_guess_a_long_list_is_left_out() -> None:
    names = [f"name{number}" for number in range(13)]
    assert spelling.choices("nome3", names).startswith("did you mean 'name3'")
    assert "there are" not in spelling.choices("nome3", names)
    assert spelling.choices("other", names) == f"there are: {', '.join(names)}"


def test_of_all_stages_the_one_that_is_meant_is_near() -> None:
    for name in catalog.everything():
        swapped = name[:-2] + name[-1] + name[-2]
        assert name in spelling.nearest(swapped, catalog.everything(), 3)
