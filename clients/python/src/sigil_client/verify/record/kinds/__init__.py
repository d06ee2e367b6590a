"""Every kind of record that has a schema, and the check of a payload. Pure. Source: docs/spec/record.md §6.

A kind without a schema is user data, and only the user space holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...cbor import CborValue
from ..fields import refuse_field
from .canon import (
    parse_attestation_record,
    parse_flip_report,
    parse_proposal,
    parse_proposal_ending,
    parse_schema,
    parse_tombstone,
)
from .frozen_chain import parse_frozen_chain, parse_frozen_chain_1
from .genesis import parse_genesis
from .governance import (
    parse_key_retirement,
    parse_principal,
    parse_quorum,
    parse_signing_key,
    parse_witness,
)
from .modules import parse_module, parse_module_run, parse_module_run_1
from .operations import (
    parse_caller_head,
    parse_erased,
    parse_erasure,
    parse_feed_grant,
    parse_restoration,
    parse_suspension,
)
from .trust_model import parse_trust_model

Parse = Callable[[CborValue], object]


@dataclass(frozen=True)
class _Schema:
    """Governing kinds are trusted by kind alone, so only the system space holds them."""

    is_system: bool
    versions: tuple[Parse, ...]
    """From 1. Unknown versions are refused."""


_SCHEMAS: Final[dict[str, _Schema]] = {
    "genesis": _Schema(True, (parse_genesis,)),
    "signing_key": _Schema(
        True, (lambda payload: parse_signing_key(payload, 1), lambda payload: parse_signing_key(payload, 2))
    ),
    "frozen_chain": _Schema(False, (parse_frozen_chain_1, parse_frozen_chain)),
    "trust_model": _Schema(True, (parse_trust_model,)),
    "principal": _Schema(
        False, (lambda payload: parse_principal(payload, 1), lambda payload: parse_principal(payload, 2))
    ),
    "witness": _Schema(True, (parse_witness,)),
    "quorum": _Schema(True, (parse_quorum,)),
    "module": _Schema(True, (parse_module,)),
    "module_run": _Schema(False, (parse_module_run_1, parse_module_run)),
    "proposal": _Schema(False, (parse_proposal,)),
    "attestation": _Schema(False, (parse_attestation_record,)),
    "schema": _Schema(True, (parse_schema,)),
    "key_retirement": _Schema(
        True,
        (lambda payload: parse_key_retirement(payload, 1), lambda payload: parse_key_retirement(payload, 2)),
    ),
    "restoration": _Schema(True, (parse_restoration,)),
    "erasure": _Schema(True, (parse_erasure,)),
    "erased": _Schema(True, (parse_erased,)),
    "suspension": _Schema(True, (parse_suspension,)),
    "feed_grant": _Schema(True, (parse_feed_grant,)),
    "caller_head": _Schema(False, (parse_caller_head,)),
    "flip_report": _Schema(False, (parse_flip_report,)),
    "tombstone": _Schema(False, (parse_tombstone,)),
    "proposal_ending": _Schema(False, (parse_proposal_ending,)),
}

KNOWN_KINDS: Final = tuple(_SCHEMAS)


def check_payload(kind: str, space: str, payload: CborValue, schema_version: int) -> None:
    """Raises MalformedRecord if the kind may not be in the space, or its version or a field breaks a rule."""
    schema = _SCHEMAS.get(kind)
    if schema is None:
        if space == "system":
            refuse_field("kind", "", "is unknown and the system space holds known kinds only")
        return
    if schema.is_system and space != "system":
        refuse_field("space", "", f"must be system for kind {kind}")
    if not 1 <= schema_version <= len(schema.versions):
        known = " or ".join(str(version) for version in range(1, len(schema.versions) + 1))
        refuse_field("schema_version", "", f"must be {known} for kind {kind}")
    schema.versions[schema_version - 1](payload)
