"""What a witness signs about a proposal, with a key that never leaves this process. Only the bytes of the body count:
the rest of a proposal is a server's view of them. Pure. Source: docs/spec/record.md §4, docs/spec/quorum.md §2 and §4.
"""

from __future__ import annotations

from typing import Literal, NoReturn, TypeAlias

import grpc

from .errors import SigilError
from .messages import canon_v1
from .tokens import PrivateKey, parse_private_key, public_key_bytes
from .verify import ProofError, RecordBody, decode_body
from .verify.cose.statement import (
    ATTESTATION_CONTENT_TYPE,
    ProtectedHeader,
    encode_protected,
    encode_statement,
    key_thumbprint,
    to_be_signed,
)
from .verify.crypto import sha256
from .verify.limits import SAFE_INTEGER_MAX
from .verify.record.attestation import Attestation, encode_attestation

Vote: TypeAlias = "Literal['approve', 'reject']"


def _refuse(rule: str) -> NoReturn:
    raise SigilError(grpc.StatusCode.FAILED_PRECONDITION, f"not signed: {rule}", reason="PROPOSAL_REFUSED")


def read_proposal(proposal: canon_v1.Proposal, *, origin: str) -> RecordBody:
    """The body that would be committed, to be reviewed before it is signed. `origin` is the deployment's, known from
    elsewhere. Raises SigilError for a proposal that shows something else than its bytes, or is another deployment's.
    """
    if origin == "" or proposal.origin != origin:
        _refuse(f"the proposal is for {proposal.origin!r} and not for {origin!r}")
    if proposal.epoch > SAFE_INTEGER_MAX:
        _refuse("its epoch is no epoch")
    if sha256(proposal.body) != proposal.record_hash:
        _refuse("the hash of the proposal is not that of its body")
    try:
        body = decode_body(proposal.body)
    except ProofError as error:
        _refuse(f"its body is no record: {error}")
    if (body.id, body.kind) != (proposal.record_id, proposal.kind):
        _refuse("id or kind of its body are not those that are shown")
    linked = {link.target for link in body.links}
    if any(sha256(other) not in linked for other in getattr(proposal, "with")):
        _refuse("its body does not link to every body that comes with it")
    return body


def sign_attestation(
    proposal: canon_v1.Proposal, vote: Vote, private_key: PrivateKey, *, origin: str
) -> bytes:
    """The statement of whoever holds the key about the exact body of a proposal. Needs no network. Raises
    SigilError.
    """
    if vote not in ("approve", "reject"):
        _refuse('a vote is "approve" or "reject"')
    key = parse_private_key(private_key)
    read_proposal(proposal, origin=origin)
    if proposal.state != canon_v1.PROPOSAL_STATE_OPEN:
        _refuse("the proposal is not open")
    try:
        payload = encode_attestation(Attestation(proposal.id, sha256(proposal.body), proposal.epoch, vote))
        protected = encode_protected(
            ProtectedHeader(
                content_type=ATTESTATION_CONTENT_TYPE,
                kid=key_thumbprint(public_key_bytes(key.public_key())),
                origin=origin,
                subject=proposal.id,
            )
        )
    except ProofError as error:
        _refuse(str(error))
    return encode_statement(protected, payload, key.sign(to_be_signed(protected, payload)))
