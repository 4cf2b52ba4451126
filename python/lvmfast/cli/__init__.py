"""The command line: parse, call, render, answer. No arithmetic; one file per command.

A module hangs its command on the app when it is imported, which `lvmfast.cli.app` does when it is asked for.
"""

from lvmfast.cli.app import app

__all__ = ["app"]
