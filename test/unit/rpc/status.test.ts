/** The one mapping of errors to gRPC codes and details. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { SigilError } from "@sigil/client";
import { SigilFault, type SigilError as Cause } from "../../../src/errors.ts";
import {
  BadRequest,
  ErrorInfo,
  RequestInfo,
  RetryInfo,
} from "../../../generated/src/google/rpc/error_details.ts";
import { Status } from "../../../generated/src/google/rpc/status.ts";
import { serviceErrorOf, statusOf } from "../../../src/rpc/status.ts";
import type { Shown } from "./status-row.ts";
import { rows } from "./status-rows.ts";

const occurrence = { requestId: "r-1", report: () => "i-1" };

const seen = (thrown: unknown): SigilError =>
  SigilError.from(serviceErrorOf(statusOf(thrown, occurrence), "r-1"));
const seenOf = (error: Cause): SigilError => seen(new SigilFault(error));

type Row = readonly [error: Cause, shown: Shown];
const all: readonly Row[] = Object.values(rows).flatMap((ofKind): readonly Row[] => ofKind);

const detail = (name: string, value: Uint8Array) => ({
  typeUrl: `type.googleapis.com/google.rpc.${name}`,
  value,
});

/** The status that a row stands for, made without the code under test. */
const bytesOf = ({ code, message, reason, facts, violation, retryMs }: Shown): Buffer => {
  const info = ErrorInfo.encode({ reason, domain: "sigil", metadata: { ...facts } }).finish();
  const request = RequestInfo.encode({ requestId: "r-1", servingData: "" }).finish();
  const details = [detail("ErrorInfo", info), detail("RequestInfo", request)];
  if (violation !== undefined)
    details.push(detail("BadRequest", BadRequest.encode({ fieldViolations: [violation] }).finish()));
  if (retryMs !== undefined) {
    const retryDelay = { seconds: BigInt(Math.floor(retryMs / 1000)), nanos: (retryMs % 1000) * 1_000_000 };
    details.push(detail("RetryInfo", RetryInfo.encode({ retryDelay }).finish()));
  }
  return Buffer.from(Status.encode({ code, message, details }).finish());
};

describe("errors as callers see them", () => {
  const titles = new Set<string>();
  for (const [error, shown] of all) {
    const { code, message, reason, facts, violation, retryMs } = shown;
    const title = `shows ${error.kind} as ${Code[code]} with reason ${reason} and the request id`;
    it(titles.has(title) ? `${title}, and all that it may know` : title, () => {
      const status = statusOf(new SigilFault(error), occurrence);
      const seen = seenOf(error);
      expect([seen.code, seen.reason, seen.requestId]).to.deep.equal([code, reason, "r-1"]);
      expect([status.message, seen.facts]).to.deep.equal([message, facts]);
      expect(seen.retryDelayMs).to.equal(retryMs);
      expect(Buffer.from(Status.encode(status).finish()).toString("hex")).to.equal(
        bytesOf(shown).toString("hex"),
      );
    });
    titles.add(title);
    if (violation === undefined) continue;
    it(`names ${violation.field} for ${error.kind}`, () => {
      expect(seenOf(error).fieldViolations).to.deep.equal([violation]);
    });
  }

  it("has a row for every kind of the union", () => {
    const kinds = ["../../../src/errors.ts", "../../../src/core/errors.ts"].flatMap((file) => {
      const source = readFileSync(new URL(file, import.meta.url), "utf8");
      return [...source.matchAll(/readonly kind: "(\w+)"/g)].map(([, kind]) => kind);
    });
    expect(kinds.length).to.be.greaterThan(50);
    expect(Object.keys(rows)).to.have.members(kinds);
    for (const [kind, ofKind] of Object.entries(rows)) {
      expect(ofKind.length, kind).to.be.greaterThan(0);
      for (const [error] of ofKind) expect(error.kind).to.equal(kind);
    }
  });

  it("shows no field of an error that its row does not name", () => {
    for (const [error, shown] of all) {
      const more = Object.assign({}, error, { spare: "hunter2" });
      expect(seenOf(more).facts, error.kind).to.deep.equal(shown.facts);
    }
  });

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
