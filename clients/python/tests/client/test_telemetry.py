"""OpenTelemetry by its own instrumentation of gRPC: a span for each call, and its context in what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fake_server import FakeServer, allow, always
from opentelemetry import trace
from opentelemetry.instrumentation import grpc as instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sigil_client import AsyncSigil, Sigil

CHECK = "/sigil.trust.v1.TrustService/Check"
INSTRUMENTATION: Any = instrumentation
"""It has no types."""


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Of the process, which has one provider for good."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    trace.set_tracer_provider(provider)
    return made


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def assert_traced(spans: InMemorySpanExporter, server: FakeServer) -> None:
    [span] = spans.get_finished_spans()
    assert span.name == CHECK
    assert span.context is not None
    assert trace.format_trace_id(span.context.trace_id) in server.seen.metadata[0]["traceparent"]


def test_a_blocking_client_of_an_instrumented_process(spans: InMemorySpanExporter) -> None:
    instrumentor = INSTRUMENTATION.GrpcInstrumentorClient()
    instrumentor.instrument()
    try:
        with FakeServer(always(allow())) as server, Sigil(server.target, tls="insecure") as sigil:
            assert sigil.require("read", "a")
            assert_traced(spans, server)
    finally:
        instrumentor.uninstrument()


async def test_an_async_client_of_an_instrumented_process(spans: InMemorySpanExporter) -> None:
    instrumentor = INSTRUMENTATION.GrpcAioInstrumentorClient()
    instrumentor.instrument()
    try:
        with FakeServer(always(allow())) as server:
            async with AsyncSigil(server.target, tls="insecure") as sigil:
                assert await sigil.require("read", "a")
            assert_traced(spans, server)
    finally:
        instrumentor.uninstrument()


async def test_an_async_client_with_interceptors(spans: InMemorySpanExporter) -> None:
    interceptors = INSTRUMENTATION.aio_client_interceptors()
    with FakeServer(always(allow())) as server:
        async with AsyncSigil(server.target, tls="insecure", interceptors=interceptors) as sigil:
            assert await sigil.require("read", "a")
        assert_traced(spans, server)
