"""Verifies one record with its proof in named steps, from the genesis hash. Pure. Source: docs/spec/verify.md
§4.

The form of proof that an answer carries: an envelope, a path, a checkpoint, and the key records besides.
"""

from __future__ import annotations

from typing import Final

from ..errors import ProofError, RecordCorrupt, rule_of
from ..keys.ring import RingKey
from ..merkle.checkpoint import parse_checkpoint
from ..merkle.note import parse_note
from ..record.body import RecordBody
from .grounds import Noted, Trust, take_checkpoint, take_keys, take_trust
from .opening import OpenedRecord, open_record, read_record, require_inclusion, require_signature, signer_of
from .steps import StepList, refuse
from .verifying import EvidenceRecord, Findings, Verdict
from .walk import RecordEvidence

RECORD_STEPS: Final = (
    "genesis",
    "keys",
    "envelope",
    "key",
    "signature",
    "schema",
    "inclusion",
    "checkpoint",
    "policy",
    "trust",
)
"""In order, named as `recordSteps` of the core names those of a record."""


def verify_record(evidence: RecordEvidence, trust: Trust) -> Verdict:
    """Never raises on what the record and its proof hold. A decision is not worked out again: its model is
    not here.
    """
    steps, findings = StepList(RECORD_STEPS), Findings()
    try:
        _take_steps(steps, findings, evidence, trust)
    except RecordCorrupt as error:
        steps.refuse(rule_of(error))
    except ProofError as error:
        steps.refuse(str(error))
    return Verdict(tuple(steps.steps), findings, steps.holds)


def _take_steps(steps: StepList, findings: Findings, evidence: RecordEvidence, trust: Trust) -> None:
    if not evidence.key_records:
        refuse("the key records are missing, genesis first")
    of_keys = [open_record(each.position, each.envelope) for each in evidence.key_records]
    origin = of_keys[0].statement.origin
    findings.genesis, ring = take_keys(steps, of_keys, origin, trust.genesis)

    def envelope_step() -> tuple[OpenedRecord, str]:
        opened = open_record(evidence.position, evidence.envelope)
        return opened, f"{len(evidence.envelope)} bytes at position {evidence.position}"

    record = steps.take("envelope", envelope_step)

    def key_step() -> tuple[RingKey, str]:
        found = signer_of(record, ring)
        return found, f"{found.thumbprint.hex()}, valid from position {found.first_position}"

    key = steps.take("key", key_step)

    def signature_step() -> tuple[None, str]:
        require_signature(record, key.public_key)
        return None, "Ed25519"

    steps.take("signature", signature_step)

    def schema_step() -> tuple[RecordBody, str]:
        read = read_record(record, origin)
        return read, f"{read.kind} {read.id}"

    body = steps.take("schema", schema_step)
    findings.record = EvidenceRecord(record.position, record.hash, body)

    def inclusion_step() -> tuple[None, str]:
        checkpoint = parse_checkpoint(parse_note(evidence.checkpoint).text)
        require_inclusion(record, checkpoint.size, checkpoint.root, evidence.inclusion_proof)
        findings.checkpoint = checkpoint
        return None, f"in the tree of {checkpoint.size}"

    steps.take("inclusion", inclusion_step)
    checkpoint = parse_checkpoint(parse_note(evidence.checkpoint).text)
    noted = Noted(origin, evidence.checkpoint, checkpoint)
    findings.cosigned = take_checkpoint(steps, ring, noted, trust.policy)
    take_trust(steps, trust)
