/** The rules of request fields, at the edge. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { CheckRequest } from "../../../generated/src/sigil/trust/v1/trust.ts";
import { SigilFault } from "../../../src/errors.ts";
import { readQuestion, readTimeMs } from "../../../src/rpc/message/fields.ts";

const fieldOf = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "invalidField") return error.error.field;
    throw error;
  }
  return "";
};

const asked = (parts: Partial<CheckRequest>): string =>
  fieldOf(() =>
    readQuestion(
      CheckRequest.fromPartial({ action: "read", target: "public/docs", ...parts }),
      "sigil.test",
      "check.",
    ),
  );

describe("request fields", () => {
  it("pass at their limits", () => {
    for (const parts of [
      { action: "a".repeat(128) },
      { action: "payment.refund:v1/x-y_z" },
      { target: "t".repeat(512) },
      { target: "~a/b@c:d.e_f-g" },
      { target: "bucket/my file (1)+é*=|;,!'%25" },
      { subject: "s".repeat(512) },
      { subject: "john+tag@example.com" },
      { session: "é".repeat(64) },
      { input: new Uint8Array(262_144) },
      { idempotencyKey: "k".repeat(128) },
    ]) {
      expect(asked(parts), JSON.stringify(parts).slice(0, 80)).to.equal("");
    }
  });

  const broken: readonly (readonly [Partial<CheckRequest>, string])[] = [
    [{ action: "" }, "action"],
    [{ action: "a".repeat(129) }, "action"],
    [{ action: "read all" }, "action"],
    [{ action: "read\n" }, "action"],
    [{ action: "löschen" }, "action"],
    [{ target: "" }, "target"],
    [{ target: "t".repeat(513) }, "target"],
    [{ target: "a?b" }, "target"],
    [{ target: "a/../b" }, "target"],
    [{ target: "100%" }, "target"],
    [{ target: "a\n" }, "target"],
    [{ subject: "s".repeat(513) }, "subject"],
    [{ subject: "a/%2e%2e/b" }, "subject"],
    [{ session: "\ud800" }, "session"],
    [{ session: "é".repeat(65) }, "session"],
    [{ input: new Uint8Array(262_145) }, "input"],
    [{ idempotencyKey: "k".repeat(129) }, "idempotency_key"],
  ];
  for (const [parts, field] of broken) {
    const shown = JSON.stringify(Object.entries(parts)).slice(0, 40);
    it(`refuse ${shown} by the name of ${field}`, () => expect(asked(parts)).to.equal(`check.${field}`));
  }

  it("become their canonical spelling", () => {
    const request = CheckRequest.fromPartial({
      action: "tool//search/",
      target: "/user//ann/%63redentials/",
      subject: "spiffe://sigil.test//ann",
      session: "re\u0301union",
    });
    const { action, target, subject, session } = readQuestion(request, "sigil.test");
    expect({ action, target, subject, session }).to.deep.equal({
      action: "tool/search",
      target: "user/ann/credentials",
      subject: "ann",
      session: "réunion",
    });
  });

  it("take times from 1970 to 9999", () => {
    const of = (time: Date): string => fieldOf(() => readTimeMs(time, "from_time"));
    expect(of(new Date(0))).to.equal("");
    expect(of(new Date(-1))).to.equal("from_time");
    expect(of(new Date(Date.UTC(10_000, 0, 1)))).to.equal("from_time");
    expect(of(new Date(Number.NaN))).to.equal("from_time");
  });
});
