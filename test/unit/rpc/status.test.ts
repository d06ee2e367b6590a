/** The one mapping of errors to gRPC codes and details. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { SigilError } from "@sigil/client";
import { SigilFault, type SigilError as Cause } from "../../../src/errors.ts";
import { serviceErrorOf, statusOf } from "../../../src/rpc/status.ts";

const occurrence = { requestId: "r-1", report: () => "i-1" };

const seen = (thrown: unknown): SigilError =>
  SigilError.from(serviceErrorOf(statusOf(thrown, occurrence), "r-1"));
const seenOf = (error: Cause): SigilError => seen(new SigilFault(error));

const ofRun = { module: "module/m", auditId: "a", run: "module_run/r" };

describe("errors as callers see them", () => {
  const table: readonly (readonly [Cause, Code, string])[] = [
    [{ kind: "invalidField", field: "action", rule: "bad" }, Code.INVALID_ARGUMENT, "INVALID_FIELD"],
    [{ kind: "notFound", what: "decision", id: "x" }, Code.NOT_FOUND, "NOT_FOUND"],
    [{ kind: "recordCorrupt", position: 5n, step: "hash", rule: "r" }, Code.DATA_LOSS, "RECORD_CORRUPT"],
    [{ kind: "indeterminate", rule: "r" }, Code.UNAVAILABLE, "INDETERMINATE"],
    [{ kind: "queueFull", what: "queue", limit: 3 }, Code.RESOURCE_EXHAUSTED, "QUEUE_FULL"],
    [{ kind: "idempotencyConflict", key: "k" }, Code.ALREADY_EXISTS, "IDEMPOTENCY_CONFLICT"],
    [{ kind: "staleVersion", id: "i", version: 2n }, Code.ABORTED, "STALE_VERSION"],
    [
      { kind: "unauthenticated", reason: "TOKEN_AUDIENCE", rule: "r" },
      Code.UNAUTHENTICATED,
      "TOKEN_AUDIENCE",
    ],
    [{ kind: "malformedModule", offset: 8, rule: "r" }, Code.INVALID_ARGUMENT, "MALFORMED_MODULE"],
    [
      { kind: "moduleRefused", reason: "MODULE_RETIRED", rule: "r", ...ofRun },
      Code.FAILED_PRECONDITION,
      "MODULE_RETIRED",
    ],
    [{ kind: "moduleAltered", wanted: "00", found: "01", ...ofRun }, Code.DATA_LOSS, "MODULE_ALTERED"],
    [{ kind: "runTrapped", rule: "unreachable", ...ofRun }, Code.FAILED_PRECONDITION, "RUN_TRAPPED"],
    [
      { kind: "runLimit", reason: "RUN_OUTPUT_LIMIT", limit: 9, ...ofRun },
      Code.RESOURCE_EXHAUSTED,
      "RUN_OUTPUT_LIMIT",
    ],
    [{ kind: "runTimedOut", limitMs: 9, ...ofRun }, Code.DEADLINE_EXCEEDED, "RUN_TIMED_OUT"],
    [{ kind: "runCrashed", ...ofRun }, Code.UNAVAILABLE, "RUN_CRASHED"],
    [{ kind: "runsBusy", what: "all tenants", limit: 64 }, Code.RESOURCE_EXHAUSTED, "RUNS_BUSY"],
    [{ kind: "modelMissing", rule: "r" }, Code.FAILED_PRECONDITION, "MODEL_MISSING"],
    [{ kind: "cancelled" }, Code.CANCELLED, "CANCELLED"],
    [{ kind: "quorumNeeded", what: "a model" }, Code.PERMISSION_DENIED, "QUORUM_NEEDED"],
    [
      { kind: "proposalEnded", reason: "PROPOSAL_EXPIRED", proposal: "proposal/1", outcome: "expired" },
      Code.FAILED_PRECONDITION,
      "PROPOSAL_EXPIRED",
    ],
    [
      { kind: "attestationForged", reason: "BAD_SIGNATURE", rule: "r" },
      Code.PERMISSION_DENIED,
      "BAD_SIGNATURE",
    ],
    [
      { kind: "attestationRepeated", reason: "ATTESTED_BEFORE", rule: "r" },
      Code.ALREADY_EXISTS,
      "ATTESTED_BEFORE",
    ],
    [
      { kind: "attestationRefused", reason: "EPOCH_PASSED", rule: "r" },
      Code.FAILED_PRECONDITION,
      "EPOCH_PASSED",
    ],
  ];
  for (const [error, code, reason] of table) {
    it(`shows ${error.kind} as ${Code[code]} with reason ${reason} and the request id`, () => {
      const shown = seenOf(error);
      expect([shown.code, shown.reason, shown.requestId]).to.deep.equal([code, reason, "r-1"]);
    });
  }

  it("names the field that breaks a rule", () => {
    const { fieldViolations } = seenOf({
      kind: "invalidField",
      field: "checks[3].action",
      rule: "must be so",
    });
    expect(fieldViolations).to.deep.equal([{ field: "checks[3].action", description: "must be so" }]);
  });

  it("says what a caller needs to go on", () => {
    const stale = seenOf({ kind: "staleVersion", id: "note/1", version: 7n });
    expect(stale.facts).to.deep.equal({ id: "note/1", version: "7" });
    const short = seenOf({ kind: "quorumShort", proposal: "proposal/1", needed: 2 });
    expect([short.code, short.reason]).to.deep.equal([Code.PERMISSION_DENIED, "QUORUM_SHORT"]);
    expect(short.facts).to.deep.equal({ proposal: "proposal/1", needed: "2" });
    const denied = seenOf({
      kind: "denied",
      action: "canon.write",
      target: "canon/user/note/1",
      verdict: "review",
      why: "REVIEW_BAND",
      auditId: "a-1",
    });
    expect([denied.code, denied.reason]).to.deep.equal([Code.PERMISSION_DENIED, "DENIED"]);
    expect(denied.facts).to.deep.equal({
      action: "canon.write",
      target: "canon/user/note/1",
      verdict: "review",
      decision_reason: "REVIEW_BAND",
      audit_id: "a-1",
    });
  });

  const fields: readonly (readonly [Cause, string, string])[] = [
    [{ kind: "malformedRecord", field: "payload.loa", rule: "must be so" }, "payload.loa", "must be so"],
    [{ kind: "malformedModel", field: "payload.bias", rule: "must be so" }, "payload.bias", "must be so"],
    [{ kind: "malformedKey", rule: "is of small order" }, "public_key", "is of small order"],
    [{ kind: "malformedCose", rule: "is none" }, "statement", "is none"],
    [{ kind: "unencodableValue", path: "/a", rule: "is no number" }, "payload", 'at "/a" is no number'],
    [{ kind: "invalidPageToken", rule: "is another's" }, "page_token", "is another's"],
  ];
  for (const [error, field, description] of fields) {
    it(`names ${field} for ${error.kind}`, () => {
      const shown = seenOf(error);
      expect(shown.code).to.equal(Code.INVALID_ARGUMENT);
      expect(shown.fieldViolations).to.deep.equal([{ field, description }]);
    });
  }

  it("says when to retry what may pass later, and nothing for what will not", () => {
    expect(seenOf({ kind: "queueFull", what: "queue", limit: 3 }).retryDelayMs).to.equal(200);
    expect(seenOf({ kind: "notServing", rule: "r" }).retryDelayMs).to.equal(1000);
    expect(seenOf({ kind: "indeterminate", rule: "r" }).retryDelayMs).to.equal(1000);
    expect(seenOf({ kind: "notFound", what: "decision", id: "x" }).retryDelayMs).to.equal(undefined);
  });

  it("hides what is not in the union, and the server's insides, behind an incident", () => {
    const secrets = [
      new Error("password=hunter2"),
      "hunter2",
      undefined,
      new SigilFault({ kind: "storeLocked", path: "/srv/hunter2" }),
      new SigilFault({ kind: "looseMode", path: "/srv/hunter2", mode: "0644", fix: "chmod" }),
    ];
    for (const secret of secrets) {
      const status = statusOf(secret, occurrence);
      expect(status.code).to.equal(Code.INTERNAL);
      expect(seen(secret).facts).to.deep.equal({ incident: "i-1" });
      expect(
        JSON.stringify(status, (_, value) => (value instanceof Uint8Array ? String(value) : value)),
      ).not.to.contain("hunter2");
    }
  });

  it("says nothing of the store's insides", () => {
    const shown = seenOf({ kind: "storeFailed", step: "/srv/hunter2", rule: "hunter2" });
    expect(shown.code).to.equal(Code.UNAVAILABLE);
    expect(shown.message + JSON.stringify(shown.facts)).not.to.contain("hunter2");
  });

  it("stays small whatever it quotes, and survives text that is no Unicode", () => {
    const { message } = statusOf(
      new SigilFault({ kind: "notFound", what: "decision", id: "\ud800".repeat(9999) }),
      occurrence,
    );
    expect(message.length).to.be.at.most(512);
    expect(message.isWellFormed()).to.equal(true);
  });
});
