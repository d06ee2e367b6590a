"""Records: read, written, listed and watched, and what witnesses say about proposals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from ..answers.judge import require_all_written, require_written
from ..attest import Vote, sign_attestation
from ..calls.awaiting import AsyncCaller, Pending
from ..calls.blocking import Caller
from ..calls.silence import Watchdog
from ..errors import SigilError, refused_argument
from ..messages import canon_v1, type_v1
from ..tokens import PrivateKey
from .requests import Json, Record, Write, record_at, record_filter
from .resuming import HEARTBEAT_SECONDS, Resuming, WatchEvent, WatchFilter

_PAGE_SIZE = 500


def _writes(writes: Iterable[Write], key: str) -> canon_v1.BatchWriteRecordsRequest:
    messages = [write.to_message() for write in writes]
    return canon_v1.BatchWriteRecordsRequest(writes=messages, idempotency_key=key)


def _ids(request: canon_v1.BatchWriteRecordsRequest) -> Sequence[str]:
    return [each.id for each in request.writes]


def _listing(
    kind: str,
    id_prefix: str,
    space: type_v1.Space.ValueType,
    tenant: str,
    include_tombstones: bool,
    view: canon_v1.RecordView.ValueType,
) -> canon_v1.ListRecordsRequest:
    wanted = record_filter(
        kind=kind, id_prefix=id_prefix, space=space, tenant=tenant, include_tombstones=include_tombstones
    )
    return canon_v1.ListRecordsRequest(filter=wanted, view=view, page_size=_PAGE_SIZE)


class Canon:
    """Of a Sigil. Every method raises SigilError."""

    def __init__(self, caller: Caller, origin: str | None) -> None:
        self._caller = caller
        self._origin = origin

    def write(
        self,
        id: str,
        kind: str,
        payload: Json = None,
        *,
        payload_cbor: bytes | None = None,
        tombstone: bool = False,
        expected_version: int | None = None,
        idempotency_key: str = "",
    ) -> canon_v1.WriteRecordResponse:
        """Writes the next version of a user record, once. After ABORTED, `facts["version"]` is the current one."""
        write = Write(id, kind, payload, payload_cbor, tombstone, expected_version)
        reply: canon_v1.WriteRecordResponse = self._caller.unary(
            write.to_message(idempotency_key), after=lambda _, reply: require_written(id, reply)
        )
        return reply

    def write_batch(
        self, writes: Iterable[Write], *, idempotency_key: str = ""
    ) -> Sequence[canon_v1.WriteRecordResponse]:
        """Writes up to 100 records, all or none."""
        reply: canon_v1.BatchWriteRecordsResponse = self._caller.unary(
            _writes(writes, idempotency_key),
            after=lambda request, reply: require_all_written(_ids(request), reply),
        )
        return list(reply.results)

    def read(
        self,
        id: str,
        *,
        version: int | None = None,
        hash: bytes | None = None,
        ledger_size: int | None = None,
        space: type_v1.Space.ValueType = type_v1.SPACE_USER,
        tenant: str = "",
    ) -> Record:
        """The newest version of a record, one by number or hash, or as the ledger had it at a size."""
        request = record_at(
            id, version=version, hash=hash, ledger_size=ledger_size, space=space, tenant=tenant
        )
        return Record(self._caller.unary(request).record)

    def list(
        self,
        *,
        kind: str = "",
        id_prefix: str = "",
        space: type_v1.Space.ValueType = type_v1.SPACE_USER,
        tenant: str = "",
        include_tombstones: bool = False,
        view: canon_v1.RecordView.ValueType = canon_v1.RECORD_VIEW_FULL,
    ) -> Iterator[Record]:
        """The newest versions in the order of their ids, page by page as they are taken."""
        request = _listing(kind, id_prefix, space, tenant, include_tombstones, view)
        while True:
            page = self._caller.unary(request)
            yield from map(Record, page.records)
            if page.next_page_token == "":
                return
            request.page_token = page.next_page_token

    def watch(
        self, wanted: WatchFilter | None = None, *, from_position: int | None = None, heartbeats: bool = False
    ) -> Iterator[WatchEvent]:
        """Records as they are committed, in ledger order, each once, for as long as the loop runs: an interrupted
        stream goes on where it was. None is from now. What fails before the first message is raised.
        """
        wanted = wanted or WatchFilter()
        resuming = Resuming(from_position)
        while True:
            resuming.begin()
            watchdog = Watchdog(wanted.silence_seconds)
            try:
                request = wanted.to_message(resuming.next_position)
                for message in self._caller.server_stream(request, on_call=watchdog.watch):
                    watchdog.heard()
                    event = resuming.take(message)
                    if event.checkpoint is None or heartbeats:
                        yield event
                    watchdog.waiting()
            except SigilError as error:
                resuming.require_passing(error)
            finally:
                watchdog.end()
            self._caller.pause(resuming.pause_seconds())

    def proposal(self, id: str) -> canon_v1.Proposal:
        """With the exact bytes to attest."""
        proposal: canon_v1.Proposal = self._caller.unary(canon_v1.GetProposalRequest(id=id)).proposal
        return proposal

    def attest(
        self, proposal: canon_v1.Proposal, vote: Vote, private_key: PrivateKey, *, origin: str | None = None
    ) -> canon_v1.AttestProposalResponse:
        """Signs a proposal that was reviewed with the witness's key, which stays here, and sends the statement,
        once.
        """
        request = _attestation(proposal, vote, private_key, origin or self._origin)
        reply: canon_v1.AttestProposalResponse = self._caller.unary(request)
        return reply


class AsyncCanon:
    """Of an AsyncSigil; see Canon. Every method raises SigilError."""

    def __init__(self, caller: AsyncCaller, origin: str | None) -> None:
        self._caller = caller
        self._origin = origin

    def write(
        self,
        id: str,
        kind: str,
        payload: Json = None,
        *,
        payload_cbor: bytes | None = None,
        tombstone: bool = False,
        expected_version: int | None = None,
        idempotency_key: str = "",
    ) -> Pending[canon_v1.WriteRecordResponse]:
        """Writes the next version of a user record, once. After ABORTED, `facts["version"]` is the current one."""
        write = Write(id, kind, payload, payload_cbor, tombstone, expected_version)
        request = write.to_message(idempotency_key)
        return Pending(self._caller.unary(request, after=lambda _, reply: require_written(id, reply)))

    def write_batch(
        self, writes: Iterable[Write], *, idempotency_key: str = ""
    ) -> Pending[Sequence[canon_v1.WriteRecordResponse]]:
        """Writes up to 100 records, all or none."""

        async def work() -> Sequence[canon_v1.WriteRecordResponse]:
            reply: canon_v1.BatchWriteRecordsResponse = await self._caller.unary(
                _writes(writes, idempotency_key),
                after=lambda request, reply: require_all_written(_ids(request), reply),
            )
            return list(reply.results)

        return Pending(work())

    def read(
        self,
        id: str,
        *,
        version: int | None = None,
        hash: bytes | None = None,
        ledger_size: int | None = None,
        space: type_v1.Space.ValueType = type_v1.SPACE_USER,
        tenant: str = "",
    ) -> Pending[Record]:
        """The newest version of a record, one by number or hash, or as the ledger had it at a size."""
        request = record_at(
            id, version=version, hash=hash, ledger_size=ledger_size, space=space, tenant=tenant
        )

        async def work() -> Record:
            return Record((await self._caller.unary(request)).record)

        return Pending(work())

    async def list(
        self,
        *,
        kind: str = "",
        id_prefix: str = "",
        space: type_v1.Space.ValueType = type_v1.SPACE_USER,
        tenant: str = "",
        include_tombstones: bool = False,
        view: canon_v1.RecordView.ValueType = canon_v1.RECORD_VIEW_FULL,
    ) -> AsyncIterator[Record]:
        """The newest versions in the order of their ids, page by page as they are taken."""
        request = _listing(kind, id_prefix, space, tenant, include_tombstones, view)
        while True:
            page = await self._caller.unary(request)
            for each in page.records:
                yield Record(each)
            if page.next_page_token == "":
                return
            request.page_token = page.next_page_token

    async def watch(
        self, wanted: WatchFilter | None = None, *, from_position: int | None = None, heartbeats: bool = False
    ) -> AsyncIterator[WatchEvent]:
        """Records as they are committed, in ledger order, each once, for as long as the loop runs: an interrupted
        stream goes on where it was. None is from now. What fails before the first message is raised.
        """
        wanted = wanted or WatchFilter()
        resuming = Resuming(from_position)
        while True:
            resuming.begin()
            try:
                request = wanted.to_message(resuming.next_position)
                stream = self._caller.server_stream(request, silence_seconds=wanted.silence_seconds)
                async for message in stream:
                    event = resuming.take(message)
                    if event.checkpoint is None or heartbeats:
                        yield event
            except SigilError as error:
                resuming.require_passing(error)
            await self._caller.pause(resuming.pause_seconds())

    def proposal(self, id: str) -> Pending[canon_v1.Proposal]:
        """With the exact bytes to attest."""

        async def work() -> canon_v1.Proposal:
            proposal: canon_v1.Proposal = (
                await self._caller.unary(canon_v1.GetProposalRequest(id=id))
            ).proposal
            return proposal

        return Pending(work())

    def attest(
        self, proposal: canon_v1.Proposal, vote: Vote, private_key: PrivateKey, *, origin: str | None = None
    ) -> Pending[canon_v1.AttestProposalResponse]:
        """Signs a proposal that was reviewed with the witness's key, which stays here, and sends the statement,
        once.
        """
        request = _attestation(proposal, vote, private_key, origin or self._origin)
        return Pending(self._caller.unary(request))


def _attestation(
    proposal: canon_v1.Proposal, vote: Vote, private_key: PrivateKey, origin: str | None
) -> canon_v1.AttestProposalRequest:
    if origin is None:
        raise refused_argument("origin", "must say which deployment this is")
    statement = sign_attestation(proposal, vote, private_key, origin=origin)
    return canon_v1.AttestProposalRequest(id=proposal.id, statement=statement)


__all__ = ["HEARTBEAT_SECONDS", "AsyncCanon", "Canon"]
