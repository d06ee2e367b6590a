"""What a decision's record says, of whichever version, with what was disclosed of it. Pure.

Source: docs/spec/record.md §6 and §7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .body import RecordBody
from .commitment import Disclosures, parse_digest_value
from .fields import refuse_field
from .kinds.frozen_chain import DecisionRequest, parse_frozen_chain, parse_frozen_chain_1, score_of
from .kinds.governance import parse_principal
from .kinds.trust_model import ReviewBand
from .names import PRINCIPAL_PREFIX

MODEL_LABEL: Final = "model"
PRINCIPAL_LABEL: Final = "principal"


@dataclass(frozen=True)
class Decision:
    """A recorded decision. Numbers are None if the evaluator gave none."""

    request: DecisionRequest
    tenant: str
    input_length: int | None
    """In bytes; None where it is committed to and not disclosed."""
    input: bytes | None
    """The raw input, if it was kept and disclosed."""
    features: dict[str, float]
    contributions: dict[str, float]
    model: str
    model_hash: bytes | None
    z: float | None
    """In logits."""
    score: float | None
    threshold: float | None
    review: ReviewBand | None
    verdict: str
    reason: str
    caller_seq: int | None
    """The number of this decision among its caller's in the tenant, from 1; None for anonymous callers."""


def read_decision(body: RecordBody, disclosures: Disclosures | None = None) -> Decision:
    """`disclosures` were already checked against the record. Raises MalformedRecord."""
    if body.schema_version == 1:
        old = parse_frozen_chain_1(body.payload)
        return Decision(
            request=old.request,
            tenant=old.tenant,
            input_length=old.input_bytes,
            input=old.input,
            features=old.features,
            contributions=old.contributions,
            model=old.model,
            model_hash=old.model_hash,
            z=old.z,
            score=old.score,
            threshold=old.threshold,
            review=old.review,
            verdict=old.verdict,
            reason=old.reason,
            caller_seq=None,
        )
    chain = parse_frozen_chain(body.payload)
    model_hash = body.link_to(MODEL_LABEL)
    if chain.verdict == "allow" and model_hash is None:
        refuse_field("links", "", "must name the model of a decision that allows")
    opening = (disclosures or {}).get("input")
    length = None
    if opening is not None:
        length = parse_digest_value(opening.value, "disclosures.input.value").length
    return Decision(
        request=chain.request,
        tenant=body.tenant,
        input_length=length,
        input=None if opening is None else opening.raw,
        features=chain.features,
        contributions=chain.contributions,
        model=chain.model,
        model_hash=model_hash,
        z=chain.z,
        score=None if chain.z is None else score_of(chain.z),
        threshold=chain.threshold,
        review=chain.review,
        verdict=chain.verdict,
        reason=chain.reason,
        caller_seq=chain.caller_seq,
    )


def is_principal_of(body: RecordBody, subject: str) -> bool:
    """Whether it is the record of the principal that a decision is about."""
    place = "" if body.space == "system" else f"{body.tenant}/"
    if body.kind != "principal" or not subject.startswith(place):
        return False
    name = subject[len(place) :]
    principal = parse_principal(body.payload, body.schema_version)
    if body.id == PRINCIPAL_PREFIX + name:
        return principal.principal_id is None
    return principal.principal_id == name
