"""`python -m sigil_client.verify`: verifies evidence files, and packs, step by step, on this machine alone.

No network, no server. Exits as `sigil verify` does: 0 if every step of every file holds, 1 if one does not or
nobody vouches for a file, 2 for what is not readable as evidence and for a usage error; of several files the
worst.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from .ecma import number_text
from .errors import ProofError
from .evidence.grounds import Trust
from .evidence.verifying import Verdict, verify_evidence
from .json_view import pack_view, time_text, verdict_view
from .limits import EVIDENCE_BYTES_MAX, NOTE_BYTES_MAX
from .pack.verifying import PackVerdict, verify_pack

EXIT_OK: Final = 0
EXIT_NOT_VERIFIED: Final = 1
EXIT_UNREADABLE: Final = 2

_ABOUT: Final = (
    "Verify evidence files, and evidence packs, which are directories, step by step, on this machine alone: no "
    "network, no server. What they prove rests on what you have from elsewhere: the hash of the genesis record, "
    "or a policy."
)
_EXITS: Final = (
    "Exits with 0 if every step of every file holds, 1 if one does not or nobody vouches for a file, 2 for "
    "what is not readable as evidence and for a usage error; of several files the worst."
)
_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}")


def printable(text: str) -> str:
    """One line without characters that a terminal would act on, or that nobody sees."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _read(source: BinaryIO, bytes_max: int) -> bytes | None:
    """None for more than that: it is not read further."""
    data = source.read(bytes_max + 1)
    return data if len(data) <= bytes_max else None


def _read_path(path: str, bytes_max: int) -> bytes | None:
    if path == "-":
        return _read(sys.stdin.buffer, bytes_max)
    with Path(path).open("rb") as source:
        return _read(source, bytes_max)


def _trust_of(parser: argparse.ArgumentParser, genesis: str | None, policy: str | None) -> Trust:
    if genesis is not None and _HASH.fullmatch(genesis) is None:
        parser.error(
            "--genesis must be the hash of the genesis record, 64 hexadecimal digits; sigil init prints it"
        )
    try:
        terms = None if policy is None else _read_path(policy, NOTE_BYTES_MAX)
    except OSError:
        parser.error(f"--policy: {printable(policy or '')} cannot be read")
    if policy is not None and terms is None:
        parser.error(f"--policy: a policy has at most {NOTE_BYTES_MAX} bytes")
    try:
        return Trust.of(genesis, terms)
    except ProofError as error:
        parser.error(f"--policy: {error}")


def _findings_text(verdict: Verdict) -> list[str]:
    """What a refused file says of itself is not repeated as if it were so."""
    record, decision = verdict.findings.record, verdict.findings.decision
    if not verdict.holds or record is None:
        return []
    pairs: list[tuple[str, str | None]] = [
        ("record", f"{record.body.kind} {record.body.id}"),
        ("tenant", record.body.tenant),
        ("time", time_text(record.body.ts)),
        ("position", str(record.position)),
        ("hash", record.hash.hex()),
    ]
    if decision is not None:
        request = decision.request
        pairs += [
            ("caller", request.caller or "anonymous"),
            ("subject", f"{request.subject or 'anonymous'}, {request.loa}"),
            ("action", request.action),
            ("target", request.target),
            ("verdict", decision.verdict),
            ("reason", decision.reason),
            ("z", None if decision.z is None else f"{number_text(decision.z)} logits"),
        ]
    return ["", *(f"{name:<10}{printable(text)}" for name, text in pairs if text is not None)]


def _gaps_text(verdict: PackVerdict) -> list[str]:
    manifest = verdict.findings.manifest
    if not verdict.holds or manifest is None:
        return []
    counts = f"{manifest.decisions} decisions of {manifest.callers} callers of {manifest.tenant}"
    gaps = [", ".join(f"{key} {value}" for key, value in gap.items()) for gap in manifest.gaps]
    return ["", printable(counts), *(f"gap: {printable(gap)}" for gap in gaps)]


def _text_of(path: str, verdict: Verdict | PackVerdict) -> str:
    title = "VERIFIED" if verdict.holds else "NOT VERIFIED"
    shown = {"passed": "passed", "failed": "FAILED", "skipped": "skipped"}
    steps = [f"{step.name:<14}{shown[step.outcome]:<9}{printable(step.detail)}" for step in verdict.steps]
    facts = _gaps_text(verdict) if isinstance(verdict, PackVerdict) else _findings_text(verdict)
    return "\n".join([f"{title}  {printable(path)}", "", *steps, *facts])


def _exit_of(verdict: Verdict | PackVerdict) -> int:
    """A file or a manifest that cannot be read is no evidence, for or against."""
    if verdict.holds:
        return EXIT_OK
    return EXIT_UNREADABLE if verdict.steps[0].outcome == "failed" else EXIT_NOT_VERIFIED


def _verified(path: str, trust: Trust) -> Verdict | PackVerdict | None:
    """None if it cannot be read, and then that was said."""
    try:
        if path != "-" and Path(path).is_dir():
            return verify_pack(Path(path), trust)
        data = _read_path(path, EVIDENCE_BYTES_MAX)
    except OSError:
        print(f"{printable(path)} cannot be read", file=sys.stderr)
        return None
    if data is None:
        limit = f"is longer than the {EVIDENCE_BYTES_MAX} bytes of an evidence file"
        print(f"{printable(path)} {limit}", file=sys.stderr)
        return None
    return verify_evidence(data, trust)


def main(words: Sequence[str] | None = None) -> int:
    """Gives the exit code. Raises SystemExit with 2 for a usage error."""
    parser = argparse.ArgumentParser(
        prog="python -m sigil_client.verify",
        description=_ABOUT,
        epilog=_EXITS,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE|DIR", help="an evidence file, or a pack; - is standard input"
    )
    parser.add_argument(
        "--genesis", metavar="HASH", help="the genesis record's hash, that sigil init printed"
    )
    parser.add_argument(
        "--policy", metavar="FILE", help="the log's key, and whose cosignatures a checkpoint needs"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON for each file")
    given = parser.parse_args(words)
    trust = _trust_of(parser, given.genesis, given.policy)
    worst = EXIT_OK
    for index, path in enumerate(given.files):
        verdict = _verified(path, trust)
        if verdict is None:
            worst = EXIT_UNREADABLE
            continue
        if given.json:
            view = verdict_view(path, verdict) if isinstance(verdict, Verdict) else pack_view(path, verdict)
            print(json.dumps(view, ensure_ascii=False))
        else:
            print(("\n" if index > 0 else "") + _text_of(path, verdict))
        worst = max(worst, _exit_of(verdict))
    return worst
