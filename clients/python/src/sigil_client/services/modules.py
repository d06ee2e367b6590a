"""Approved code, run in the server's sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from ..calls.awaiting import AsyncCaller, Pending
from ..calls.blocking import Caller
from ..errors import contradiction
from ..messages import module_v1
from .requests import Json, run_of

_PAGE_SIZE = 100


class Modules:
    """Of a Sigil. Every method raises SigilError."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def run(
        self,
        name: str,
        input: bytes | Json = None,
        *,
        version: int = 0,
        digest: bytes = b"",
        wall_ms: int = 0,
        deadline_seconds: float | None = None,
    ) -> module_v1.RunResponse:
        """Runs a module on bytes, or on a JSON value. Never sent twice: a repeat would run it again."""
        reply: module_v1.RunResponse = self._caller.unary(
            run_of(name, input, version, digest, wall_ms), deadline_seconds=deadline_seconds
        )
        return reply

    def run_stream(
        self,
        name: str,
        input: bytes | Json = None,
        *,
        version: int = 0,
        digest: bytes = b"",
        wall_ms: int = 0,
        deadline_seconds: float | None = None,
    ) -> Iterator[module_v1.RunStreamResponse]:
        """The same, with log and output as they come; the result is last. Without it this raises, and what came before
        does not count.
        """
        request = module_v1.RunStreamRequest(run=run_of(name, input, version, digest, wall_ms))
        has_result = False
        for part in self._caller.server_stream(request, deadline_seconds=deadline_seconds):
            if has_result:
                raise contradiction("a run goes on after its result")
            has_result = part.WhichOneof("part") == "result"
            yield part
        if not has_result:
            raise contradiction("a run ended without its result")

    def get(self, name: str, *, version: int = 0) -> module_v1.GetModuleResponse:
        """One module and who approved it."""
        reply: module_v1.GetModuleResponse = self._caller.unary(
            module_v1.GetModuleRequest(name=name, version=version)
        )
        return reply

    def list(self, *, include_retired: bool = False) -> Iterator[module_v1.Module]:
        """By name, page by page as they are taken."""
        request = module_v1.ListModulesRequest(page_size=_PAGE_SIZE, include_retired=include_retired)
        while True:
            page = self._caller.unary(request)
            yield from page.modules
            if page.next_page_token == "":
                return
            request.page_token = page.next_page_token


class AsyncModules:
    """Of an AsyncSigil; see Modules. Every method raises SigilError."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    def run(
        self,
        name: str,
        input: bytes | Json = None,
        *,
        version: int = 0,
        digest: bytes = b"",
        wall_ms: int = 0,
        deadline_seconds: float | None = None,
    ) -> Pending[module_v1.RunResponse]:
        """Runs a module on bytes, or on a JSON value. Never sent twice: a repeat would run it again."""
        request = run_of(name, input, version, digest, wall_ms)
        return Pending(self._caller.unary(request, deadline_seconds=deadline_seconds))

    async def run_stream(
        self,
        name: str,
        input: bytes | Json = None,
        *,
        version: int = 0,
        digest: bytes = b"",
        wall_ms: int = 0,
        deadline_seconds: float | None = None,
    ) -> AsyncIterator[module_v1.RunStreamResponse]:
        """The same, with log and output as they come; the result is last. Without it this raises, and what came before
        does not count.
        """
        request = module_v1.RunStreamRequest(run=run_of(name, input, version, digest, wall_ms))
        has_result = False
        async for part in self._caller.server_stream(request, deadline_seconds=deadline_seconds):
            if has_result:
                raise contradiction("a run goes on after its result")
            has_result = part.WhichOneof("part") == "result"
            yield part
        if not has_result:
            raise contradiction("a run ended without its result")

    def get(self, name: str, *, version: int = 0) -> Pending[module_v1.GetModuleResponse]:
        """One module and who approved it."""
        return Pending(self._caller.unary(module_v1.GetModuleRequest(name=name, version=version)))

    async def list(self, *, include_retired: bool = False) -> AsyncIterator[module_v1.Module]:
        """By name, page by page as they are taken."""
        request = module_v1.ListModulesRequest(page_size=_PAGE_SIZE, include_retired=include_retired)
        while True:
            page = await self._caller.unary(request)
            for module in page.modules:
                yield module
            if page.next_page_token == "":
                return
            request.page_token = page.next_page_token
