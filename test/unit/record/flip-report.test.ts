/** Which record is the flip report of a proposal: the one that the proposed body names, and of that proposal alone. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { payloads } from "../../../scripts/vectors/payloads.ts";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import {
  flipReportLink,
  flipReportOf,
  modelDigest,
  readFlipReport,
} from "../../../src/core/record/flip-report.ts";
import { decodeBody, encodeBody, hashRecord, type RecordBody } from "../../../src/core/record/record.ts";
import { systemBody } from "../../../src/core/record/system.ts";

const sample = (kind: string): CborMap => payloads.find(([, each]) => each === kind)?.[2] ?? {};
const proposal = "proposal/7";
const model = sample("trust_model");

const report = systemBody({
  kind: "flip_report",
  space: "user",
  id: "flip_report/7",
  ts: 1,
  payload: { ...sample("flip_report"), proposal, model: modelDigest(model) },
});

const read = (body: RecordBody) => {
  const bytes = encodeBody(body);
  return { body: decodeBody(bytes), hash: hashRecord(bytes) };
};

const proposedWith = (links: RecordBody["links"], payload: CborMap = model): RecordBody =>
  systemBody({ kind: "trust_model", id: "trust_model/active", ts: 1, payload, links });
const proposing = (body: RecordBody): RecordBody => proposedWith([flipReportLink(read(body).hash)]);
const changed = (change: CborMap): RecordBody => ({
  ...report,
  payload: { ...(report.payload as CborMap), ...change },
});

describe("the flip report of a proposal", () => {
  it("is the record that the proposed body links to", () => {
    const proposed = proposing(report);
    expect(flipReportOf(proposed)).to.deep.equal(read(report).hash);
    const { kind } = readFlipReport(read(report), proposal, proposed);
    expect(kind).to.equal("sound");
  });

  it("is named by a model alone", () => {
    const { links } = proposing(report);
    expect(
      flipReportOf(systemBody({ kind: "schema", id: "schema/note", ts: 1, payload: null, links })),
    ).to.equal(undefined);
    expect(flipReportOf(proposedWith([]))).to.equal(undefined);
  });

  const others: readonly (readonly [
    what: string,
    report: RecordBody,
    proposed: RecordBody | undefined,
    rule: string,
  ])[] = [
    [
      "changed since",
      changed({ scored: 4 }),
      proposing(report),
      "is not the one that the proposed body links to",
    ],
    ["that no link names", report, proposedWith([]), "is not the one that the proposed body links to"],
    [
      "beside a second one",
      report,
      proposedWith([flipReportLink(read(report).hash), flipReportLink(read(changed({ scored: 4 })).hash)]),
      "is not the one that the proposed body links to",
    ],
    ["of another proposal", { ...report, id: "flip_report/8" }, undefined, "is not at flip_report/7"],
    ["that says it is of another", changed({ proposal: "proposal/8" }), undefined, "is of proposal/8"],
    ["of another tenant", { ...report, tenant: "acme" }, undefined, "is not at flip_report/7"],
    ["of another kind", { ...report, kind: "note" }, undefined, "is not at flip_report/7"],
    [
      "of another model",
      report,
      proposedWith([flipReportLink(read(report).hash)], { ...model, bias: 0.125 }),
      "is of another model",
    ],
  ];
  for (const [what, body, proposed = proposing(body), rule] of others) {
    it(`is not one ${what}`, () => {
      expect(readFlipReport(read(body), proposal, proposed)).to.deep.equal({
        kind: "refused",
        rule: `the flip report ${rule}`,
      });
    });
  }
});
