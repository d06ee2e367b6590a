/** The verdicts of the model a new deployment starts with, and that they are not close calls. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { utf8Encode } from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode } from "../../../src/core/cbor/cbor.ts";
import { parseTrustModel } from "../../../src/core/record/kinds/trust-model.ts";
import type { LevelName } from "../../../src/core/record/names.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { gatherFeatures } from "../../../src/core/model/features.ts";
import { evaluate, parseModel } from "../../../src/core/model/model.ts";

type Row = readonly [
  level: LevelName,
  action: string,
  target: string,
  window: "empty" | "full",
  input: "none" | "text",
  verdict: "allow" | "deny",
];

const TABLE: readonly Row[] = [
  ["guest", "read", "public/docs", "empty", "none", "allow"],
  ["guest", "execute", "module/hello", "empty", "none", "deny"],
  ["guest", "delete", "user/profile", "empty", "none", "deny"],
  ["observer", "read", "audit/log", "empty", "none", "allow"],
  ["observer", "write", "user/notes", "empty", "none", "deny"],
  ["operator", "write", "user/notes", "empty", "text", "allow"],
  ["operator", "write", "user/notes", "full", "text", "deny"],
  ["operator", "execute", "module/hello", "empty", "none", "allow"],
  ["operator", "admin", "system/config", "empty", "none", "deny"],
  ["mentor", "write", "config/flags", "empty", "none", "allow"],
  ["root", "admin", "system/config", "empty", "none", "allow"],
  ["operator", "payment.refund", "payment/orders/7", "empty", "none", "allow"],
  ["observer", "payment.refund", "payment/orders/7", "empty", "none", "deny"],
  ["operator", "payment.refund", "billing-system", "empty", "none", "deny"],
  ["operator", "payment.refund", "payment/orders/7", "full", "none", "deny"],
  ["operator", "payment.transfer", "payment/orders/7", "empty", "none", "deny"],
  ["operator", "write", "user/ann/credentials/k", "empty", "none", "deny"],
  ["mentor", "secret.read", "secret/db", "empty", "none", "deny"],
  ["operator", "delete", "user/profile", "empty", "none", "deny"],
  ["operator", "levitate", "user/notes", "empty", "none", "deny"],
];

const TEXTS = [
  "Remember the milk.",
  "Please move the planning meeting to Thursday at 15:30, and tell Ann & Bob that room 4.12 is free (I checked).",
  '{"title":"Quarterly notes","tags":["draft","internal"],"body":"Revenue grew by 14.2% — see appendix B."}',
];

/** Logits by which every row must clear the threshold and the review band, without the help of a minimum level. */
const marginMin = 0.25;

describe("default model", () => {
  const model = parseModel(defaultModelPayload);

  for (const [level, action, target, window, input, verdict] of TABLE) {
    for (const text of input === "text" ? TEXTS : [null]) {
      const given = text === null ? "" : ` with ${text.length} characters of text`;
      it(`gives ${verdict} to ${level} ${action} ${target}, window ${window}${given}`, () => {
        const features = gatherFeatures(model, {
          action,
          target,
          level,
          rateCount: window === "full" ? model.rate.limit : 0,
          input: text === null ? null : utf8Encode(text),
        });
        const evaluation = evaluate(model, features);
        expect(evaluation.verdict.kind).equal(verdict);
        if (verdict === "allow") expect(evaluation.z).above((model.reviewZ?.high ?? 0) + marginMin);
        else expect(evaluation.z).below((model.reviewZ?.low ?? 0) - marginMin);
      });
    }
  }

  it("denies an unknown action for being unknown", () => {
    const features = gatherFeatures(model, {
      action: "levitate",
      target: "public/docs",
      level: "root",
      rateCount: 0,
      input: null,
    });
    expect(evaluate(model, features).verdict.reason).equal("UNKNOWN_ACTION");
  });

  it("survives its record unchanged", () => {
    const stored = cborDecode(cborEncode(defaultModelPayload));
    expect(cborEncode(stored)).deep.equal(cborEncode(defaultModelPayload));
    expect(parseModel(stored).weights).deep.equal(model.weights);
    expect(Object.keys(parseTrustModel(stored).actions)).lengthOf(model.actions.entries.length);
  });

  it("trusts nothing with a path that walks out of public", () => {
    const features = gatherFeatures(model, {
      action: "read",
      target: "public/../secret/key",
      level: "guest",
      rateCount: 0,
      input: null,
    });
    expect(features.values.target_sensitivity).equal(1);
    expect(evaluate(model, features).verdict.kind).equal("deny");
  });
});
