"""The progress bar says how fast it goes, and says nothing where nobody watches."""

import io

from rich.console import Console

from attnscape.workflows.progress import ProgressBar


def drawn(*, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with ProgressBar("setting-1", console) as bar:
        for done in (0, 500, 1000):
            bar(done, 1000)
    return console.file.getvalue()


def test_silent_where_the_console_is_no_terminal():
    assert drawn(terminal=False) == ""


def test_shows_run_steps_a_second_on_a_terminal():
    text = drawn(terminal=True)
    assert "setting-1" in text
    assert "100%" in text
    assert "run-steps/s" in text
