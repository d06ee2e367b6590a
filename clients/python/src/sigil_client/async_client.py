"""A client for event loops. One belongs to the loop of its first call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal

from google.protobuf.message import Message

from .answers.decision import Decision, Question
from .answers.proving import asking_for_proof, genesis_of, proof_error, prove, walk_of
from .calls.awaiting import AsyncCaller, Pending, as_async
from .calls.methods import method_of
from .calls.retry import Retry
from .calls.settings import DEADLINE_SECONDS, Metadata
from .calls.target import Option, Security
from .errors import Denied, SigilError
from .guards.functions import AsyncGuard
from .guards.rule import AsyncPart, Rule
from .messages import key_v1, trust_v1, type_v1
from .options import settings_of, tokens_of
from .services.audit import AsyncAudit
from .services.canon import AsyncCanon
from .services.modules import AsyncModules
from .services.questions import OpenQuestions, batch_decisions, batch_of, check_reply, decided
from .tokens import AsyncTokenSource, PrivateKey
from .verify import KeyWalk, ProofError, Trust

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
        self._genesis = None if verify_decisions is None else genesis_of(verify_decisions)
        self._walking: asyncio.Future[KeyWalk] | None = None
        self._caller = AsyncCaller(settings, source, interceptors)
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
        question = Question(
            action, target, subject, session, input, keep_input, idempotency_key, disclose, proof
        )
        return self.check_question(question, deadline_seconds=deadline_seconds, metadata=metadata)

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
            question = Question(
                action, target, subject, session, input, keep_input, idempotency_key, disclose, proof
            )
        except SigilError as error:
            raise Denied.because(error) from error
        return self.require_question(question, deadline_seconds=deadline_seconds, metadata=metadata)

    def check_question(
        self, question: Question, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Pending[Decision]:
        """`check` of a Question."""
        return Pending(self._check(question, deadline_seconds, metadata))

    async def _check(
        self, question: Question, deadline_seconds: float | None, metadata: Metadata | None
    ) -> Decision:
        request = question.to_message()
        if self._genesis is not None:
            asking_for_proof(request)
        reply = await self._caller.unary(
            request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
        )
        decision = decided(request, reply)
        return decision if self._genesis is None else await self._proved(request, decision, None)

    def require_question(
        self, question: Question, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Pending[Decision]:
        """`require` of a Question."""

        async def work() -> Decision:
            try:
                decision = await self.check_question(
                    question, deadline_seconds=deadline_seconds, metadata=metadata
                )
            except Exception as error:
                raise Denied.because(error) from error
            if decision.allowed is not True:
                raise Denied.by(decision)
            return decision

        return Pending(work())

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
        if self._genesis is not None:
            for check in request.checks:
                asking_for_proof(check)

        async def work() -> list[Decision]:
            reply: trust_v1.BatchCheckResponse = await self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata
            )
            decisions = batch_decisions(request, reply)
            if self._genesis is None:
                return decisions
            pairs = zip(request.checks, decisions, strict=True)
            return [await self._proved_or_failed(check, each, reply.shared_proof) for check, each in pairs]

        return Pending(work())

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
        open_questions = OpenQuestions()

        async def asked() -> AsyncIterator[trust_v1.StreamChecksRequest]:
            async for question in as_async(questions):
                await _room(open_questions)
                request = open_questions.ask(question)
                if self._genesis is not None:
                    asking_for_proof(request.check)
                yield request
            open_questions.are_all_asked = True

        try:
            replies = self._caller.duplex(
                trust_v1.StreamChecksRequest,
                asked(),
                deadline_seconds=deadline_seconds,
                metadata=metadata,
            )
            async for reply in replies:
                question, decision = open_questions.answer(reply)
                if self._genesis is not None:
                    decision = await self._proved_or_failed(question.to_message(), decision, None)
                yield question, decision
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

        async def work() -> KeyWalk:
            records: list[key_v1.KeyRecord] = []
            request = key_v1.ListKeyRecordsRequest()
            while True:
                page = await self._caller.unary(request)
                records.extend(page.records)
                if page.next_page_token == "":
                    return walk_of(genesis, records)
                request.page_token = page.next_page_token

        return Pending(work())

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

    async def _walked(self, genesis: bytes, *, again: bool) -> KeyWalk:
        """One walk at a time, which everybody waits for."""
        walking = self._walking
        failed = walking is not None and walking.done() and (walking.cancelled() or walking.exception())
        if walking is None or failed or (again and walking.done()):
            walking = self._walking = asyncio.ensure_future(self.walk_keys(genesis))
        return await asyncio.shield(walking)

    async def _proved(
        self, asked: trust_v1.CheckRequest, decision: Decision, shared: type_v1.SharedProof | None
    ) -> Decision:
        """Raises SigilError where nothing proves the answer. Keys are walked again once: they may have changed."""
        if decision.response is None or self._genesis is None:
            return decision
        is_new = self._walking is None
        walk = await self._walked(self._genesis, again=False)
        try:
            prove(walk, asked, decision.response, shared)
        except ProofError as error:
            if is_new:
                raise proof_error(error) from error
            walk = await self._walked(self._genesis, again=True)
            try:
                prove(walk, asked, decision.response, shared)
            except ProofError as again:
                raise proof_error(again) from again
        return Decision(response=decision.response, verified=True)

    async def _proved_or_failed(
        self, asked: trust_v1.CheckRequest, decision: Decision, shared: type_v1.SharedProof | None
    ) -> Decision:
        try:
            return await self._proved(asked, decision, shared)
        except SigilError as error:
            return Decision(error=error)
