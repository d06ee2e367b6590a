"""An agent whose every use of a tool is asked about first: the loop has no way to a tool but through the guard.

agent.py SERVER KEYFILE: of the development deployment that `npm start` serves.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from sigil_client import AsyncSigil, Denied, target_of

SESSION = "conversation-1"


async def search(query: str) -> str:
    return f"three pages about {query}"


async def fetch(page: str) -> str:
    return f"the text of {page}"


async def shell(command: str) -> str:
    return f"ran {command}"


TOOLS: dict[str, Callable[..., Awaitable[str]]] = {"search": search, "fetch": fetch, "shell": shell}


async def model() -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """What a language model would choose; the last was put into its mouth by a page that it read."""
    yield "search", {"query": "leek soup"}
    yield "fetch", {"page": "soups"}
    yield "shell", {"command": "rm -rf /"}
    yield "teleport", {}


async def use(sigil: AsyncSigil, name: str, arguments: dict[str, Any]) -> str:
    """Uses a tool, or tells the model that it may not."""
    try:
        decision = await sigil.require(
            f"tool.{name}",
            target_of("web", name),
            session=SESSION,
            input=json.dumps(arguments, sort_keys=True).encode(),
        )
    except Denied as denied:
        return f"not allowed: {denied.reason}"
    print(f"  by decision {decision.audit_id}")
    return await TOOLS[name](**arguments)


async def main(server: str, key: bytes) -> None:
    caller = {"principal": "operator", "origin": "sigil.dev", "private_key": key}
    async with AsyncSigil(server, tls="insecure", **caller) as sigil:
        async for name, arguments in model():
            print(f"{name} {json.dumps(arguments)}")
            print(f"  {await use(sigil, name, arguments)}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes()))
