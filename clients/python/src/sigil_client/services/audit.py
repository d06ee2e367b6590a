"""Recorded decisions: got, listed, followed, verified by the server, and their evidence files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from ..calls.awaiting import AsyncCaller, Pending
from ..calls.blocking import Caller
from ..errors import SigilError, contradiction
from ..messages import audit_v1
from .requests import EVIDENCE_BYTES_MAX, ChainFilter, evidence_of
from .resuming import PAUSE_SECONDS_MAX, is_away

_PAGE_SIZE = 500
_IDLE_SECONDS = 0.5
"""Between two questions while nothing new is recorded."""


class _Following:
    """Where a follower is. Pure."""

    def __init__(self, wanted: ChainFilter | None, from_position: int) -> None:
        self.request = (wanted or ChainFilter()).to_message()
        self.request.order = audit_v1.LIST_ORDER_OLDEST_FIRST
        self.request.page_size = _PAGE_SIZE
        self.request.from_position = from_position
        self._pause_seconds = _IDLE_SECONDS
        self._has_heard = False

    def take(self, page: audit_v1.ListFrozenChainsResponse) -> float:
        """How long to wait before the next page. Raises SigilError for one that goes back."""
        if page.resume_position < self.request.from_position:
            raise contradiction("a listing goes back in the ledger")
        self.request.from_position = page.resume_position
        self._has_heard = True
        self._pause_seconds = _IDLE_SECONDS
        return 0.0 if page.next_page_token else _IDLE_SECONDS

    def interrupted(self, error: SigilError) -> float:
        """How long to wait before the next try. Raises the error again if it does not pass, or came first."""
        if not self._has_heard or not is_away(error):
            raise error
        self._pause_seconds = min(2 * self._pause_seconds, PAUSE_SECONDS_MAX)
        return self._pause_seconds


def _listing(wanted: ChainFilter | None, oldest_first: bool) -> audit_v1.ListFrozenChainsRequest:
    request = (wanted or ChainFilter()).to_message()
    request.order = audit_v1.LIST_ORDER_OLDEST_FIRST if oldest_first else audit_v1.LIST_ORDER_NEWEST_FIRST
    request.page_size = _PAGE_SIZE
    return request


class _Pieces:
    """Of an evidence file."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._bytes = 0

    def take(self, chunk: bytes) -> None:
        """Raises SigilError if there are more bytes than such a file may have."""
        self._bytes += len(chunk)
        if self._bytes > EVIDENCE_BYTES_MAX:
            raise contradiction(f"an evidence file has at most {EVIDENCE_BYTES_MAX} bytes")
        self._pieces.append(chunk)

    def whole(self) -> bytes:
        return b"".join(self._pieces)


class Audit:
    """Of a Sigil. Every method raises SigilError."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def get(self, audit_id: str, *, tenant: str = "") -> audit_v1.FrozenChain:
        """One decision, verified by the server before it is answered."""
        request = audit_v1.GetFrozenChainRequest(audit_id=audit_id, tenant=tenant)
        chain: audit_v1.FrozenChain = self._caller.unary(request).chain
        return chain

    def list(
        self, wanted: ChainFilter | None = None, *, oldest_first: bool = False
    ) -> Iterator[audit_v1.FrozenChain]:
        """Decisions, page by page as they are taken."""
        request = _listing(wanted, oldest_first)
        while True:
            page = self._caller.unary(request)
            yield from page.chains
            if page.next_page_token == "":
                return
            request.page_token = page.next_page_token

    def follow(
        self, wanted: ChainFilter | None = None, *, from_position: int = 0
    ) -> Iterator[audit_v1.FrozenChain]:
        """Decisions as they are recorded, in ledger order, each once, for as long as the loop runs."""
        following = _Following(wanted, from_position)
        while True:
            try:
                page = self._caller.unary(following.request)
            except SigilError as error:
                pause = following.interrupted(error)
            else:
                pause = following.take(page)
                yield from page.chains
            self._caller.pause(pause)

    def verify(self, audit_id: str, *, tenant: str = "") -> audit_v1.VerifyFrozenChainResponse:
        """What the server says about a decision's record: verified only if there are steps and all passed."""
        request = audit_v1.VerifyFrozenChainRequest(audit_id=audit_id, tenant=tenant)
        reply: audit_v1.VerifyFrozenChainResponse = self._caller.unary(request)
        return reply

    def evidence(
        self,
        audit_id: str | None = None,
        *,
        hash: bytes | None = None,
        cosigned: bool = False,
        tenant: str = "",
    ) -> bytes:
        """The file with all that a stranger needs to verify a record, not verified here."""
        pieces = _Pieces()
        for message in self._caller.server_stream(evidence_of(audit_id, hash, cosigned, tenant)):
            pieces.take(message.chunk)
        return pieces.whole()


class AsyncAudit:
    """Of an AsyncSigil; see Audit. Every method raises SigilError."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    def get(self, audit_id: str, *, tenant: str = "") -> Pending[audit_v1.FrozenChain]:
        """One decision, verified by the server before it is answered."""

        async def work() -> audit_v1.FrozenChain:
            request = audit_v1.GetFrozenChainRequest(audit_id=audit_id, tenant=tenant)
            chain: audit_v1.FrozenChain = (await self._caller.unary(request)).chain
            return chain

        return Pending(work())

    async def list(
        self, wanted: ChainFilter | None = None, *, oldest_first: bool = False
    ) -> AsyncIterator[audit_v1.FrozenChain]:
        """Decisions, page by page as they are taken."""
        request = _listing(wanted, oldest_first)
        while True:
            page = await self._caller.unary(request)
            for chain in page.chains:
                yield chain
            if page.next_page_token == "":
                return
            request.page_token = page.next_page_token

    async def follow(
        self, wanted: ChainFilter | None = None, *, from_position: int = 0
    ) -> AsyncIterator[audit_v1.FrozenChain]:
        """Decisions as they are recorded, in ledger order, each once, for as long as the loop runs."""
        following = _Following(wanted, from_position)
        while True:
            try:
                page = await self._caller.unary(following.request)
            except SigilError as error:
                pause = following.interrupted(error)
            else:
                pause = following.take(page)
                for chain in page.chains:
                    yield chain
            await self._caller.pause(pause)

    def verify(self, audit_id: str, *, tenant: str = "") -> Pending[audit_v1.VerifyFrozenChainResponse]:
        """What the server says about a decision's record: verified only if there are steps and all passed."""
        request = audit_v1.VerifyFrozenChainRequest(audit_id=audit_id, tenant=tenant)
        return Pending(self._caller.unary(request))

    def evidence(
        self,
        audit_id: str | None = None,
        *,
        hash: bytes | None = None,
        cosigned: bool = False,
        tenant: str = "",
    ) -> Pending[bytes]:
        """The file with all that a stranger needs to verify a record, not verified here."""
        request = evidence_of(audit_id, hash, cosigned, tenant)

        async def work() -> bytes:
            pieces = _Pieces()
            async for message in self._caller.server_stream(request):
                pieces.take(message.chunk)
            return pieces.whole()

        return Pending(work())
