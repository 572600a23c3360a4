"""The command line: one command a file, no logic.

Does: reads options, calls the rooms above, prints tables on stderr and (with --json) one document on stdout.
Does not: measure, decide or compute. Start reading at: `optimize.py`.
"""


def main() -> None:
    """Runs the command line."""
    from strop.cli.app import build

    build()()
