/**
 * What callers see of every kind of error: a kind without a row does not compile. Whoever changes a row changes what
 * callers rely on.
 */
import { status as Code } from "@grpc/grpc-js";
import type { CoreError } from "../../../src/core/errors.ts";
import type { SigilError } from "../../../src/errors.ts";
import { shown, type Rows } from "./status-row.ts";
import { coreRows } from "./status-rows-core.ts";
import { runRows, type RunKind } from "./status-rows-runs.ts";

const internal = shown(Code.INTERNAL, "INTERNAL", "internal error, incident i-1", { incident: "i-1" });

const serverRows: Rows<Exclude<SigilError["kind"], CoreError["kind"] | RunKind>> = {
  invalidPageToken: [
    [
      { kind: "invalidPageToken", rule: "is another's" },
      shown(
        Code.INVALID_ARGUMENT,
        "INVALID_PAGE_TOKEN",
        "page_token is another's",
        {},
        { violation: { field: "page_token", description: "is another's" } },
      ),
    ],
  ],
  notFound: [
    [
      { kind: "notFound", what: "decision", id: "x" },
      shown(Code.NOT_FOUND, "NOT_FOUND", 'no decision "x"', { what: "decision", id: "x" }),
    ],
  ],
  ledgerCorrupt: [
    [
      { kind: "ledgerCorrupt", position: 5n, rule: "r" },
      shown(Code.DATA_LOSS, "LEDGER_CORRUPT", "ledger is damaged at position 5: r", { position: "5" }),
    ],
  ],
  ledgerBehindAnchor: [
    [
      { kind: "ledgerBehindAnchor", size: 4n, anchorSize: 5n },
      shown(
        Code.DATA_LOSS,
        "LEDGER_BEHIND_ANCHOR",
        "ledger holds 4 records but its anchor says 5: records are missing",
        { size: "4", anchor_size: "5" },
      ),
    ],
  ],
  ledgerBehindWitness: [
    [
      { kind: "ledgerBehindWitness", witness: "w", seenSize: 5n, seenRoot: "aa", size: 4n, root: "bb" },
      internal,
    ],
  ],
  storeLocked: [[{ kind: "storeLocked", path: "/srv/hunter2" }, internal]],
  storeFailed: [
    [
      { kind: "storeFailed", step: "/srv/hunter2", rule: "hunter2" },
      shown(
        Code.UNAVAILABLE,
        "STORE_FAILED",
        "the store failed; the server is checking itself",
        {},
        { retryMs: 1000 },
      ),
    ],
  ],
  indeterminate: [
    [
      { kind: "indeterminate", rule: "r" },
      shown(
        Code.UNAVAILABLE,
        "INDETERMINATE",
        "the write may or may not have been kept: r; repeat it with the same idempotency_key",
        {},
        { retryMs: 1000 },
      ),
    ],
  ],
  notServing: [
    [
      { kind: "notServing", rule: "r" },
      shown(Code.UNAVAILABLE, "NOT_SERVING", "not serving: r", {}, { retryMs: 1000 }),
    ],
  ],
  notCosigned: [
    [
      { kind: "notCosigned", missing: 1, waitMs: 250 },
      shown(
        Code.UNAVAILABLE,
        "NOT_COSIGNED",
        "commit_policy cosigned: the record is committed and not covered, 1 more cosignature is needed after 250 ms; " +
          "repeat the call with the same idempotency_key",
        { missing: "1", wait_ms: "250" },
        { retryMs: 1000 },
      ),
    ],
    [
      { kind: "notCosigned", missing: 2, waitMs: 5000 },
      shown(
        Code.UNAVAILABLE,
        "NOT_COSIGNED",
        "commit_policy cosigned: the record is committed and not covered, 2 more cosignatures are needed after 5000 ms; " +
          "repeat the call with the same idempotency_key",
        { missing: "2", wait_ms: "5000" },
        { retryMs: 1000 },
      ),
    ],
  ],
  queueFull: [
    [
      { kind: "queueFull", what: "queue", limit: 3 },
      shown(
        Code.RESOURCE_EXHAUSTED,
        "QUEUE_FULL",
        "queue is full at 3; retry with back-off",
        { what: "queue", limit: "3" },
        { retryMs: 200 },
      ),
    ],
  ],
  overQuota: [
    [
      { kind: "overQuota", reason: "STREAMS", limit: 3, rule: "r" },
      shown(Code.RESOURCE_EXHAUSTED, "STREAMS", "r (limit 3)", { limit: "3" }),
    ],
  ],
  tooLarge: [
    [
      { kind: "tooLarge", what: "input", bytes: 9, limit: 8 },
      shown(Code.INVALID_ARGUMENT, "TOO_LARGE", "input is 9 bytes, the limit is 8", {
        what: "input",
        bytes: "9",
        limit: "8",
      }),
    ],
  ],
  cancelled: [[{ kind: "cancelled" }, shown(Code.CANCELLED, "CANCELLED", "cancelled by the caller", {})]],
  deadlineExceeded: [
    [
      { kind: "deadlineExceeded", deadlineMs: 50 },
      shown(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "deadline of 50 ms exceeded", { deadline_ms: "50" }),
    ],
  ],
  idempotencyConflict: [
    [
      { kind: "idempotencyConflict", key: "k" },
      shown(
        Code.ALREADY_EXISTS,
        "IDEMPOTENCY_CONFLICT",
        'idempotency_key "k" was used with another request body',
        { key: "k" },
      ),
    ],
  ],
  staleVersion: [
    [
      { kind: "staleVersion", id: "note/1", version: 7n },
      shown(Code.ABORTED, "STALE_VERSION", '"note/1" is at version 7; read it and try again', {
        id: "note/1",
        version: "7",
      }),
    ],
  ],
  unauthenticated: [
    [
      { kind: "unauthenticated", reason: "TOKEN_AUDIENCE", rule: "r" },
      shown(Code.UNAUTHENTICATED, "TOKEN_AUDIENCE", "not authenticated: r", {}),
    ],
  ],
  levelTooLow: [
    [
      { kind: "levelTooLow", rpc: "/s/M", needed: "root", actual: "guest" },
      shown(Code.PERMISSION_DENIED, "LEVEL_TOO_LOW", "/s/M needs level root, the caller has guest", {
        rpc: "/s/M",
        needed: "root",
        actual: "guest",
      }),
    ],
  ],
  tenantForbidden: [
    [
      { kind: "tenantForbidden", tenant: "acme", rule: "r" },
      shown(Code.PERMISSION_DENIED, "TENANT_FORBIDDEN", 'tenant "acme" is out of reach: r', {
        tenant: "acme",
      }),
    ],
  ],
  feedForbidden: [
    [
      { kind: "feedForbidden", field: "kinds", value: "config", rule: "r" },
      shown(Code.PERMISSION_DENIED, "FEED_NOT_GRANTED", 'kinds "config" may not be watched: r', {
        field: "kinds",
        value: "config",
      }),
    ],
  ],
  denied: [
    [
      {
        kind: "denied",
        action: "canon.write",
        target: "canon/user/note/1",
        verdict: "review",
        why: "REVIEW_BAND",
        auditId: "a-1",
      },
      shown(
        Code.PERMISSION_DENIED,
        "DENIED",
        "the trust model answers review to canon.write canon/user/note/1: REVIEW_BAND",
        {
          action: "canon.write",
          target: "canon/user/note/1",
          verdict: "review",
          decision_reason: "REVIEW_BAND",
          audit_id: "a-1",
        },
      ),
    ],
    [
      {
        kind: "denied",
        action: "module.run",
        target: "module/m",
        verdict: "deny",
        why: "FLOOR",
        auditId: "a-1",
        run: "module_run/r",
      },
      shown(Code.PERMISSION_DENIED, "DENIED", "the trust model answers deny to module.run module/m: FLOOR", {
        action: "module.run",
        target: "module/m",
        verdict: "deny",
        decision_reason: "FLOOR",
        audit_id: "a-1",
        run_id: "module_run/r",
      }),
    ],
  ],
  quorumNeeded: [
    [
      { kind: "quorumNeeded", what: "a model" },
      shown(Code.PERMISSION_DENIED, "QUORUM_NEEDED", "a model takes a quorum: propose it", {
        what: "a model",
      }),
    ],
  ],
  quorumShort: [
    [
      { kind: "quorumShort", proposal: "proposal/1", needed: 2 },
      shown(Code.PERMISSION_DENIED, "QUORUM_SHORT", "proposal/1 still needs 2 approvals", {
        proposal: "proposal/1",
        needed: "2",
      }),
    ],
  ],
  suspensionRefused: [
    [
      { kind: "suspensionRefused", reason: "LAST_ROOT", rule: "r" },
      shown(Code.FAILED_PRECONDITION, "LAST_ROOT", "r", {}),
    ],
  ],
  erased: [
    [
      { kind: "erased", tenant: "acme", erasure: "cc", erasurePosition: 6n },
      shown(Code.FAILED_PRECONDITION, "ERASED", 'tenant "acme" was erased by the record at position 6', {
        tenant: "acme",
        erasure: "cc",
        erasure_position: "6",
      }),
    ],
  ],
  modelMissing: [
    [
      { kind: "modelMissing", rule: "r" },
      shown(Code.FAILED_PRECONDITION, "MODEL_MISSING", "no usable trust model: r", {}),
    ],
  ],
  wrongKeyEncryptionKey: [[{ kind: "wrongKeyEncryptionKey", source: "/srv/hunter2" }, internal]],
  keyUnavailable: [
    [
      { kind: "keyUnavailable", rule: "r" },
      shown(Code.FAILED_PRECONDITION, "KEY_UNAVAILABLE", "key unavailable: r", {}),
    ],
  ],
  tokenUnavailable: [[{ kind: "tokenUnavailable", token: "hunter2", rule: "r" }, internal]],
  checkpointUnsigned: [
    [
      { kind: "checkpointUnsigned", size: 7n, storedSize: 9n },
      shown(
        Code.FAILED_PRECONDITION,
        "CHECKPOINT_UNSIGNED",
        "no commit ended at size 7, and the checkpoint key of that time signs no more; the next size with a checkpoint is 9",
        { size: "7", stored_size: "9" },
      ),
    ],
  ],
  keyReplaced: [
    [
      { kind: "keyReplaced", role: "log", current: "dd" },
      shown(Code.ABORTED, "KEY_REPLACED", "the log key in use is dd", { role: "log", current: "dd" }),
    ],
  ],
  looseMode: [[{ kind: "looseMode", path: "/srv/hunter2", mode: "0644", fix: "chmod" }, internal]],
  foreignOwner: [[{ kind: "foreignOwner", path: "/srv/hunter2", uid: 7, fix: "chown" }, internal]],
  directoryNotEmpty: [[{ kind: "directoryNotEmpty", path: "/srv/hunter2" }, internal]],
  notInitialised: [[{ kind: "notInitialised", path: "/srv/hunter2" }, internal]],
  newerFormat: [[{ kind: "newerFormat", found: 9, known: 3 }, internal]],
  olderFormat: [
    [{ kind: "olderFormat", path: "/srv/hunter2", found: 2, known: 3, interrupted: false }, internal],
  ],
  invalidConfig: [[{ kind: "invalidConfig", key: "hunter2", rule: "r" }, internal]],
  backupRefused: [[{ kind: "backupRefused", backup: "/srv/hunter2", rule: "r" }, internal]],
  usage: [[{ kind: "usage", rule: "hunter2" }, internal]],
};

export const rows: Rows<SigilError["kind"]> = { ...coreRows, ...runRows, ...serverRows };
