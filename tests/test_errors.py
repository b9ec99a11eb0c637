"""The kinds of error, and what other code may catch them as."""

from __future__ import annotations

import pytest

from igneous_ng import errors
from igneous_ng.errors import ConfigurationError, DataError, IgneousError, SpecError, TransientError, VersionError

KINDS = (SpecError, DataError, TransientError, ConfigurationError)


def test_every_kind_is_an_igneous_error_and_none_is_another() -> None:
    for kind in KINDS:
        assert issubclass(kind, IgneousError)
        assert [other for other in KINDS if issubclass(kind, other)] == [kind]


def test_a_wrong_request_is_a_wrong_value_and_bad_data_is_not() -> None:
    with pytest.raises(ValueError, match="asked"):
        raise SpecError("asked")
    assert not issubclass(DataError, ValueError)
    assert not issubclass(TransientError, (ValueError, OSError))


def test_every_kind_says_what_it_means() -> None:
    public = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert public == {"IgneousError", "VersionError", *(kind.__name__ for kind in KINDS)}
    assert all(kind.__doc__ for kind in (*KINDS, VersionError))


def test_a_request_for_another_version_is_a_request_that_cannot_be_carried_out_here() -> None:
    assert issubclass(VersionError, SpecError)
