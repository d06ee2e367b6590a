"""A client that blocks. Threads may share one; processes may not: make it after a fork."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal

from google.protobuf.message import Message

from .answers.decision import Decision, Question, request_of
from .answers.proving import genesis_of
from .calls.blocking import Caller
from .calls.methods import method_of
from .calls.retry import Retry
from .calls.settings import DEADLINE_SECONDS, Metadata
from .calls.target import Option, Security
from .errors import Denied, SigilError
from .guards.functions import Guard
from .guards.rule import Part, Rule
from .messages import trust_v1, type_v1
from .options import settings_of, tokens_of
from .services.audit import Audit
from .services.canon import Canon
from .services.modules import Modules
from .services.proofs import Prover, walk_keys
from .services.questions import OpenQuestions, batch_decisions, batch_of, check_reply, decided
from .tokens import PrivateKey, TokenSource
from .verify import KeyWalk, Trust


class Sigil:
    """Asks a server whether something may happen now. Use it in a `with` statement, or close it."""

    def __init__(
        self,
        target: str,
        *,
        principal: str | None = None,
        origin: str | None = None,
        private_key: PrivateKey | None = None,
        tokens: TokenSource | None = None,
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
        self._caller = Caller(settings, source, interceptors)
        self._prover = None if genesis is None else Prover(self._caller, genesis)
        self.canon = Canon(self._caller, origin)
        """Records, proposals and attestations."""
        self.audit = Audit(self._caller)
        """Recorded decisions and their evidence."""
        self.modules = Modules(self._caller)
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
    ) -> Decision:
        """The decision, which is true for an allow alone. Raises SigilError where there is none, which is a deny."""
        request = request_of(
            action, target, subject, session, input, keep_input, idempotency_key, disclose, proof
        )
        return self._decide(request, deadline_seconds, metadata)

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
    ) -> Decision:
        """The decision of an allow. Raises Denied for everything else, every error among it."""
        try:
            request = request_of(
                action, target, subject, session, input, keep_input, idempotency_key, disclose, proof
            )
        except SigilError as error:
            raise Denied.because(error) from error
        return self._require(request, deadline_seconds, metadata)

    def check_question(
        self, question: Question, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Decision:
        """`check` of a Question."""
        return self._decide(question.to_message(), deadline_seconds, metadata)

    def require_question(
        self, question: Question, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Decision:
        """`require` of a Question."""
        try:
            request = question.to_message()
        except SigilError as error:
            raise Denied.because(error) from error
        return self._require(request, deadline_seconds, metadata)

    def _require(
        self, request: trust_v1.CheckRequest, deadline_seconds: float | None, metadata: Metadata | None
    ) -> Decision:
        try:
            decision = self._decide(request, deadline_seconds, metadata)
        except Exception as error:
            raise Denied.because(error) from error
        if decision.allowed is not True:
            raise Denied.by(decision)
        return decision

    def _decide(
        self, request: trust_v1.CheckRequest, deadline_seconds: float | None, metadata: Metadata | None
    ) -> Decision:
        """Of a request that nobody else has."""
        prover = self._prover
        if prover is None:
            reply = self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            return decided(request, reply)
        end = self._caller.end(deadline_seconds)
        asking = prover.ask(request, request.idempotency_key)
        try:
            reply = self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            return prover.proved(asking, decided(request, reply), None, end)
        finally:
            prover.end(asking)

    def check_batch(
        self,
        questions: Iterable[Question],
        *,
        idempotency_key: str = "",
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> list[Decision]:
        """Up to 1,000 questions in one commit: one decision each, in their order. One that could not be decided is
        false, and has an `error`.
        """
        request = batch_of(questions, idempotency_key)
        prover = self._prover
        if prover is None:
            reply = self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            return batch_decisions(request, reply)
        end = self._caller.end(deadline_seconds)
        askings = prover.ask_all(request.checks, request.idempotency_key)
        try:
            reply = self._caller.unary(
                request, deadline_seconds=deadline_seconds, metadata=metadata, is_own=True
            )
            pairs = zip(askings, batch_decisions(request, reply), strict=True)
            return [prover.proved_or_failed(asking, each, reply.shared_proof, end) for asking, each in pairs]
        finally:
            prover.end_all(askings)

    def check_stream(
        self,
        questions: Iterable[Question],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Iterator[tuple[Question, Decision]]:
        """Each question with its decision, as answers come, in whatever order. Questions are taken as fast as the
        server reads, in a thread of gRPC's. Leaving the loop cancels the call.
        """
        prover = self._prover
        open_questions = OpenQuestions(prover)

        def asked() -> Iterator[trust_v1.StreamChecksRequest]:
            for question in questions:
                open_questions.wait()
                yield open_questions.ask(question)
            open_questions.are_all_asked = True

        try:
            replies = self._caller.duplex(
                trust_v1.StreamChecksRequest,
                asked(),
                deadline_seconds=deadline_seconds,
                metadata=metadata,
            )
            for reply in replies:
                answered = open_questions.answer(reply)
                decision, asking = answered.decision, answered.asking
                if prover is not None and asking is not None:
                    end = self._caller.end(None)
                    try:
                        decision = prover.proved_or_failed(asking, decision, None, end)
                    finally:
                        prover.end(asking)
                yield answered.question, decision
            open_questions.finish()
        finally:
            open_questions.close()

    def guard(
        self,
        action: Part,
        target: Part,
        *,
        subject: Part | None = None,
        session: Part | None = None,
        input: Any = None,
    ) -> Guard:
        """A guard for a function or a block. Parts are text, or functions of the guarded function's own arguments.

        Raises TypeError unless it has an action and a target.
        """
        return Guard(self, Rule(action, target, subject, session, input))

    def call(
        self, request: Message, *, deadline_seconds: float | None = None, metadata: Metadata | None = None
    ) -> Any:
        """Any RPC by its request: the reply, or of a server stream its messages. Raises SigilError."""
        method = method_of(type(request))
        if method.sends_stream:
            raise TypeError(f"{method.path} takes a stream of requests")
        if method.gets_stream:
            return self._caller.server_stream(request, deadline_seconds=deadline_seconds, metadata=metadata)
        reply = self._caller.unary(request, deadline_seconds=deadline_seconds, metadata=metadata)
        check_reply(request, reply)
        return reply

    def call_stream(
        self,
        kind: type[Message],
        requests: Iterable[Message],
        *,
        deadline_seconds: float | None = None,
        metadata: Metadata | None = None,
    ) -> Any:
        """Any RPC that takes a stream, by the class of its requests, the first of which may come late."""
        call = self._caller.duplex if method_of(kind).gets_stream else self._caller.client_stream
        return call(kind, requests, deadline_seconds=deadline_seconds, metadata=metadata)

    def walk_keys(self, genesis: bytes) -> KeyWalk:
        """Every key of the deployment, verified from the hash of its genesis record. Raises SigilError."""
        return walk_keys(self._caller, genesis, self._caller.end(None))

    def close(self) -> None:
        """Ends calls under way as cancelled. May be repeated."""
        self._caller.close()

    def __enter__(self) -> Sigil:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Sigil({self._target!r}, principal={self._principal!r})"
