"""Entry point of the command, also for `python -m attnscape`.

Ctrl-C is handled before anything else is imported, because all imports together take a second.
"""

from attnscape.cli._ending import orderly


def main() -> None:
    """Runs the command line."""
    with orderly():
        from attnscape.cli.main import main as command_line

        command_line()


if __name__ == "__main__":
    main()
