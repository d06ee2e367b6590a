"""The Python client and its bare stub, driven by `bench/sdk.ts`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

# Beside the sources of the package, whether it is installed or not.
sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python" / "src"))

from sigil_client import Sigil, Trust
from sigil_client._proto.sigil.trust.v1 import trust_pb2, trust_pb2_grpc

DEADLINE_SECONDS = 30.0
QUESTION = {"action": "write", "target": "user/notes/shopping", "session": "5f1c"}


def drivers_of(told: dict[str, str]) -> dict[str, Callable[[], object]]:
    """What makes one check, by load."""
    key = Path(told["keyFile"]).read_bytes()
    caller = {"principal": told["principal"], "origin": told["origin"], "private_key": key}
    stub = trust_pb2_grpc.TrustServiceStub(grpc.insecure_channel(told["target"]))
    request = trust_pb2.CheckRequest(**QUESTION)
    metadata = (("authorization", f"Bearer {told['token']}"),)
    common = {**caller, "tls": "insecure", "deadline_seconds": DEADLINE_SECONDS}
    client = Sigil(told["target"], **common)
    trust = Trust.of(genesis=told["genesis"])
    proving = Sigil(told["provingTarget"], verify_decisions=trust, **common)
    return {
        "stub": lambda: stub.Check(request, timeout=DEADLINE_SECONDS, metadata=metadata),
        "client": lambda: client.check(**QUESTION),
        "verified": lambda: proving.check(**QUESTION),
    }


def main() -> None:
    told = json.loads(sys.argv[1])
    in_flight = int(told["inFlight"])
    drivers = drivers_of(told)

    def work(check: Callable[[], object], checks: int) -> None:
        for _ in range(checks):
            check()

    with ThreadPoolExecutor(in_flight) as pool:
        for line in sys.stdin:
            asked = json.loads(line)
            check, checks = drivers[asked["load"]], asked["checks"]
            before = time.process_time()
            shares = [checks // in_flight + (worker < checks % in_flight) for worker in range(in_flight)]
            list(pool.map(work, [check] * in_flight, shares))
            took = {"cpuUs": (time.process_time() - before) * 1e6}
            print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
