"""Every error this package raises on purpose; each message says what was asked, what was found, what to do.

* :class:`SpecError`: the request is wrong. Never queued, exit status 2.
* :class:`VersionError`, a SpecError: the request is for another version. A worker leaves it for others.
* :class:`DataError`: the data is wrong. The task goes to the dead letters and is never retried.
* :class:`TransientError`: the world was wrong for a moment. Retried.
* :class:`ConfigurationError`: this machine lacks a program or a setting. Exit status 64.
"""


class IgneousError(Exception):
    """Base of every error this package raises on purpose."""


class SpecError(IgneousError, ValueError):
    """A request that cannot be carried out as it stands."""


class VersionError(SpecError):
    """A message that another version of this program, or one with other stages installed, understands."""


class DataError(IgneousError):
    """A layer or file that does not hold what a task needs."""


class TransientError(IgneousError):
    """A failure that a later attempt may not meet: a network, a full disk, a throttled bucket."""


class ConfigurationError(IgneousError):
    """Something that must be installed or set on this machine, and is not."""
