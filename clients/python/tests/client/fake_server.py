"""A gRPC server that answers as a test tells it to, which may be a lie."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from sigil_client import trust_v1, type_v1
from sigil_client.calls.methods import Method, all_methods

Behaviour = Callable[[Any, grpc.ServicerContext], Any]
"""Of a request, or of an iterator of requests."""


@dataclass
class Seen:
    """What reached the server."""

    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)


class FakeServer(grpc.GenericRpcHandler):
    """Serves on a free port while a test is in its `with` block."""

    def __init__(
        self, behaviours: dict[str, Behaviour], credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self.behaviours = behaviours
        self.seen = Seen()
        self._methods = {method.path: method for method in all_methods()}
        self._server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((self,))
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.target = f"127.0.0.1:{self.port}"

    def __enter__(self) -> FakeServer:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        method = self._methods.get(path)
        behaviour = self.behaviours.get(path.rpartition("/")[2])
        if method is None or behaviour is None:
            return None
        return self._handler(method, behaviour)

    def _handler(self, method: Method, behaviour: Behaviour) -> Any:
        def seen(request: Any, context: grpc.ServicerContext) -> Any:
            self.seen.metadata.append(dict(context.invocation_metadata()))
            if not method.sends_stream:
                self.seen.requests.append(request)
            return behaviour(request, context)

        def seen_stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            yield from seen(request, context)

        make = getattr(grpc, f"{method.kind}_rpc_method_handler")
        return make(
            seen_stream if method.gets_stream else seen,
            request_deserializer=method.request.FromString,
            response_serializer=lambda reply: (
                reply if isinstance(reply, bytes) else reply.SerializeToString()
            ),
        )


def fail(
    context: grpc.ServicerContext,
    code: grpc.StatusCode,
    message: str = "m",
    *details: Message,
) -> None:
    """Ends the call with details of google.rpc."""
    status = status_pb2.Status(code=code.value[0], message=message)
    for each in details:
        status.details.add().Pack(each)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


def retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    """Of so long."""
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromNanoseconds(int(seconds * 1e9))
    return info


def allow(**changed: Any) -> trust_v1.CheckResponse:
    """What a server says that allows, without numbers."""
    given = {"verdict": type_v1.VERDICT_ALLOW, "allowed": True, "audit_id": "a"}
    return trust_v1.CheckResponse(**{**given, **changed})


def deny(**changed: Any) -> trust_v1.CheckResponse:
    """What a server says that denies."""
    return trust_v1.CheckResponse(
        **{"verdict": type_v1.VERDICT_DENY, "audit_id": "d", "reason": "SCORE_BELOW_THRESHOLD", **changed}
    )


def always(reply: trust_v1.CheckResponse) -> dict[str, Behaviour]:
    """The same answer to every question, by every way of asking."""

    def batch(request: trust_v1.BatchCheckRequest, _context: Any) -> trust_v1.BatchCheckResponse:
        results = [trust_v1.BatchCheckResult(decision=reply) for _ in request.checks]
        return trust_v1.BatchCheckResponse(results=results)

    def stream(requests: Iterator[Any], _context: Any) -> Iterator[trust_v1.StreamChecksResponse]:
        for request in requests:
            yield trust_v1.StreamChecksResponse(correlation_id=request.correlation_id, decision=reply)

    return {"Check": lambda _request, _context: reply, "BatchCheck": batch, "StreamChecks": stream}


class Times:
    """Counts how often it was called; threads may share one."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """From 1."""
        with self._lock:
            self._count += 1
            return self._count

    @property
    def count(self) -> int:
        return self._count
