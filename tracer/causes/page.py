# SPDX-License-Identifier: Apache-2.0
"""The page of a cause, from its own file: text for ``arpwhy explain``, and docs/causes.md.

``python -m tracer.causes.page`` prints the latter.
"""

from __future__ import annotations

import re
import textwrap

from tracer.causes import CAUSES, Cause

_WIDTH = 79
_PLACEHOLDERS = (
    "caliX stands for the interface, POD_IP for the pod's address; other words in capitals are "
    "yours to fill in."
)
_TEST = "tests/kernel"

_INTRODUCTION = """\
# Causes

Why the kernel does not answer a request: every reason that `arpwhy` names, in the order of the
kernel's own decision, which is the order in which they are asked. Of several faults the first is
named; the others that the node's configuration shows are in the evidence, under `also`.
`arpwhy explain REASON` prints the same page.

A reason is `observed` if the kernel's own path of the request shows it, and `inferred` if it
was read from the node's configuration at the time.

This page is generated from `tracer/causes/` by `scripts/docs`.
"""


def mends(cause: Cause) -> list[tuple[str, list[str]]]:
    """For each sample of the cause when it applies ("": always), and the remedy's lines."""
    return [
        (
            sample.when,
            cause.remedy(sample.look, sample.seen).text.split("\n"),
        )
        for sample in cause.samples
    ]


def is_sentence(line: str) -> bool:
    """A remedy's line is a command, or a sentence, which ends like one."""
    return line.endswith(".")


def link(report: str) -> str:
    """The address of ``OWNER/REPO#N``; of a pull request GitHub leads on to it."""
    repository, number = report.split("#")
    return f"https://github.com/{repository}/issues/{number}"


# -- text ------------------------------------------------------------------------------------


def summary() -> str:
    """A reason and its one sentence each."""
    width = max(len(cause.name) for cause in CAUSES)
    lines = []
    for cause in CAUSES:
        lines += _wrapped(cause.means, f"{cause.name:{width}}  ", " " * (width + 2))
    return "\n".join(lines) + "\n"


def text(cause: Cause) -> str:
    """At most 79 columns, but for commands and links."""
    lines = [cause.name, "", *_wrapped(cause.means)]
    lines += ["", "How it is recognised", *_wrapped(cause.recognised)]
    if cause.samples:
        lines += ["", "The mend", *_wrapped(_PLACEHOLDERS)]
    for when, remedy in mends(cause):
        if when:
            lines += _wrapped(f"{when}:")
        for line in remedy:
            lines += _wrapped(line, "    ", "    ") if is_sentence(line) else [f"    {line}"]
    lines += ["", "What usually did it, and the lasting mend", *_wrapped(cause.lasting)]
    if cause.field_reports:
        lines += ["", "Seen in the field", *[f"  {link(r)}" for r in cause.field_reports]]
    if cause.shown_by:
        faults = ", ".join(cause.shown_by)
        lines += ["", "Shown by", *_wrapped(f"{_TEST}, with the faults {faults}")]
    return "\n".join(lines) + "\n"


def _wrapped(what: str, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(
        what,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


# -- docs/causes.md --------------------------------------------------------------------------


def document() -> str:
    """The whole page. The anchor of a section is its reason: alerts link to it."""
    rows = [f"| [`{cause.name}`](#{cause.name}) | {_marked(cause.means)} |" for cause in CAUSES]
    table = "\n".join(("| reason | |", "| --- | --- |", *rows))
    return "\n".join((_INTRODUCTION, table, "", *map(_section, CAUSES)))


def _section(cause: Cause) -> str:
    parts = [f"## {cause.name}", _paragraph(cause.means)]
    parts += [_paragraph(cause.recognised, "How it is recognised.")]
    parts += [_paragraph(_PLACEHOLDERS, "The mend.")]
    for when, remedy in mends(cause):
        parts += [_paragraph(f"{when[0].upper()}{when[1:]}:")] if when else []
        parts += _blocks(remedy)
    parts += [_paragraph(cause.lasting, "What usually did it, and the lasting mend.")]
    if cause.field_reports:
        links = ", ".join(f"[{report}]({link(report)})" for report in cause.field_reports)
        parts += [_filled(f"**Seen in the field.** {links}.")]
    if cause.shown_by:
        faults = ", ".join(f"`{name}`" for name in cause.shown_by)
        test = f"[{_TEST}](../{_TEST})"
        parts += [_filled(f"**Shown by** {test}, with the faults of the lab {faults}.")]
    return "\n\n".join(parts) + "\n"


def _blocks(remedy: list[str]) -> list[str]:
    """Sentences as they are, commands in one block to copy."""
    sentences = [_paragraph(line) for line in remedy if is_sentence(line)]
    commands = [line for line in remedy if not is_sentence(line)]
    return sentences + (["```\n" + "\n".join(commands) + "\n```"] if commands else [])


def _paragraph(what: str, head: str = "") -> str:
    return _filled(f"**{head}** {_marked(what)}" if head else _marked(what))


def _filled(what: str) -> str:
    return textwrap.fill(what, 100, break_long_words=False, break_on_hyphens=False)


# A word that Markdown could take for its own signs, or that is code anyway.
_CODE = re.compile(r"(?<!\S)(\(?)((?=\S*[_*<=]|/)\S+?)([.,:;)]*)(?!\S)")


def _marked(what: str) -> str:
    return _CODE.sub(r"\1`\2`\3", what)


if __name__ == "__main__":
    print(document(), end="")
