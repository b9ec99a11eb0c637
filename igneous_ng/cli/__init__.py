"""The command line: one command for each stage, made from its fields, and those for queues, runs and viewing.

Nothing here names a stage, and a stage is imported only when its own command is asked for.
"""

from igneous_ng.cli.root import entry_point, main

__all__ = ["entry_point", "main"]
