"""What the records of a pack are there for, and what follows from the decisions, read once from beginning to end.

Holds models, restorations, two records a caller, and each caller's numbers; never decisions. Source: docs/spec/pack.md
§8, steps `lines` to `disclosures`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from ..cbor import CborValue, decode
from ..ecma import stringify
from ..errors import ProofError, RecordCorrupt
from ..evidence.grounds import describe_replay, is_of_keys, replay_of
from ..evidence.opening import OpenedRecord, leaf_of, open_record, read_record, require_signature, signer_of
from ..keys.ring import KeyRing
from ..limits import PACK_CALLERS_MAX, PACK_MODELS_MAX, PACK_RESTORATIONS_MAX
from ..record.body import RecordBody
from ..record.commitment import Disclosures, read_disclosures
from ..record.decision import read_decision
from ..record.kinds.operations import parse_caller_head
from .columns import PackDecision, columns_of, format_table_row, table_head
from .controls import CONTROLS_HEAD, Control, ControlCount
from .manifest import Line, Manifest, parse_decision_line, parse_record_line
from .reading import Json, PackFolder, PackRefused, in_step, invalid
from .sparse_tree import SparseTree
from .tally import Tally


@dataclass(frozen=True)
class Boundary:
    """A record that says a number of a caller's, besides the decisions of the span."""

    caller: str
    number: int
    kind: str
    """`decision` or `head`."""
    time_ms: int


def _refuse(rule: str) -> NoReturn:
    raise PackRefused(rule)


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        invalid("base64", "must be padded standard base64")
    if base64.b64encode(data).decode() != text:
        invalid("base64", "must be padded standard base64")
    return data


def _lines(folder: PackFolder, name: str) -> Iterator[Line]:
    parse = parse_decision_line if name == "decisions.jsonl" else parse_record_line
    number = 0
    try:
        for text in folder.lines(name):
            number += 1
            yield parse(text)
    except PackRefused as refused:
        raise PackRefused(f"{name}, line {number}: {refused.rule}", "lines") from refused


def _open_line(line: Line) -> OpenedRecord:
    return in_step("lines", lambda: open_record(line.position, _from_base64(line.envelope)))


def read_key_records(folder: PackFolder, records_max: int) -> list[OpenedRecord]:
    """Genesis and the other records of keys, in the order of the ledger."""
    found: list[OpenedRecord] = []
    for line in _lines(folder, "records.jsonl"):
        opened = _open_line(line)
        if is_of_keys(opened):
            if len(found) == records_max:
                raise PackRefused(f"has more than {records_max} records of keys", "keys")
            found.append(opened)
    return found


def _merged(folder: PackFolder, size: int) -> Iterator[Line]:
    """Both files as one, in ascending order of positions; a position stands once."""
    records, decisions = _lines(folder, "records.jsonl"), _lines(folder, "decisions.jsonl")
    record, decision = next(records, None), next(decisions, None)
    following = 0
    while record is not None or decision is not None:
        is_record = record is not None and (decision is None or record.position <= decision.position)
        line = record if is_record else decision
        if line is None:
            return
        if line.position < following:
            rule = f"must be in ascending order: {line.position} stands after {following - 1}"
            raise PackRefused(f"position {rule}", "lines")
        if line.position >= size:
            raise PackRefused(f"position must be below {size}, the size of the tree", "lines")
        following = line.position + 1
        yield line
        if is_record:
            record = next(records, None)
        else:
            decision = next(decisions, None)


def signed_items(folder: PackFolder, size: int, ring: KeyRing) -> Iterator[tuple[Line, OpenedRecord]]:
    """Steps `lines` and `signature`. Raises PackRefused naming the step."""
    for line in _merged(folder, size):
        opened = _open_line(line)
        # Those of the walk were verified in it, by the ring of their moment: a key may have been retired since.
        if not is_of_keys(opened):
            _verify(opened, ring)
        yield line, opened


def _verify(opened: OpenedRecord, ring: KeyRing) -> None:
    in_step("signature", lambda: require_signature(opened, signer_of(opened, ring).public_key))


class _ComparedRows:
    """A file of rows beside what they must be."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._is_same = True

    def expect(self, text: str) -> bool:
        """True again once a difference was told."""
        if not self._is_same:
            return True
        wanted = text.encode("utf-8", "surrogatepass")
        self._is_same = self._source.read(len(wanted)) == wanted
        return self._is_same

    def is_over(self) -> bool:
        return not self._is_same or self._source.read(1) == b""


@dataclass
class _Model:
    payload: CborValue
    is_named: bool = False


class PackContent:
    """Takes the records one after the other; `broken` has the first rule broken of each step not taken yet."""

    def __init__(
        self,
        manifest: Manifest,
        tree: SparseTree,
        table: BinaryIO,
        controls: tuple[tuple[Control, ...], BinaryIO] | None,
    ) -> None:
        self._manifest = manifest
        self._tree = tree
        self._models: dict[bytes, _Model] = {}
        self._table = _ComparedRows(table)
        self._rows = None if controls is None else _ComparedRows(controls[1])
        self._damaged = {gap["position"] for gap in manifest.gaps if gap["kind"] == "damaged"}
        self.controls = None if controls is None else ControlCount(controls[0])
        self.tally = Tally()
        self.boundaries: dict[int, Boundary] = {}
        self.restorations: list[int] = []
        self.decisions = self.records = self.disclosed = self.equal = self.partial = 0
        self.broken: dict[str, str] = {}
        self._compare("table", self._table, table_head(), "its head")
        if self._rows is not None:
            self._compare("controls", self._rows, CONTROLS_HEAD, "its head")

    def add(self, line: Line, opened: OpenedRecord) -> None:
        """Raises PackRefused naming the step."""
        if str(line.position) in self._damaged:
            self._note("completeness", f"position {line.position} is said to be damaged, and is there")
        if line.text is not None:
            self._add_decision(line, opened)
        else:
            in_step("record", lambda: self._add_record(opened))
        in_step("inclusion", lambda: self._tree.add(line.position, leaf_of(opened.envelope)))

    def end(self) -> None:
        """After the last. Raises PackRefused naming the step."""
        in_step("record", self._check_counts)
        if not self._table.is_over():
            self._note("table", "there is more than the decisions make")
        if self._rows is not None and not self._rows.is_over():
            self._note("controls", "controls.csv has more than the decisions make")

    def _check_counts(self) -> None:
        for name, said, found in (
            ("decisions", self._manifest.decisions, self.decisions),
            ("records", self._manifest.records, self.records),
        ):
            if said != found:
                _refuse(f"the manifest counts {said} {name}, there are {found}")
        idle = next((name for name, model in self._models.items() if not model.is_named), None)
        if idle is not None:
            _refuse(f"no decision names the model {idle.hex()}")

    def _note(self, step: str, rule: str) -> None:
        self.broken.setdefault(step, rule)

    def _compare(self, step: str, rows: _ComparedRows, text: str, what: str) -> None:
        name = "decisions.csv" if step == "table" else "controls.csv"
        if text != "" and not rows.expect(text):
            self._note(step, f"{name} differs from what the decisions make, at {what}")

    def _read_body(self, opened: OpenedRecord) -> RecordBody:
        body = read_record(opened, self._manifest.origin)
        if body.tenant != self._manifest.tenant:
            raise RecordCorrupt(opened.position, "schema", "the record belongs to another tenant")
        if body.kind != "frozen_chain" or body.space != "user":
            _refuse(f"the record at position {opened.position} is no decision")
        if not self._manifest.includes(body.ts):
            _refuse(f"the decision at position {opened.position} was not made within the span")
        return body

    def _add_decision(self, line: Line, opened: OpenedRecord) -> None:
        body = in_step("record", lambda: self._read_body(opened))
        disclosures = in_step("disclosures", lambda: self._disclosures(line, body))
        decision = in_step("record", lambda: read_decision(body, disclosures))
        item = PackDecision(opened.position, opened.hash, body, decision)
        columns = in_step("record", lambda: columns_of(item))
        view: Json = {"position": str(line.position), "envelope": line.envelope}
        if line.disclosures is not None:
            view["disclosures"] = line.disclosures
        if stringify({**view, "decision": columns}) != line.text:
            raise PackRefused(f"the line of position {item.position} is not what its record makes", "lines")
        self.decisions += 1
        self._replay(item)
        try:
            self.tally.add(item)
        except PackRefused as refused:
            self._note("completeness", refused.rule)
        at = f"position {item.position}"
        self._compare("table", self._table, format_table_row(item.position, columns), at)
        if self.controls is not None and self._rows is not None:
            self._compare("controls", self._rows, self.controls.add(item), at)

    def _disclosures(self, line: Line, body: RecordBody) -> Disclosures:
        if line.disclosures is None:
            return {}
        disclosures = read_disclosures(decode(_from_base64(line.disclosures)), body)
        if not disclosures:
            _refuse(f"the decision at position {line.position} discloses nothing")
        self.disclosed += 1
        return disclosures

    def _replay(self, item: PackDecision) -> None:
        named = item.decision.model_hash
        model = None if named is None else self._models.get(named)
        if named is not None and model is None:
            rule = f"the decision at position {item.position} names the model {named.hex()}, which is missing"
            raise PackRefused(rule, "record")
        if model is not None:
            model.is_named = True
        try:
            payload = None if model is None else model.payload
            replayed = replay_of(item.decision, payload, has_model=model is not None)
            describe_replay(replayed)
        except ProofError as error:
            self._note("decision", f"position {item.position}: {error}")
            return
        if replayed.outcome == "equal":
            self.equal += 1
        else:
            self.partial += 1

    def _add_record(self, opened: OpenedRecord) -> None:
        """What a record besides the decisions is there for. One that is there for nothing is refused."""
        self.records += 1
        body = read_record(opened, self._manifest.origin)
        if is_of_keys(opened):
            return
        if body.space == "system" and body.kind == "trust_model":
            if len(self._models) == PACK_MODELS_MAX:
                _refuse(f"there are more than {PACK_MODELS_MAX} models")
            self._models[opened.hash] = _Model(body.payload)
        elif body.space == "system" and body.id.startswith("restoration/"):
            if len(self.restorations) == PACK_RESTORATIONS_MAX:
                _refuse(f"there are more than {PACK_RESTORATIONS_MAX} restorations")
            self.restorations.append(opened.position)
        elif body.tenant == self._manifest.tenant and self._is_numbered(opened.position, body):
            if len(self.boundaries) > 2 * PACK_CALLERS_MAX:
                _refuse(f"there are more than {2 * PACK_CALLERS_MAX} records around the span")
        else:
            _refuse(f"nothing needs the record at position {opened.position}")

    def _is_numbered(self, position: int, body: RecordBody) -> bool:
        """A decision outside of the span, or a head: what a caller's numbers end with."""
        if body.kind == "caller_head":
            head = parse_caller_head(body.payload)
            self.boundaries[position] = Boundary(head.caller, head.seq, "head", body.ts)
            return True
        if body.kind != "frozen_chain" or self._manifest.includes(body.ts):
            return False
        decision = read_decision(body)
        if decision.caller_seq is None:
            return False
        caller = decision.request.caller
        self.boundaries[position] = Boundary(caller, decision.caller_seq, "decision", body.ts)
        return True
