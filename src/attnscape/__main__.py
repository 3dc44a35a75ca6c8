"""Entry point of the command, also as `python -m attnscape`.

Nothing else is imported before Ctrl-C has its answer: all imports together take a second.
"""

from attnscape.ending import orderly


def main() -> None:
    """Runs the command line."""
    with orderly():
        from attnscape.cli import main as command_line

        command_line()


if __name__ == "__main__":
    main()
