"""The messages of every contract, as modules, and how they are printed: as proto3 JSON.

Printing leaves out what has its default value, as proto3 JSON does; 64-bit integers are text, bytes base64, enums
names.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc import status_pb2 as rpc_v1

from ._proto.sigil.audit.v1 import audit_pb2 as audit_v1
from ._proto.sigil.backup.v1 import backup_pb2 as backup_v1
from ._proto.sigil.canon.v1 import canon_pb2 as canon_v1
from ._proto.sigil.canon.v1 import witness_pb2 as witness_v1
from ._proto.sigil.identity.v1 import principal_pb2 as identity_v1
from ._proto.sigil.key.v1 import key_pb2 as key_v1
from ._proto.sigil.module.v1 import module_pb2 as module_v1
from ._proto.sigil.trust.v1 import trust_pb2 as trust_v1
from ._proto.sigil.type.v1 import type_pb2 as type_v1

__all__ = [
    "audit_v1",
    "backup_v1",
    "canon_v1",
    "identity_v1",
    "key_v1",
    "module_v1",
    "rpc_v1",
    "to_dict",
    "to_json",
    "trust_v1",
    "type_v1",
    "witness_v1",
]


def to_dict(message: Message) -> dict[str, Any]:
    """The message as the values of its proto3 JSON, for `json.dumps` among others."""
    return json_format.MessageToDict(message)


def to_json(message: Message, *, indent: int | None = None) -> str:
    """The message as proto3 JSON."""
    return json_format.MessageToJson(message, indent=indent, ensure_ascii=False)


_MODULES = (
    audit_v1,
    backup_v1,
    canon_v1,
    identity_v1,
    key_v1,
    module_v1,
    trust_v1,
    type_v1,
    witness_v1,
)


def _classes_in(modules: Iterable[ModuleType]) -> Iterable[type[Message]]:
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Message):
                yield value


for _each in _classes_in(_MODULES):
    # `print(reply)` is what an operator sees: the same text in every language, and not the text format of protobuf.
    _each.__str__ = to_json  # type: ignore[assignment,method-assign]
