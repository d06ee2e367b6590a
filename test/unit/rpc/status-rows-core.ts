/** What callers see of errors of the core. Whoever changes a row changes what callers rely on. */
import { status as Code } from "@grpc/grpc-js";
import type { CoreError } from "../../../src/core/errors.ts";
import { shown, type Rows } from "./status-row.ts";

export const coreRows: Rows<CoreError["kind"]> = {
  malformedCbor: [
    [
      { kind: "malformedCbor", offset: 7, rule: "r" },
      shown(Code.INVALID_ARGUMENT, "MALFORMED_CBOR", "malformed CBOR at offset 7: r", { offset: "7" }),
    ],
  ],
  unencodableValue: [
    [
      { kind: "unencodableValue", path: "/a", rule: "is no number" },
      shown(
        Code.INVALID_ARGUMENT,
        "UNENCODABLE_VALUE",
        'value at "/a" cannot be encoded: is no number',
        { path: "/a" },
        { violation: { field: "payload", description: 'at "/a" is no number' } },
      ),
    ],
  ],
  malformedCose: [
    [
      { kind: "malformedCose", rule: "is none" },
      shown(
        Code.INVALID_ARGUMENT,
        "MALFORMED_COSE",
        "malformed COSE_Sign1: is none",
        {},
        { violation: { field: "statement", description: "is none" } },
      ),
    ],
  ],
  malformedRecord: [
    [
      { kind: "malformedRecord", field: "payload.loa", rule: "must be so" },
      shown(
        Code.INVALID_ARGUMENT,
        "MALFORMED_RECORD",
        "malformed record: payload.loa must be so",
        { field: "payload.loa" },
        { violation: { field: "payload.loa", description: "must be so" } },
      ),
    ],
  ],
  malformedKey: [
    [
      { kind: "malformedKey", rule: "is of small order" },
      shown(
        Code.INVALID_ARGUMENT,
        "MALFORMED_KEY",
        "malformed key: is of small order",
        {},
        { violation: { field: "public_key", description: "is of small order" } },
      ),
    ],
  ],
  malformedCheckpoint: [
    [
      { kind: "malformedCheckpoint", rule: "r" },
      shown(Code.INVALID_ARGUMENT, "MALFORMED_CHECKPOINT", "malformed checkpoint: r", {}),
    ],
  ],
  malformedModel: [
    [
      { kind: "malformedModel", field: "payload.bias", rule: "must be so" },
      shown(
        Code.INVALID_ARGUMENT,
        "MALFORMED_MODEL",
        "malformed model: payload.bias must be so",
        { field: "payload.bias" },
        { violation: { field: "payload.bias", description: "must be so" } },
      ),
    ],
  ],
  invalidField: [
    [
      { kind: "invalidField", field: "action", rule: "must be so" },
      shown(
        Code.INVALID_ARGUMENT,
        "INVALID_FIELD",
        "action must be so",
        { field: "action" },
        { violation: { field: "action", description: "must be so" } },
      ),
    ],
  ],
  leafOutOfRange: [
    [
      { kind: "leafOutOfRange", leafIndex: 5n, treeSize: 4n },
      shown(Code.OUT_OF_RANGE, "LEAF_OUT_OF_RANGE", "leaf 5 is not below tree size 4", {
        leaf_index: "5",
        tree_size: "4",
      }),
    ],
  ],
  sizeOutOfRange: [
    [
      { kind: "sizeOutOfRange", size: 9n, treeSize: 4n },
      shown(Code.OUT_OF_RANGE, "SIZE_OUT_OF_RANGE", "size 9 is outside the tree of size 4", {
        size: "9",
        tree_size: "4",
      }),
    ],
  ],
  recordCorrupt: [
    [
      { kind: "recordCorrupt", position: 5n, step: "hash", rule: "r" },
      shown(Code.DATA_LOSS, "RECORD_CORRUPT", "record at position 5 fails hash: r", {
        position: "5",
        step: "hash",
      }),
    ],
    [
      { kind: "recordCorrupt", position: 5n, step: "hash", rule: "r", id: "note/1" },
      shown(Code.DATA_LOSS, "RECORD_CORRUPT", "record at position 5 fails hash: r", {
        position: "5",
        step: "hash",
        id: "note/1",
      }),
    ],
  ],
  proposalEnded: [
    [
      { kind: "proposalEnded", reason: "PROPOSAL_EXPIRED", proposal: "proposal/1", outcome: "expired" },
      shown(Code.FAILED_PRECONDITION, "PROPOSAL_EXPIRED", "proposal/1 is expired", {
        proposal: "proposal/1",
        outcome: "expired",
      }),
    ],
  ],
  attestationForged: [
    [
      { kind: "attestationForged", reason: "BAD_SIGNATURE", rule: "r" },
      shown(Code.PERMISSION_DENIED, "BAD_SIGNATURE", "r", {}),
    ],
  ],
  attestationRepeated: [
    [
      { kind: "attestationRepeated", reason: "ATTESTED_BEFORE", rule: "r" },
      shown(Code.ALREADY_EXISTS, "ATTESTED_BEFORE", "r", {}),
    ],
  ],
  attestationRefused: [
    [
      { kind: "attestationRefused", reason: "EPOCH_PASSED", rule: "r" },
      shown(Code.FAILED_PRECONDITION, "EPOCH_PASSED", "r", {}),
    ],
  ],
};
