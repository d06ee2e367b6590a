"""Judges what another implementation made: questions as lines of JSON on standard input, an answer a line.

Bytes are hexadecimal text, positions and sizes decimal text. Used by test/e2e/python-verify.test.ts.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from sigil_client.verify import (
    Answer,
    EnrolledKey,
    EnrolledWitness,
    KeyRecord,
    KeyWalk,
    ProofError,
    ProposalFacts,
    Question,
    RecordEvidence,
    Registry,
    Trust,
    count_attestations,
    decode_body,
    verify,
    verify_answer,
)
from sigil_client.verify.cbor import decode
from sigil_client.verify.model.recompute import replay
from sigil_client.verify.record.decision import read_decision

Asked = dict[str, Any]


def _key_records(records: list[Asked]) -> tuple[KeyRecord, ...]:
    return tuple(KeyRecord(int(each["position"]), bytes.fromhex(each["envelope"])) for each in records)


def _evidence(asked: Asked, key_records: tuple[KeyRecord, ...]) -> RecordEvidence:
    proof = tuple(bytes.fromhex(node) for node in asked["proof"])
    envelope = bytes.fromhex(asked["envelope"])
    return RecordEvidence(int(asked["position"]), envelope, asked["checkpoint"], proof, key_records)


def _judge_attested(asked: Asked) -> object:
    witnesses = tuple(
        EnrolledWitness(each["id"], bytes.fromhex(each["key"]), each["owner"], int(each["enrolledAt"]))
        for each in asked["witnesses"]
    )
    registry = Registry(asked["k"], asked["epoch"], asked["proposerMayAttest"], witnesses)
    facts, enrols = asked["proposal"], asked["enrols"]
    counted = count_attestations(
        bytes.fromhex(asked["record"]),
        [bytes.fromhex(each) for each in asked["attestations"]],
        registry,
        asked["origin"],
        proposal=facts and ProposalFacts(facts["id"], int(facts["position"]), facts["proposer"]),
        enrols=enrols and EnrolledKey(enrols["witness"], bytes.fromhex(enrols["key"])),
    )
    return {
        "proposal": counted.proposal,
        "attestedBy": counted.attested_by,
        "possession": counted.possession,
        "refused": [{"index": each.index, "rule": each.rule} for each in counted.refused],
        "reached": counted.reached,
    }


def _judge_answer(asked: Asked) -> object:
    records = _key_records(asked["keyRecords"])
    walk = KeyWalk.of(bytes.fromhex(asked["genesis"]), records)
    said = asked["answer"]
    answer = Answer(
        said["auditId"],
        said["verdict"],
        said["allowed"],
        said["reason"],
        int(said["callerSeq"]),
        said["subject"],
        _evidence(asked, records),
    )
    try:
        record = verify_answer(walk, Question(asked["action"], asked["target"]), answer)
    except ProofError as error:
        return {"refused": str(error)}
    trust = Trust(bytes.fromhex(asked["genesis"]))
    return {"hash": record.hash.hex(), "holds": verify(_evidence(asked, records), trust).holds}


def _judge_decision(asked: Asked) -> object:
    """`decision` is a record's body, `model` the payload of its model, in canonical CBOR."""
    body = decode_body(bytes.fromhex(asked["decision"]))
    found = replay(read_decision(body), decode(bytes.fromhex(asked["model"])))
    return {"outcome": found.outcome}


def main() -> None:
    judges = {"attested": _judge_attested, "answer": _judge_answer, "decision": _judge_decision}
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(judges[asked["what"]](asked)))


if __name__ == "__main__":
    main()
