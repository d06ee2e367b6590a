"""Every RPC, by the message that asks for it: each has a request of its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from ..messages import (
    audit_v1,
    backup_v1,
    canon_v1,
    identity_v1,
    key_v1,
    module_v1,
    trust_v1,
    witness_v1,
)


@dataclass(frozen=True)
class Method:
    """One RPC."""

    path: str
    """`/package.Service/Name`."""
    request: type[Message]
    reply: type[Message]
    sends_stream: bool
    gets_stream: bool
    takes_key: bool
    """Whether its request has an idempotency key."""

    @property
    def kind(self) -> str:
        """The method of a channel that makes it callable."""
        return f"{'stream' if self.sends_stream else 'unary'}_{'stream' if self.gets_stream else 'unary'}"


KEY_FIELD = "idempotency_key"


def _method(descriptor: MethodDescriptor) -> Method:
    return Method(
        path=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        request=message_factory.GetMessageClass(descriptor.input_type),
        reply=message_factory.GetMessageClass(descriptor.output_type),
        sends_stream=descriptor.client_streaming,
        gets_stream=descriptor.server_streaming,
        takes_key=KEY_FIELD in descriptor.input_type.fields_by_name,
    )


_CONTRACTS = (audit_v1, backup_v1, canon_v1, identity_v1, key_v1, module_v1, trust_v1, witness_v1)

_BY_REQUEST = {
    each.input_type.full_name: _method(each)
    for contract in _CONTRACTS
    for service in contract.DESCRIPTOR.services_by_name.values()
    for each in service.methods
}

_BY_CLASS = {method.request: method for method in _BY_REQUEST.values()}


def method_of(request: type[Message]) -> Method:
    """Raises TypeError for a message that asks for nothing."""
    # A message of another pool of descriptors has another class and the same name.
    method = _BY_CLASS.get(request) or _BY_REQUEST.get(request.DESCRIPTOR.full_name)
    if method is None:
        raise TypeError(f"{request.DESCRIPTOR.full_name} is the request of no call")
    return method


def all_methods() -> tuple[Method, ...]:
    """Of every contract."""
    return tuple(_BY_REQUEST.values())
