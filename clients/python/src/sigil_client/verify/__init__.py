"""Verification without a server: evidence files, records with their proofs, keys, quorums.

Written from docs/spec, with none of the server's code, and without gRPC or protobuf. Pure: no network, no
clock, no files. Anything that does not verify is False, or raises `ProofError`; nothing here says yes by
default.

    verdict = verify(Path("decision.sigil").read_bytes(), Trust.of(genesis="5be4f6a1…"))
    if verdict:
        print(verdict.findings.record)
"""

from __future__ import annotations

from .errors import (
    ForkError,
    MalformedCbor,
    MalformedCheckpoint,
    MalformedCose,
    MalformedKey,
    MalformedModel,
    MalformedRecord,
    ProofError,
    RecordCorrupt,
    UnencodableValue,
)
from .evidence.answer import Answer, Question, verify_answer
from .evidence.completeness import AskedSpan, CompletenessProof, check_completeness
from .evidence.grounds import Trust
from .evidence.key_walk import KeyRecord
from .evidence.record_verifying import RECORD_STEPS, verify_record
from .evidence.steps import Step
from .evidence.verifying import EVIDENCE_STEPS, EvidenceRecord, Findings, Verdict, verify_evidence
from .evidence.walk import Inclusion, KeyWalk, RecordEvidence, VerifiedRecord, VerifiedTree
from .keys.ring import KeyRing, RingKey
from .merkle.checkpoint import Checkpoint
from .merkle.policy import Policy, parse_policy
from .model.recompute import Replay, ReplayedValue
from .pack.verifying import PACK_STEPS, PackFindings, PackVerdict, verify_pack
from .quorum.counting import Attested, EnrolledKey, ProposalFacts, RefusedAttestation, count_attestations
from .quorum.registry import EnrolledWitness, Registry, registry_of
from .record.body import Link, RecordBody, decode_body, encode_body
from .record.decision import Decision

__all__ = [
    "EVIDENCE_STEPS",
    "PACK_STEPS",
    "RECORD_STEPS",
    "Answer",
    "AskedSpan",
    "Attested",
    "Checkpoint",
    "CompletenessProof",
    "Decision",
    "EnrolledKey",
    "EnrolledWitness",
    "EvidenceRecord",
    "Findings",
    "ForkError",
    "Inclusion",
    "KeyRecord",
    "KeyRing",
    "KeyWalk",
    "Link",
    "MalformedCbor",
    "MalformedCheckpoint",
    "MalformedCose",
    "MalformedKey",
    "MalformedModel",
    "MalformedRecord",
    "PackFindings",
    "PackVerdict",
    "Policy",
    "ProofError",
    "ProposalFacts",
    "Question",
    "RecordBody",
    "RecordCorrupt",
    "RecordEvidence",
    "RefusedAttestation",
    "Registry",
    "Replay",
    "ReplayedValue",
    "RingKey",
    "Step",
    "Trust",
    "UnencodableValue",
    "Verdict",
    "VerifiedRecord",
    "VerifiedTree",
    "check_completeness",
    "count_attestations",
    "decode_body",
    "encode_body",
    "parse_policy",
    "registry_of",
    "verify",
    "verify_answer",
    "verify_evidence",
    "verify_pack",
    "verify_record",
]


def verify(evidence: bytes | RecordEvidence, trust: Trust) -> Verdict:
    """Verifies an evidence file, or a record with its proof, from what the reader trusts. No server is asked.

    Never raises on what the evidence holds. The verdict is True only if every step holds; `require()` raises
    otherwise.
    """
    if isinstance(evidence, RecordEvidence):
        return verify_record(evidence, trust)
    return verify_evidence(bytes(evidence), trust)
