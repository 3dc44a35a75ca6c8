"""The page on a plan of 100 million runs, written from the numbers of docs/plan.json alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnscape.workflows.clusters import MESSAGES

_TEMPLATE = Path(__file__).with_suffix(".md")


def page(content: dict[str, Any]) -> str:
    """The page.

    Args:
        content: What docs/plan.json holds.
    """
    plan, simulated = content["plan"], content["simulated"]
    found = {name: each["value"] for name, each in content["measured"].items()}
    steps, size, scheduler = (found[name] for name in ("steps", "bytes", "scheduler"))
    seconds = plan["runs"] * plan["steps"] * steps["seconds"]
    chunk_share = plan["workers"] * scheduler["chunk_seconds"] / simulated["chunk_seconds"]
    message_share = MESSAGES * scheduler["message_seconds"]
    most = (1 - message_share) * plan["workers"] / chunk_share
    gigabytes = (plan["runs"] * size["run"] + simulated["chunks"] * size["file"]) / 1e9
    return _TEMPLATE.read_text().format(
        **plan,
        processors=content["measured"]["steps"]["processors"],
        restart=simulated["restart"],
        microseconds=1e6 * steps["seconds"],
        abreast=steps["runs_abreast"],
        a_second=1 / steps["seconds"],
        core_hours=seconds / 3600,
        hours=seconds / plan["workers"] / 3600,
        chunk_minutes=simulated["chunk_seconds"] / 60,
        compilation=steps["compilation"],
        chunks=simulated["chunks"],
        run_bytes=size["run"],
        losses=size["losses"],
        loss_bytes=size["loss"],
        file_bytes=size["file"],
        gigabytes=gigabytes,
        part_gigabytes=gigabytes * min(1, 10_000 / simulated["chunks"]),
        alone=plan["runs"] * (size["run"] + size["file"]) / 1e9,
        folders=_folders(found["folders"]),
        chunk_ms=1e3 * scheduler["chunk_seconds"],
        rate=1 / scheduler["chunk_seconds"],
        message_us=1e6 * scheduler["message_seconds"],
        queues=" and ".join(
            f"{1e3 * each['seconds_a_run']:.2f} ms a chunk with {each['runs']:,} chunks"
            for each in found["queues"]
        ),
        chunk_share=chunk_share,
        message_share=message_share,
        messages=MESSAGES,
        message_limit=1 / scheduler["message_seconds"],
        verdict=_verdict(chunk_share + message_share),
        most=most,
        given_up=simulated["lives"][-1]["given_up"],
        repeated=simulated["lives"][-1]["repeated"],
        lives=_lives(simulated["lives"]),
        sizes=_sizes(simulated["sizes"]),
        check=_check(found.get("check")),
    )


def _verdict(share: float) -> str:
    if share < 0.5:
        return "So one scheduler is enough."
    words = f"That is {share:.0%} of all its time, "
    return words + "too much: take several clusters, each with a part of the plan."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _folders(folders: Sequence[dict[str, float]]) -> str:
    head = ("results in a folder", "reading all names", "finding one", "finding that there is none")
    names = ("listing", "find_found", "find_missing")
    rows = [
        [f"{each['files']:,}", *(f"{1e3 * each[name]:.3g} ms" for name in names)]
        for each in folders
    ]
    return _table(head, rows)


def _lives(lives: Sequence[dict[str, Any]]) -> str:
    head = ("a worker dies", "hours", "busy with what counts", "deaths", "given up", "repeated")
    return _table(head, [[each["dies"], *_row(each)] for each in lives])


def _sizes(sizes: Sequence[dict[str, Any]]) -> str:
    head = ("runs a chunk", "chunks", "minutes each", "hours", "busy with what counts")
    rows = [
        [
            f"{each['runs']:,}",
            f"{each['chunks']:,}",
            f"{each['chunk_seconds'] / 60:.1f}",
            f"{each['seconds'] / 3600:.2f}",
            f"{each['efficiency']:.0%}",
        ]
        for each in sizes
    ]
    return _table(head, rows)


def _row(each: dict[str, Any]) -> list[str]:
    return [
        f"{each['seconds'] / 3600:.2f}",
        f"{each['efficiency']:.0%}",
        f"{each['deaths']:,}",
        f"{each['given_up']:,}",
        f"{each['repeated']:.1%}",
    ]


def _check(check: dict[str, Any] | None) -> str:
    if check is None:
        return (
            "It has not been measured yet beside these numbers: `python -m benchmarks.plan --only "
            "check` does so, on a machine that does nothing else."
        )
    rows = [
        [
            name,
            f"{each['seconds']:.1f} s",
            f"{each['tries']}",
            ", ".join(map(str, each["given_up"])),
            ", ".join(map(str, each["tries_of_given_up"])),
        ]
        for name, each in (("real", check["real"]), ("simulated", check["simulated"]))
    ]
    head = ("", "time", "chunks begun", "given up", "tries of these")
    ratio = check["simulated"]["seconds"] / check["real"]["seconds"]
    return (
        f"{check['chunks']} chunks of {check['seconds']:.0f} s on two real workers, of which two "
        "are killed from outside; one chunk always fails, and one kills its worker. A process "
        f"serves 5 chunks, and a new one begins {check['restart']:.1f} s after the old died.\n\n"
        f"{_table(head, rows)}\n\n"
        f"The simulation takes {ratio:.2f} times as long as the cluster."
    )
