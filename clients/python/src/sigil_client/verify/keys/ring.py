"""The key ring, and the records that change it. Pure. Source: docs/spec/keys.md.

A key named inside a record or a token is only a hint; the ring says which key may sign what, where.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from ..cose.statement import key_thumbprint, mldsa44_key_thumbprint
from ..errors import MalformedKey, MalformedRecord, ProofError
from ..record.body import RecordBody
from ..record.kinds.genesis import GenesisPayload
from ..record.kinds.governance import MLDSA44_ROLE, parse_key_retirement, parse_signing_key
from ..record.names import KEY_RETIREMENT_PREFIX, SIGNING_KEY_PREFIX


@dataclass(frozen=True)
class RingKey:
    role: str
    public_key: bytes
    thumbprint: bytes
    """Its COSE key thumbprint: the kid of what it signs."""
    first_position: int
    last_position: int | None = None
    """None while it is in use."""
    retired_from: int | None = None
    """Signatures at or after this position count for nothing; None unless it was retired."""

    @property
    def state(self) -> str:
        if self.retired_from is not None:
            return "retired"
        return "active" if self.last_position is None else "ended"


class SignerRefused(ProofError):
    """No key is believed there; the message is the rule."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def thumbprint_of(role: str, public_key: bytes) -> bytes:
    return mldsa44_key_thumbprint(public_key) if role == MLDSA44_ROLE else key_thumbprint(public_key)


def checkpoint_position(size: int) -> int:
    """The position at which a checkpoint of that size stands."""
    return max(0, size - 1)


@dataclass(frozen=True)
class KeyRing:
    keys: tuple[RingKey, ...] = ()
    """Oldest first."""

    @staticmethod
    def of_genesis(payload: GenesisPayload) -> KeyRing:
        ring = KeyRing().with_key("record", payload.record_key, 0)
        return ring.with_key("checkpoint", payload.checkpoint_key, 0)

    def newest(self, role: str) -> RingKey | None:
        return next((key for key in reversed(self.keys) if key.role == role), None)

    def with_key(self, role: str, public_key: bytes, first_position: int) -> KeyRing:
        """The role's previous key ends at the position before. Raises MalformedKey."""
        thumbprint = thumbprint_of(role, public_key)
        if any(key.thumbprint == thumbprint for key in self.keys):
            raise MalformedKey("is already in the key ring: a key serves one role, once")
        before = self.newest(role)
        if before is not None and first_position <= before.first_position:
            raise MalformedKey(f"must be valid from a position after {before.first_position}")
        ended = tuple(
            replace(key, last_position=first_position - 1) if key is before else key for key in self.keys
        )
        return KeyRing((*ended, RingKey(role, public_key, thumbprint, first_position)))

    def without_trust(self, role: str, public_key: bytes, retired_from: int) -> KeyRing:
        """Limits trust in a key that ended to positions below. Raises MalformedKey."""
        key = next((each for each in self.keys if each.public_key == public_key), None)
        if key is None:
            raise MalformedKey("is not in the key ring")
        if key.role != role:
            raise MalformedKey(f"is a {key.role} key, not a {role} key")
        if key.last_position is None:
            raise MalformedKey("is in use: a key is retired after its successor was announced")
        if retired_from <= key.first_position:
            rule = f"can be retired from a position after {key.first_position}, where it began"
            raise MalformedKey(rule)
        if key.retired_from is not None and retired_from >= key.retired_from:
            raise MalformedKey(f"is retired from position {key.retired_from} already")
        last = min(key.last_position, retired_from - 1)
        limited = replace(key, last_position=last, retired_from=retired_from)
        return KeyRing(tuple(limited if each is key else each for each in self.keys))

    def office_holder(self, role: str, position: int) -> RingKey | None:
        """The role's key that signed at a position, whether or not it was retired later."""
        held = (key for key in reversed(self.keys) if key.role == role and key.first_position <= position)
        return next(held, None)

    def signer(self, role: str, kid: bytes, position: int) -> RingKey:
        """The key of `kid` if it may sign for `role` at `position`. Raises SignerRefused."""
        key = next((each for each in reversed(self.keys) if each.thumbprint == kid), None)
        if key is None:
            raise SignerRefused("signed by a key outside the key ring")
        if key.role != role:
            raise SignerRefused(f"signed by a {key.role} key, needs a {role} key")
        if position < key.first_position:
            raise SignerRefused(f"signed by a key that is valid from position {key.first_position}")
        if key.last_position is not None and position > key.last_position:
            raise SignerRefused(f"signed by a key that was valid up to position {key.last_position}")
        return key

    def checkpoint_keys(self, size: int) -> tuple[RingKey, RingKey | None]:
        """The key by which a checkpoint of that size is signed, and the ML-DSA-44 key by which it may be as
        well.

        An ML-DSA-44 key that is not believed there is left out, and its line with it. Raises SignerRefused.
        """
        position = checkpoint_position(size)
        holder = self.office_holder("checkpoint", position)
        if holder is None:
            raise SignerRefused(f"no key signs checkpoints of size {size}")
        try:
            key = self.signer("checkpoint", holder.thumbprint, position)
        except SignerRefused as refused:
            raise SignerRefused(f"the checkpoint of size {size} is {refused.rule}") from None
        beside = self.office_holder(MLDSA44_ROLE, position)
        if beside is not None:
            try:
                return key, self.signer(MLDSA44_ROLE, beside.thumbprint, position)
            except SignerRefused:
                pass
        return key, None


def is_key_record(body: RecordBody) -> bool:
    """Whether a record changes the ring for later records."""
    return body.space == "system" and body.kind in ("signing_key", "key_retirement")


_VALID_FROM_RULE: Final = "must be the position after the record's"


def apply_key_record(ring: KeyRing, position: int, body: RecordBody) -> KeyRing:
    """The ring after a verified key record. Raises MalformedRecord, MalformedKey."""

    def refuse(field: str, rule: str) -> NoReturn:
        raise MalformedRecord(field, rule)

    if body.kind == "signing_key":
        key = parse_signing_key(body.payload, body.schema_version)
        serial = sum(each.role == key.role for each in ring.keys) + 1
        record_id = f"{SIGNING_KEY_PREFIX}{key.role}/{serial}"
        if body.id != record_id:
            refuse("id", f"must be {record_id}, the role's next key")
        if body.prev is not None:
            refuse("prev", "must be null: a key is announced once")
        if key.position != position + 1:
            refuse("payload.valid_from", _VALID_FROM_RULE)
        return ring.with_key(key.role, key.public_key, key.position)
    retired = parse_key_retirement(body.payload, body.schema_version)
    thumbprint = thumbprint_of(retired.role, retired.public_key)
    name = base64.urlsafe_b64encode(thumbprint).decode().rstrip("=")
    if body.id != KEY_RETIREMENT_PREFIX + name:
        refuse("id", f"must be {KEY_RETIREMENT_PREFIX}{name}, after the key's thumbprint")
    if retired.position > position:
        refuse("payload.from", "must not lie past the record's position")
    return ring.without_trust(retired.role, retired.public_key, retired.position)
