"""``python -m igneous_ng.cli``."""

from igneous_ng.cli.root import entry_point

entry_point()
