"""A client for event loops. One belongs to the loop of its first call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal

from google.protobuf.message import Message

from .answers.decision import Decision, Question, request_of
from .answers.proving import genesis_of
from .calls.awaiting import AsyncCaller, Pending, as_async
from .calls.methods import method_of
from .calls.retry import Retry
from .calls.settings import DEADLINE_SECONDS, Metadata
from .calls.target import Option, Security
from .errors import Denied, SigilError
from .guards.functions import AsyncGuard
from .guards.rule import AsyncPart, Rule
from .messages import trust_v1, type_v1
from .options import settings_of, tokens_of
from .services.audit import AsyncAudit
from .services.canon import AsyncCanon
from .services.modules import AsyncModules
from .services.proofs import AsyncProver, walk_keys_later
from .services.questions import OpenQuestions, batch_decisions, batch_of, check_reply, decided
from .tokens import AsyncTokenSource, PrivateKey
from .verify import KeyWalk, Trust

_ROOM_SECONDS = 0.01


async def _room(questions: OpenQuestions) -> None:
    """Until there is room for a question: only a server that answers none keeps anybody here."""
    while questions.is_full:  # noqa: ASYNC110
        await asyncio.sleep(_ROOM_SECONDS)


class AsyncSigil:
    """Asks a server whether something may happen now. Use it in an `async with` statement, or close it.

    What is to be awaited cannot be taken for its result: `if sigil.check(…)` without `await` raises TypeError.
    """

    def __init__(
        self,
        target: str,
        *,
        principal: str | None = None,
        origin: str | None = None,
        private_key: PrivateKey | None = None,
        tokens: AsyncTokenSource | None = None,
        tls: Security | None = None,
        insecure_tokens: Literal["refuse", "send"] = "refuse",
        deadline_seconds: float = DEADLINE_SECONDS,
        retry: Retry | None = Retry(),  # noqa: B008 (frozen)
        verify_decisions: Trust | None = None,
        interceptors: Sequence[Any] = (),
        channel_options: Iterable[Option] = (),
    ) -> None:
        """Connects at the first call, to `host:port`, `unix:/path` or any other gRPC name.

        `principal`, `origin` and `private_key` sign the caller's tokens; `tokens` gives them from elsewhere. With
        neither, and without a client certificate, the caller is an anonymous Guest. With `tls` None the server is
        authenticated by the authorities that gRPC brings.

        Raises TypeError where a token would be sent to another machine without TLS.
        """
        source = tokens_of(principal, origin, private_key, tokens)
        settings = settings_of(
            target,
            tls=tls,
            sends_tokens=source is not None,
            insecure_tokens=insecure_tokens,
            deadline_seconds=deadline_seconds,
            retry=retry,
            channel_options=tuple(channel_options),
        )
        self._principal = principal
        self._target = target
        genesis = None if verify_decisions is None else genesis_of(verify_decisions)
        self._caller = AsyncCaller(settings, source, interceptors)
        self._prover = None if genesis is None else AsyncProver(self._caller, genesis)
        self.canon = AsyncCanon(self._caller, origin)
        """Records, proposals and attestations."""
        self.audit = AsyncAudit(self._caller)
        """Recorded decisions and their evidence."""
        self.modules = AsyncModules(self._caller)
        """Approved code in the server's sandbox."""

    def check(
        self,
        action: str,
        target: str,
        *,
        subject: str | None = None,
        session: str = "",
        input: bytes = b"",
        keep_input: bool = False,
        idempotency_key: str = "",
        disclose: bool = False,
        proof: type_v1.RecordProof.ValueType = type_v1.RECORD_PROOF_UNSPECIFIED,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Pending[Decision]:
        """The decision, which is true for an allow alone. Raises SigilError where there is none, which is a deny."""
        request = request_of(
            action, target, subject, session, input, keep_input, idempotency_key, disclose, proof
        )
        return Pending(self._decide(request, deadline_seconds, metadata))

    def require(
        self,
        action: str,
        target: str,
        *,
        subject: str | None = None,
        session: str = "",
        input: bytes = b"",
        keep_input: bool = False,
        idempotency_key: str = "",
        disclose: bool = False,
        proof: type_v1.RecordProof.ValueType = type_v1.RECORD_PROOF_UNSPECIFIED,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Pending[Decision]:
        """The decision of an allow. Raises Denied for everything else, every error among it."""
        try:
            request = request_of(
                action, target, subject, session, input, keep_input, idempotency_key, disclose, proof
            )
        except SigilError as error:
            raise Denied.because(error) from error
        return Pending(self._require(request, deadline_seconds, metadata))

    def check_question(
        self, question: Question, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Pending[Decision]:
        """`check` of a Question."""
        return Pending(self._decide(question.to_message(), deadline_seconds, metadata))

    def require_question(
        self, question: Question, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Pending[Decision]:
        """`require` of a Question."""
        try:
            request = question.to_message()
        except SigilError as error:
            raise Denied.because(error) from error
        return Pending(self._require(request, deadline_seconds, metadata))

    async def _require(
        self, request: trust_v1.CheckRequest, deadline_seconds: float | None, metadata: Metadata | None
    ) -> Decision:
        try:
            decision = await self._decide(request, deadline_seconds, metadata)
        except Exception as error:
            raise Denied.because(error) from error
        if decision.allowed is not True:
            raise Denied.by(decision)
        return decision

    async def _decide(
        self, request: trust_v1.CheckRequest, deadline_seconds: float | None, metadata: Metadata | None
    ) -> Decision:
        """Of a request that nobody else has."""
        prover = self._prover
        if prover is None:
            reply = await self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            return decided(request, reply)
        end = self._caller.end(deadline_seconds)
        asking = prover.ask(request, request.idempotency_key)
        try:
            reply = await self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            return await prover.proved(asking, decided(request, reply), None, end)
        finally:
            prover.end(asking)

    def check_batch(
        self,
        questions: Iterable[Question],
        *,
        idempotency_key: str = "",
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Pending[list[Decision]]:
        """Up to 1,000 questions in one commit: one decision each, in their order. One that could not be decided is
        false, and has an `error`.
        """
        request = batch_of(questions, idempotency_key)
        return Pending(self._decide_all(request, deadline_seconds, metadata))

    async def _decide_all(
        self, request: trust_v1.BatchCheckRequest, deadline_seconds: float | None, metadata: Metadata | None
    ) -> list[Decision]:
        """Of a request that nobody else has."""
        prover = self._prover
        if prover is None:
            reply = await self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            return batch_decisions(request, reply)
        end = self._caller.end(deadline_seconds)
        askings = prover.ask_all(request.checks, request.idempotency_key)
        try:
            reply = await self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            pairs = zip(askings, batch_decisions(request, reply), strict=True)
            return [
                await prover.proved_or_failed(asking, each, reply.shared_proof, end) for asking, each in pairs
            ]
        finally:
            prover.end_all(askings)

    async def check_stream(
        self,
        questions: AsyncIterable[Question] | Iterable[Question],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> AsyncIterator[tuple[Question, Decision]]:
        """Each question with its decision, as answers come, in whatever order. Questions are taken as fast as the
        server reads. Leaving the loop cancels the call.
        """
        prover = self._prover
        open_questions = OpenQuestions(prover)

        async def asked() -> AsyncIterator[trust_v1.StreamChecksRequest]:
            async for question in as_async(questions):
                await _room(open_questions)
                yield open_questions.ask(question)
            open_questions.are_all_asked = True

        try:
            replies = self._caller.duplex(
                trust_v1.StreamChecksRequest,
                asked(),
                deadline_seconds=deadline_seconds,
                metadata=metadata,
            )
            async for reply in replies:
                answered = open_questions.answer(reply)
                decision, asking = answered.decision, answered.asking
                if prover is not None and asking is not None:
                    end = self._caller.end(None)
                    try:
                        decision = await prover.proved_or_failed(asking, decision, None, end)
                    finally:
                        prover.end(asking)
                yield answered.question, decision
            open_questions.finish()
        finally:
            open_questions.close()

    def guard(
        self,
        action: AsyncPart,
        target: AsyncPart,
        *,
        subject: AsyncPart | None = None,
        session: AsyncPart | None = None,
        input: Any = None,
    ) -> AsyncGuard:
        """A guard for a function or a block. Parts are text, or functions of the guarded function's own arguments.

        Raises TypeError unless it has an action and a target.
        """
        return AsyncGuard(self, Rule(action, target, subject, session, input))

    def call(
        self, request: Message, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Any:
        """Any RPC by its request: the reply to await, or of a server stream its messages. Raises SigilError."""
        method = method_of(type(request))
        if method.sends_stream:
            raise TypeError(f"{method.path} takes a stream of requests")
        if method.gets_stream:
            return self._caller.server_stream(request, deadline_seconds=deadline_seconds, metadata=metadata)

        async def work() -> Any:
            reply = await self._caller.unary(request, deadline_seconds=deadline_seconds, metadata=metadata)
            check_reply(request, reply)
            return reply

        return Pending(work())

    def call_stream(
        self,
        kind: type[Message],
        requests: AsyncIterable[Message] | Iterable[Message],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Any:
        """Any RPC that takes a stream, by the class of its requests, the first of which may come late."""
        call = self._caller.duplex if method_of(kind).gets_stream else self._caller.client_stream
        return call(kind, requests, deadline_seconds=deadline_seconds, metadata=metadata)

    def walk_keys(self, genesis: bytes) -> Pending[KeyWalk]:
        """Every key of the deployment, verified from the hash of its genesis record. Raises SigilError."""
        return Pending(walk_keys_later(self._caller, genesis, self._caller.end(None)))

    async def close(self) -> None:
        """Ends calls under way as cancelled. May be repeated."""
        await self._caller.close()

    async def __aenter__(self) -> AsyncSigil:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncSigil({self._target!r}, principal={self._principal!r})"
