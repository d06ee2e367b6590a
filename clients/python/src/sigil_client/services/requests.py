"""Requests made of Python values. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from ..errors import refused_argument
from ..messages import audit_v1, canon_v1, module_v1, to_json, type_v1

Json: TypeAlias = "Mapping[str, Json] | list[Json] | tuple[Json, ...] | str | int | float | bool | None"

_SAFE_INTEGER_MAX = 2**53 - 1


@dataclass(frozen=True)
class Record:
    """One version of a record."""

    message: canon_v1.VersionedRecord

    @property
    def id(self) -> str:
        """Unique with its later versions within tenant and space."""
        return self.message.record.id

    @property
    def kind(self) -> str:
        """Of the payload."""
        return self.message.record.kind

    @property
    def version(self) -> int:
        """From 1."""
        return self.message.version

    @property
    def is_tombstone(self) -> bool:
        """Whether it ends the record."""
        return self.message.tombstone

    @property
    def position(self) -> int:
        """In the ledger, from 0."""
        return self.message.record.position

    @property
    def hash(self) -> bytes:
        """SHA-256 of the record's body, 32 bytes."""
        return self.message.record.hash

    @property
    def payload(self) -> Any:
        """The payload's JSON view: bytes as base64, integers beyond 2^53 as text; None where there is none."""
        text = self.message.record.payload_json
        return json.loads(text) if text else None

    def __str__(self) -> str:
        return to_json(self.message)


def timestamp(time: datetime | None, field: str) -> Timestamp | None:
    """Raises SigilError for a time that does not say its zone."""
    if time is None:
        return None
    if time.tzinfo is None:
        raise refused_argument(field, "must say its time zone")
    made = Timestamp()
    made.FromDatetime(time)
    return made


def _check_json(value: Any, path: str) -> None:
    if value is None or isinstance(value, (bool, str)):
        return
    if isinstance(value, int):
        if abs(value) > _SAFE_INTEGER_MAX:
            raise refused_argument(path, "must be within ±(2^53−1); send it in payload_cbor")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise refused_argument(path, "must be a finite number")
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise refused_argument(path, "must have keys that are text")
            _check_json(entry, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for at, entry in enumerate(value):
            _check_json(entry, f"{path}[{at}]")
    else:
        raise refused_argument(path, "is no JSON value; send it in payload_cbor")


def json_text(value: Json, path: str) -> str:
    """Raises SigilError naming the value that JSON cannot hold."""
    _check_json(value, path)
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Write:
    """The next version of a user record: exactly one of `payload`, `payload_cbor` and `tombstone`."""

    id: str
    kind: str
    payload: Json = None
    payload_cbor: bytes | None = None
    tombstone: bool = False
    expected_version: int | None = None
    """The version that it follows, 0 for none; None is whatever there is."""
    schema_version: int = 0
    links: Mapping[str, bytes] | None = None
    """Labels and the hashes, 32 bytes, of other records."""

    def to_message(self, idempotency_key: str = "") -> canon_v1.WriteRecordRequest:
        """Raises SigilError INVALID_ARGUMENT."""
        given = [self.payload is not None, self.payload_cbor is not None, self.tombstone]
        if sum(given) != 1:
            raise refused_argument("payload", "must be given once: payload, payload_cbor or tombstone")
        message = canon_v1.WriteRecordRequest(
            id=self.id,
            kind=self.kind,
            schema_version=self.schema_version,
            expected_version=self.expected_version,
            idempotency_key=idempotency_key,
            links=[type_v1.Link(label=label, target=target) for label, target in (self.links or {}).items()],
        )
        if self.payload is not None:
            message.payload_json = json_text(self.payload, "payload")
        elif self.payload_cbor is not None:
            message.payload_cbor = self.payload_cbor
        else:
            message.tombstone = True
        return message


def record_at(
    record_id: str,
    *,
    version: int | None,
    hash: bytes | None,
    ledger_size: int | None,
    space: type_v1.Space.ValueType,
    tenant: str,
) -> canon_v1.GetRecordRequest:
    """Raises SigilError INVALID_ARGUMENT."""
    if sum(each is not None for each in (version, hash, ledger_size)) > 1:
        raise refused_argument("version", "excludes hash and ledger_size")
    request = canon_v1.GetRecordRequest(id=record_id, space=space, tenant=tenant)
    if version is not None:
        request.version = version
    if hash is not None:
        request.hash = hash
    if ledger_size is not None:
        request.ledger_size = ledger_size
    return request


def record_filter(
    *,
    kind: str,
    id_prefix: str,
    space: type_v1.Space.ValueType,
    tenant: str,
    include_tombstones: bool,
    from_time: datetime | None = None,
    until_time: datetime | None = None,
) -> canon_v1.RecordFilter:
    """Which records. Raises SigilError INVALID_ARGUMENT."""
    return canon_v1.RecordFilter(
        kind=kind,
        id_prefix=id_prefix,
        space=space,
        tenant=tenant,
        include_tombstones=include_tombstones,
        from_time=timestamp(from_time, "from_time"),
        until_time=timestamp(until_time, "until_time"),
    )


@dataclass(frozen=True)
class ChainFilter:
    """Which decisions; what is empty takes all."""

    principal: str = ""
    action: str = ""
    target_glob: str = ""
    verdict: type_v1.Verdict.ValueType = type_v1.VERDICT_UNSPECIFIED
    reason: str = ""
    session: str = ""
    tenant: str = ""
    from_time: datetime | None = None
    until_time: datetime | None = None

    def to_message(self) -> audit_v1.ListFrozenChainsRequest:
        """Raises SigilError INVALID_ARGUMENT."""
        return audit_v1.ListFrozenChainsRequest(
            principal=self.principal,
            action=self.action,
            target_glob=self.target_glob,
            verdict=self.verdict,
            reason=self.reason,
            session=self.session,
            tenant=self.tenant,
            from_time=timestamp(self.from_time, "from_time"),
            until_time=timestamp(self.until_time, "until_time"),
        )


def evidence_of(
    audit_id: str | None, hash: bytes | None, cosigned: bool, tenant: str
) -> audit_v1.GetEvidenceRequest:
    """Raises SigilError INVALID_ARGUMENT."""
    if (audit_id is None) == (hash is None):
        raise refused_argument("audit_id", "or hash must be given")
    return audit_v1.GetEvidenceRequest(
        audit_id=audit_id or "", hash=hash or b"", cosigned=cosigned, tenant=tenant
    )


EVIDENCE_BYTES_MAX = 16 << 20
"""Of an evidence file. Source: docs/spec/verify.md."""


def run_of(name: str, input: bytes | Json, version: int, digest: bytes, wall_ms: int) -> module_v1.RunRequest:
    """Bytes go as they are, anything else as JSON. Raises SigilError INVALID_ARGUMENT."""
    request = module_v1.RunRequest(name=name, version=version, digest=digest, wall_ms=wall_ms)
    if isinstance(input, (bytes, bytearray, memoryview)):
        request.input_bytes = bytes(input)
    elif input is not None:
        request.input_json = json_text(input, "input")
    return request
