"""Trust policies, C2SP tlog-policy, and verifier keys: which logs are known, and whose cosignatures are
needed. Pure.

Source: docs/spec/ledger.md §4. At most 256 lines that define something.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final, NoReturn

from ..errors import MalformedCheckpoint
from ..limits import NOTE_BYTES_MAX, POLICY_LINES_MAX
from .checkpoint import Checkpoint, Cosigner, TrustedLog, verify_checkpoint, verify_cosigners
from .note import TYPE_COSIGNATURE, TYPE_ED25519, key_id_of, parse_base64, parse_note

_VKEY: Final = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)")
_CONTROL: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class VerifierKey:
    name: str
    """Who signs: of a log its origin."""
    use: str
    """`log` or `cosigner`."""
    public_key: bytes


@dataclass(frozen=True)
class PolicyWitness:
    label: str
    """The policy's own name for it; the key's name stands in signature lines."""
    key: VerifierKey


@dataclass(frozen=True)
class Group:
    """Labels of witnesses and groups, of which so many must have cosigned."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    logs: tuple[VerifierKey, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: dict[str, Group]
    quorum: str | None
    """Label of a witness or a group; None if no cosignature is needed."""


def parse_verifier_key(text: str) -> VerifierKey:
    """`<name>+<key id in hexadecimal>+<base64 of the algorithm's byte and the key>`. Raises
    MalformedCheckpoint.
    """

    def refuse(rule: str) -> NoReturn:
        raise MalformedCheckpoint(f"verifier key: {rule}")

    match = _VKEY.fullmatch(text)
    if match is None:
        refuse("must be a name, a key id of eight lower-case hexadecimal digits and a key, joined by +")
    name, key_id, encoded = match.groups()
    raw = parse_base64(encoded, "verifier key: the key must be padded standard base64")
    if raw[:1] not in (bytes((TYPE_ED25519,)), bytes((TYPE_COSIGNATURE,))):
        refuse("its algorithm must be Ed25519: 0x01 of a log, 0x04 of a cosigner")
    if len(raw) != 33:
        refuse("an Ed25519 key has 32 bytes")
    kind, public_key = raw[0], raw[1:]
    if key_id_of(name, kind, public_key).hex() != key_id:
        refuse("the key id is not that of the name and the key")
    return VerifierKey(name, "log" if kind == TYPE_ED25519 else "cosigner", public_key)


def _refuse(line: int, rule: str) -> NoReturn:
    raise MalformedCheckpoint(f"policy line {line}: {rule}")


@dataclass
class _Reading:
    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: list[PolicyWitness] = field(default_factory=list)
    groups: dict[str, Group] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    free: set[str] = field(default_factory=set)
    """Labels that were defined and are in no group yet."""
    keys: set[tuple[str, bytes]] = field(default_factory=set)
    quorum: str | None = None
    has_quorum: bool = False

    def take(self, line: int, words: list[str]) -> None:
        word, rest = words[0], words[1:]
        if word == "log":
            self._take_log(line, rest)
        elif word == "witness":
            self._take_witness(line, rest)
        elif word == "group":
            self._take_group(line, rest)
        elif word == "quorum":
            self._take_quorum(line, rest)
        else:
            _refuse(line, "must begin with log, witness, group or quorum")

    def _take_log(self, line: int, rest: list[str]) -> None:
        if len(rest) not in (1, 2):
            _refuse(line, "must be: log VKEY [URL]")
        self.logs.append(self._key(line, rest[0], "log"))

    def _take_witness(self, line: int, rest: list[str]) -> None:
        if len(rest) not in (2, 3):
            _refuse(line, "must be: witness NAME VKEY [URL]")
        self._define(line, rest[0])
        self.witnesses.append(PolicyWitness(rest[0], self._key(line, rest[1], "cosigner")))

    def _take_group(self, line: int, rest: list[str]) -> None:
        label, count, members = (rest[0], rest[1], rest[2:]) if len(rest) > 2 else ("", "", [])
        if not members:
            _refuse(line, "must be: group NAME all|any|K NAME…")
        threshold = {"all": len(members), "any": 1}.get(count)
        if threshold is None and _COUNT.fullmatch(count) is not None:
            threshold = int(count)
        if threshold is None or threshold > len(members):
            _refuse(line, f"of {len(members)} must be all, any or a number from 1 to {len(members)}")
        for member in members:
            if member not in self.labels:
                _refuse(line, "a member must be defined on a line before")
            if member not in self.free:
                _refuse(line, "a witness or group is a member once at most")
            self.free.remove(member)
        self._define(line, label)
        self.groups[label] = Group(threshold, tuple(members))

    def _take_quorum(self, line: int, rest: list[str]) -> None:
        if len(rest) != 1:
            _refuse(line, "must be: quorum NAME")
        if self.has_quorum:
            _refuse(line, "there is one quorum line")
        if rest[0] != "none" and rest[0] not in self.labels:
            _refuse(line, "must be defined on a line before")
        self.has_quorum = True
        self.quorum = None if rest[0] == "none" else rest[0]

    def _define(self, line: int, label: str) -> None:
        if label == "none":
            _refuse(line, "none is a name of its own")
        if label in self.labels:
            _refuse(line, "a name is defined once")
        self.labels.add(label)
        self.free.add(label)

    def _key(self, line: int, word: str, use: str) -> VerifierKey:
        try:
            text = word.encode("latin-1").decode("utf-8", "strict")
        except UnicodeDecodeError:
            _refuse(line, "a key's name must be UTF-8")
        try:
            key = parse_verifier_key(text)
        except MalformedCheckpoint as cause:
            _refuse(line, cause.rule)
        if key.use != use:
            _refuse(line, f"the key must be one of a {use}")
        if (use, key.public_key) in self.keys:
            _refuse(line, f"a {use}'s key stands once")
        self.keys.add((use, key.public_key))
        return key


def parse_policy(data: bytes) -> Policy:
    """Raises MalformedCheckpoint naming the line."""
    if len(data) > NOTE_BYTES_MAX:
        _refuse(1, f"a policy has at most {NOTE_BYTES_MAX} bytes")
    reading = _Reading()
    # Octets as characters: names are opaque, and compared as they are.
    lines = data.decode("latin-1").split("\n")
    if lines.pop() != "":
        _refuse(len(lines) + 1, "must end in a newline")
    taken = 0
    for number, line in enumerate(lines, start=1):
        if _CONTROL.search(line) is not None:
            _refuse(number, "must hold no control character")
        words = [word for word in re.split(r"[ \t]+", line) if word != ""]
        if not words or words[0].startswith("#"):
            continue
        taken += 1
        if taken > POLICY_LINES_MAX:
            _refuse(number, f"a policy defines at most {POLICY_LINES_MAX} things")
        reading.take(number, words)
    if not reading.has_quorum:
        _refuse(len(lines), "there is no quorum line")
    return Policy(tuple(reading.logs), tuple(reading.witnesses), reading.groups, reading.quorum)


def is_quorum(policy: Policy, cosigned: Set[str]) -> bool:
    """Whether the witnesses with these labels are enough."""
    holds = {witness.label: witness.label in cosigned for witness in policy.witnesses}
    # Members are defined before their group, so one pass in the order of definition is enough.
    for label, group in policy.groups.items():
        holds[label] = sum(holds[member] for member in group.members) >= group.threshold
    return policy.quorum is None or holds[policy.quorum]


def verify_by_policy(text: str, policy: Policy) -> tuple[Checkpoint, tuple[str, ...]]:
    """Verifies a note by a policy alone: one of its logs signed it, and a quorum of its witnesses cosigned
    it.

    Gives the checkpoint and the key names of the witnesses that cosigned. Raises MalformedCheckpoint, also if
    a line of a known key does not verify.
    """
    note = parse_note(text)
    origin = note.text[: note.text.index("\n")]
    log = next((log for log in policy.logs if log.name == origin), None)
    if log is None:
        raise MalformedCheckpoint("is of a log that the policy does not name")
    checkpoint = verify_checkpoint(text, TrustedLog(origin, log.public_key))
    cosigners = [Cosigner(each.key.name, each.key.public_key) for each in policy.witnesses]
    cosigned = verify_cosigners(note, cosigners)
    labels = {each.label for each in policy.witnesses if each.key.name in cosigned}
    if not is_quorum(policy, labels):
        raise MalformedCheckpoint("is not cosigned by a quorum of the policy's witnesses")
    return checkpoint, cosigned
