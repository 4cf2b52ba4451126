"""The `lvmfast` command, and `python -m lvmfast`.

Nothing large is imported before the guard stands: Ctrl-C while libraries load, a closed stdout or a library
that cannot be loaded are one line and an exit code that is no verdict.
"""

import gc

from lvmfast.interrupts import INTERRUPTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lvmfast.exits import Answer


def main() -> None:
    """Runs the command of `sys.argv` and ends the process."""
    INTERRUPTS.install()
    from lvmfast.ending import guard_exit
    from lvmfast.exits import end_process

    guard_exit()
    end_process(_command)


def _command() -> "Answer":
    from lvmfast.ending import guard_threads
    from lvmfast.streams import open_streams

    open_streams()
    guard_threads()
    gc.disable()  # what is loaded stays: to look through it for garbage, again and again, finds none
    INTERRUPTS.loading = True
    from lvmfast.cli.app import run

    return run()


if __name__ == "__main__":
    main()
