"""A channel whose replies are judged where they are decoded: no way of calling gets one that was not."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from ..answers.judge import judge_of
from .methods import Method


def judged_callable(channel: Any, method: Method) -> Any:
    """On a grpc.Channel or grpc.aio.Channel."""
    decode = method.reply.FromString
    judge = judge_of(method.reply)

    def decode_judged(data: bytes) -> Message:
        reply = decode(data)
        if judge is not None:
            judge(reply)
        return reply

    return getattr(channel, method.kind)(
        method.path,
        request_serializer=method.request.SerializeToString,
        response_deserializer=decode_judged,
        # As generated stubs do: gRPC knows the method from then on, and does not look it up for each call.
        _registered_method=True,
    )
