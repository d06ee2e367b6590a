"""What verification refuses with: one exception for each kind of broken thing. Pure.

An error never holds a payload, a key or a secret: names, numbers and rules only.
"""

from __future__ import annotations


class ProofError(Exception):
    """Something does not verify. The message says what, where, and the rule."""


class MalformedCbor(ProofError):
    """Bytes outside the profile of canonical CBOR. `offset` in bytes from the start."""

    def __init__(self, offset: int, rule: str) -> None:
        super().__init__(f"malformed CBOR at offset {offset}: {rule}")
        self.offset = offset
        self.rule = rule


class UnencodableValue(ProofError):
    """A value that has no canonical encoding. `path` is a JSON pointer into the value."""

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f'value at "{path}" cannot be encoded: {rule}')
        self.path = path
        self.rule = rule


class MalformedCose(ProofError):
    """Bytes that are no statement, attestation or receipt."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"malformed COSE_Sign1: {rule}")
        self.rule = rule


class MalformedRecord(ProofError):
    """A record whose field breaks a rule; `field` is dotted, indexes in brackets."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"malformed record: {field} {rule}")
        self.field = field
        self.rule = rule


class MalformedKey(ProofError):
    """A key that may not be in the ring, or a retirement that may not be."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"malformed key: {rule}")
        self.rule = rule


class MalformedCheckpoint(ProofError):
    """A note, checkpoint, verifier key, policy or proof file that breaks a rule."""

    def __init__(self, rule: str) -> None:
        super().__init__(f"malformed checkpoint: {rule}")
        self.rule = rule


class MalformedModel(ProofError):
    """A trust model that breaks a rule."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"malformed model: {field} {rule}")
        self.field = field
        self.rule = rule


class RecordCorrupt(ProofError):
    """A record that fails verification; `step` is the step that failed."""

    def __init__(self, position: int, step: str, rule: str) -> None:
        super().__init__(f"record at position {position} fails {step}: {rule}")
        self.position = position
        self.step = step
        self.rule = rule


class ForkError(ProofError):
    """The ledger has two pasts: both checkpoints are signed, and no tree holds both. Keep them: they prove
    it.
    """

    def __init__(self, known: str, newer: str, rule: str) -> None:
        super().__init__(f"the newer tree does not begin with the known one: {rule}")
        self.known = known
        self.newer = newer
        self.rule = rule


def rule_of(error: ProofError) -> str:
    """The rule alone, with the field of a record."""
    if isinstance(error, MalformedRecord):
        return f"{error.field} {error.rule}"
    return str(getattr(error, "rule", error))
