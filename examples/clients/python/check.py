"""Asks a Sigil server one question: check.py SERVER ACTION TARGET.

Exit code 0: allowed. 1: denied, or in review. 2: no answer, which is a deny too.
"""

import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from sigil.trust.v1 import trust_pb2, trust_pb2_grpc
from sigil.type.v1 import type_pb2


def check(server: str, action: str, target: str) -> trust_pb2.CheckResponse:
    with grpc.insecure_channel(server) as channel:
        question = trust_pb2.CheckRequest(action=action, target=target)
        return trust_pb2_grpc.TrustServiceStub(channel).Check(question, timeout=10)


def explain(error: grpc.RpcError) -> None:
    """Prints the code and which fields were refused."""
    print("no answer:", error.code().name, file=sys.stderr)
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            for violation in bad.field_violations:
                print(f"{violation.field}: {violation.description}", file=sys.stderr)


def main() -> int:
    if len(sys.argv) != 4:
        print("usage: check.py SERVER ACTION TARGET", file=sys.stderr)
        return 2
    try:
        answer = check(*sys.argv[1:])
    except grpc.RpcError as error:
        explain(error)
        return 2
    print(type_pb2.Verdict.Name(answer.verdict), answer.reason, answer.audit_id)
    return 0 if answer.allowed else 1


sys.exit(main())
