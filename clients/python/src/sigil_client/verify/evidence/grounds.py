"""What evidence of any form rests on: genesis and keys, a checkpoint, a policy, trust, the model of a
decision. Pure.

Source: docs/spec/verify.md §2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..cbor import CborValue
from ..keys.ring import KeyRing
from ..merkle.checkpoint import Checkpoint, TrustedLog, verify_checkpoint, verify_mldsa44_lines
from ..merkle.note import parse_note
from ..merkle.policy import Policy, parse_policy, verify_by_policy
from ..model.recompute import Replay, replay, value_text
from ..record.decision import Decision
from ..record.kinds.genesis import parse_genesis
from ..record.names import KEY_RETIREMENT_PREFIX, SIGNING_KEY_PREFIX
from .key_walk import walk_opened
from .opening import OpenedRecord, read_record
from .steps import StepList, counted, refuse

_KEY_SUBJECTS: Final = (f"system/system/{SIGNING_KEY_PREFIX}", f"system/system/{KEY_RETIREMENT_PREFIX}")


@dataclass(frozen=True)
class Trust:
    """What the reader has from elsewhere. Without either nobody vouches for what is verified."""

    genesis: bytes | None = None
    """The hash of the genesis record, 32 bytes, as `sigil init` printed it."""
    policy: Policy | None = None
    """The log's key, and whose cosignatures a checkpoint needs."""

    def __post_init__(self) -> None:
        if self.genesis is not None and (not isinstance(self.genesis, bytes) or len(self.genesis) != 32):
            raise ValueError("genesis must be the 32 bytes of the genesis record's hash")
        if self.policy is not None and not isinstance(self.policy, Policy):
            raise ValueError("policy must be a Policy: Trust.of reads one from text")

    @staticmethod
    def of(genesis: str | bytes | None = None, policy: str | bytes | None = None) -> Trust:
        """From the hash as hexadecimal digits, and from a policy's text.

        Raises ValueError, MalformedCheckpoint naming the policy's line.
        """
        if isinstance(genesis, str):
            if len(genesis) != 64:
                raise ValueError("genesis must be 64 hexadecimal digits")
            genesis = bytes.fromhex(genesis)
        if isinstance(policy, str):
            policy = policy.encode()
        return Trust(genesis, None if policy is None else parse_policy(policy))


def is_of_keys(record: OpenedRecord) -> bool:
    """Whether it is genesis, or announces or retires a key."""
    return record.position == 0 or record.statement.subject.startswith(_KEY_SUBJECTS)


def _check_genesis(records: Sequence[OpenedRecord], origin: str, expected: bytes | None) -> bytes:
    if not records or records[0].position != 0:
        refuse("the genesis record is missing")
    first = records[0]
    walk_opened(first.hash if expected is None else expected, [first])
    genesis = parse_genesis(read_record(first).payload)
    for said in (first.statement.origin, origin):
        if said != genesis.origin:
            refuse(f"genesis is of {genesis.origin}, and not of {said}")
    return first.hash


def take_keys(
    steps: StepList, records: Sequence[OpenedRecord], origin: str, expected: bytes | None
) -> tuple[bytes, KeyRing]:
    """Steps `genesis` and `keys`. `records` are those of keys, in ledger order."""

    def genesis_step() -> tuple[bytes, str]:
        found = _check_genesis(records, origin, expected)
        return found, f"{found.hex()}, {'compared with nothing' if expected is None else 'as given'}"

    genesis = steps.take("genesis", genesis_step)

    def keys_step() -> tuple[KeyRing, str]:
        ring = walk_opened(genesis, records).ring
        return ring, counted(len(ring.keys), "key")

    return genesis, steps.take("keys", keys_step)


def log_at(ring: KeyRing, origin: str, size: int) -> TrustedLog:
    """The log by the keys that are trusted to sign checkpoints of this size. Raises SignerRefused."""
    key, beside = ring.checkpoint_keys(size)
    return TrustedLog(origin, key.public_key, None if beside is None else beside.public_key)


@dataclass(frozen=True)
class Noted:
    """A signed note, and what it says; `origin` is that of the records."""

    origin: str
    note: str
    checkpoint: Checkpoint


def take_checkpoint(
    steps: StepList, ring: KeyRing, noted: Noted, policy: Policy | None
) -> tuple[str, ...] | None:
    """Steps `checkpoint` and `policy`. Gives the policy's witnesses that cosigned; None without a policy."""

    origin, note, checkpoint = noted.origin, noted.note, noted.checkpoint

    def checkpoint_step() -> tuple[TrustedLog, str]:
        log = log_at(ring, origin, checkpoint.size)
        verify_checkpoint(note, log)
        head = f"{origin} at size {checkpoint.size}, root {checkpoint.root.hex()}"
        if log.mldsa44_key is None:
            return log, head
        lines = verify_mldsa44_lines(parse_note(note), checkpoint, log.mldsa44_key)
        said = {
            "none": "",
            "verified": ", by ML-DSA-44 as well",
            "ignored": "; its ML-DSA-44 line is ignored: no implementation of the algorithm is installed",
        }
        return log, head + said[lines]

    log = steps.take("checkpoint", checkpoint_step)
    if policy is None:
        steps.skip("policy", "none was given")
        return None
    accepting = policy

    def policy_step() -> tuple[tuple[str, ...], str]:
        _, cosigned = verify_by_policy(note, accepting)
        if all((each.name, each.public_key) != (origin, log.public_key) for each in accepting.logs):
            refuse("the policy's log has another key than the ring gives")
        names = f"cosigned by {', '.join(cosigned)}" if cosigned else "it takes no cosignature"
        return cosigned, names

    return steps.take("policy", policy_step)


def replay_of(decision: Decision, model: CborValue, *, has_model: bool) -> Replay:
    """Works a decision out again by the payload of its model; without one the only answer is a deny."""
    if not has_model and decision.verdict != "deny":
        refuse("without a model the only answer is a deny")
    return replay(decision, model)


def describe_replay(found: Replay) -> str:
    """Raises ProofError when something differs."""
    wrong = found.difference
    if wrong is not None:
        recorded, recomputed = value_text(wrong.recorded), value_text(wrong.recomputed)
        refuse(f"{found.outcome}: {wrong.field} is recorded as {recorded}, recomputed as {recomputed}")
    taken = [value.field for value in found.values if value.outcome == "asRecorded"]
    return f"{found.outcome}; taken as recorded: {', '.join(taken)}" if taken else found.outcome


def take_trust(steps: StepList, trust: Trust) -> None:
    """Step `trust`."""

    def trust_step() -> tuple[None, str]:
        grounds = [
            *(["the genesis hash that was given"] if trust.genesis is not None else []),
            *(["the log's key in the policy"] if trust.policy is not None else []),
        ]
        if not grounds:
            refuse(
                "it is consistent with itself, and nobody vouches for it: give the genesis hash, or a policy"
            )
        return None, f"from {' and '.join(grounds)}"

    steps.take("trust", trust_step)
