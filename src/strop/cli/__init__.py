"""The command line: one command a file, no logic.

Does: reads options, calls the rooms above, prints tables on stderr and (with --json) one document on stdout.
Does not: measure, decide or compute. Start reading at: `optimize.py`.
"""

import signal
import sys
import traceback


def main() -> None:
    """Runs the command line; an error that Strop does not know is shown whole and exits with 5."""
    try:
        # `timeout`, `docker stop` and schedulers end a run so; what is finished is saved as after Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from strop.cli.app import build

        build()()
    except KeyboardInterrupt:  # while the commands were being imported; later ones see to it themselves
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except Exception:  # the outermost door: Python's own exit code 1 would mean that a limit was not met
        traceback.print_exc()
        sys.stderr.write("this is a bug in Strop: please report it with the lines above\n")
        sys.exit(5)
