"""Verifies an evidence file in named steps, from the file alone and from what its reader trusts. Pure.

Source: docs/spec/verify.md §2. No network, no clock; one signature per record and cosignature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..cbor import decode
from ..errors import ProofError
from ..keys.ring import KeyRing
from ..merkle.checkpoint import Checkpoint, parse_checkpoint
from ..merkle.note import parse_note
from ..model.recompute import Replay
from ..record.body import RecordBody
from ..record.commitment import Disclosures, read_disclosures
from ..record.decision import PRINCIPAL_LABEL, Decision, is_principal_of, read_decision
from ..record.kinds.governance import parse_quorum
from ..record.names import QUORUM_ID, WITNESS_PREFIX
from .file import Evidence, parse_evidence
from .grounds import (
    Noted,
    Trust,
    describe_replay,
    is_of_keys,
    replay_of,
    take_checkpoint,
    take_keys,
    take_trust,
)
from .opening import OpenedRecord, open_record, read_record, require_inclusion, require_signature, signer_of
from .steps import Step, StepList, counted, refuse

EVIDENCE_STEPS: Final = (
    "file",
    "genesis",
    "keys",
    "signature",
    "record",
    "disclosures",
    "inclusion",
    "checkpoint",
    "policy",
    "decision",
    "trust",
)
"""In order. A file is refused by the first that does not hold; those after it are not tried."""


@dataclass(frozen=True)
class EvidenceRecord:
    position: int
    hash: bytes
    body: RecordBody


@dataclass(frozen=True)
class Registry:
    quorum: EvidenceRecord
    witnesses: tuple[EvidenceRecord, ...]


@dataclass
class Findings:
    """What was found, as far as the steps held. Nothing of it counts unless all of them do."""

    genesis: bytes | None = None
    checkpoint: Checkpoint | None = None
    record: EvidenceRecord | None = None
    decision: Decision | None = None
    model: EvidenceRecord | None = None
    principal: EvidenceRecord | None = None
    registry: Registry | None = None
    replay: Replay | None = None
    cosigned: tuple[str, ...] | None = None
    """Names of the policy's witnesses that cosigned."""


@dataclass(frozen=True)
class Verdict:
    """What a verification came to. True only if every step holds."""

    steps: tuple[Step, ...]
    findings: Findings
    holds: bool

    def __bool__(self) -> bool:
        return self.holds

    @property
    def failed(self) -> Step | None:
        """The step that refused; None if all hold."""
        return next((step for step in self.steps if step.outcome == "failed"), None)

    def require(self) -> Findings:
        """What was found, if every step holds. Raises ProofError naming the step that does not."""
        if not self.holds:
            failed = self.failed
            raise ProofError("not verified" if failed is None else f"{failed.name}: {failed.detail}")
        return self.findings


@dataclass(frozen=True)
class _File:
    evidence: Evidence
    opened: tuple[OpenedRecord, ...]
    asked: OpenedRecord
    checkpoint: Checkpoint


def _read_file(data: bytes) -> _File:
    evidence = parse_evidence(data)
    checkpoint = parse_checkpoint(parse_note(evidence.checkpoint).text)
    opened = tuple(open_record(each.position, each.envelope) for each in evidence.records)
    asked = next(record for record in opened if record.position == evidence.position)
    return _File(evidence, opened, asked, checkpoint)


def _check_signatures(file: _File, ring: KeyRing) -> int:
    """Step `signature`. Gives how many were verified."""
    # Those of the walk were verified in it, by the ring of their moment: a key may have been retired since.
    others = [record for record in file.opened if not is_of_keys(record)]
    for record in others:
        require_signature(record, signer_of(record, ring).public_key)
    return len(others)


def _registry_in(records: Sequence[EvidenceRecord]) -> Registry | None:
    quorums = [each for each in records if each.body.space == "system" and each.body.id == QUORUM_ID]
    if not quorums:
        return None
    if len(quorums) > 1:
        refuse("there is more than one registry")
    witnesses: list[EvidenceRecord] = []
    for witness in parse_quorum(quorums[0].body.payload).witnesses:
        record_id = WITNESS_PREFIX + witness
        found = [each for each in records if each.body.kind == "witness" and each.body.id == record_id]
        if not found:
            refuse(f"the registry names {record_id}, whose record is missing")
        witnesses.append(found[0])
    return Registry(quorums[0], tuple(witnesses))


def _principal_of(
    asked: EvidenceRecord, decision: Decision, earlier: Sequence[EvidenceRecord]
) -> EvidenceRecord | None:
    """That which the decision links to, or for a decision of version 1, which links to none, any of the
    subject.
    """
    linked, is_first = asked.body.link_to(PRINCIPAL_LABEL), asked.body.schema_version == 1
    for record in earlier:
        if (is_first or record.hash == linked) and is_principal_of(record.body, decision.request.subject):
            return record
    return None


def _model_of(decision: Decision, earlier: Sequence[EvidenceRecord]) -> EvidenceRecord | None:
    if decision.model_hash is None:
        return None
    model = next((each for each in earlier if each.hash == decision.model_hash), None)
    if model is None:
        refuse(f"the decision names the model {decision.model_hash.hex()}, which is missing")
    if model.body.kind != "trust_model":
        refuse("what the decision names is no model")
    return model


def _check_records(file: _File, findings: Findings) -> tuple[EvidenceRecord, str]:
    """Step `record`: what each record is there for. One that is there for nothing is refused. Gives the
    detail.
    """
    asked_at = file.asked.position
    others = [each for each in file.opened if each is not file.asked and not is_of_keys(each)]
    for other in others:
        if other.position > asked_at:
            refuse(f"the record at position {other.position} is later than the one it is for")

    def read(record: OpenedRecord) -> EvidenceRecord:
        return EvidenceRecord(record.position, record.hash, read_record(record, file.evidence.origin))

    asked, earlier = read(file.asked), [read(record) for record in others]
    decision = read_decision(asked.body) if asked.body.kind == "frozen_chain" else None
    model = None if decision is None else _model_of(decision, earlier)
    principal = None if decision is None else _principal_of(asked, decision, earlier)
    registry = _registry_in(earlier)
    governing = () if registry is None else (registry.quorum, *registry.witnesses)
    needed = {each.position for each in (model, principal, *governing) if each is not None}
    idle = next((each for each in earlier if each.position not in needed), None)
    if idle is not None:
        refuse(f"nothing needs the record at position {idle.position}")
    findings.record, findings.decision = asked, decision
    findings.model, findings.principal, findings.registry = model, principal, registry
    roles = [
        f"{asked.body.kind} {asked.body.id} at position {asked.position}",
        *([] if model is None else [f"model at {model.position}"]),
        *([] if principal is None else [f"principal at {principal.position}"]),
        *([] if registry is None else [f"registry at {registry.quorum.position}"]),
    ]
    return asked, ", ".join(roles)


def _check_disclosures(data: bytes, record: EvidenceRecord) -> Disclosures:
    disclosures = read_disclosures(decode(data), record.body)
    return disclosures if disclosures else refuse("it discloses nothing")


def _take_record(steps: StepList, file: _File, ring: KeyRing, findings: Findings) -> None:
    """Steps `signature` to `inclusion`."""

    def signature_step() -> tuple[None, str]:
        count = _check_signatures(file, ring)
        return None, f"{counted(count, 'record')} besides those of the keys"

    def disclosures_step() -> tuple[None, str]:
        disclosures = _check_disclosures(file.evidence.disclosures or b"", asked)
        if findings.decision is not None:
            findings.decision = read_decision(asked.body, disclosures)
        return None, ", ".join(sorted(disclosures))

    def inclusion_step() -> tuple[None, str]:
        for record, proven in zip(file.opened, file.evidence.records, strict=True):
            require_inclusion(record, file.checkpoint.size, file.checkpoint.root, proven.proof)
        return None, f"{counted(len(file.opened), 'record')} in the tree of {file.checkpoint.size}"

    steps.take("signature", signature_step)
    asked = steps.take("record", lambda: _check_records(file, findings))
    if file.evidence.disclosures is None:
        steps.skip("disclosures", "the file holds none")
    else:
        steps.take("disclosures", disclosures_step)
    steps.take("inclusion", inclusion_step)


def take_decision(steps: StepList, findings: Findings) -> None:
    """Step `decision`."""
    decision, model = findings.decision, findings.model
    if decision is None:
        steps.skip("decision", "the record is no decision")
        return
    asked = decision

    def decision_step() -> tuple[None, str]:
        payload = None if model is None else model.body.payload
        findings.replay = replay_of(asked, payload, has_model=model is not None)
        return None, describe_replay(findings.replay)

    steps.take("decision", decision_step)


def verify_evidence(data: bytes, trust: Trust) -> Verdict:
    """Never raises on what a file holds."""
    steps, findings = StepList(EVIDENCE_STEPS), Findings()

    def file_step() -> tuple[_File, str]:
        file = _read_file(data)
        count = counted(len(file.opened), "record")
        return file, f"{len(data)} bytes, {count}, tree of {file.checkpoint.size}"

    try:
        file = steps.take("file", file_step)
        evidence, checkpoint = file.evidence, file.checkpoint
        of_keys = [record for record in file.opened if is_of_keys(record)]
        genesis, ring = take_keys(steps, of_keys, evidence.origin, trust.genesis)
        findings.genesis, findings.checkpoint = genesis, checkpoint
        _take_record(steps, file, ring, findings)
        noted = Noted(evidence.origin, evidence.checkpoint, checkpoint)
        findings.cosigned = take_checkpoint(steps, ring, noted, trust.policy)
        take_decision(steps, findings)
        take_trust(steps, trust)
    except ProofError as error:
        steps.refuse(str(error))
    return Verdict(tuple(steps.steps), findings, steps.holds)
