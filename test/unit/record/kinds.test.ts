/** The schema of every kind of record, field by field. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { payloads } from "../../../scripts/vectors/payloads.ts";
import { cborDecode, cborEncode, type CborMap, type CborValue } from "../../../src/core/cbor/cbor.ts";
import * as kinds from "../../../src/core/record/kinds.ts";
import {
  attestationsMax,
  attributesMax,
  flipDecisionsMax,
  modelTableEntriesMax,
} from "../../../src/core/limits.ts";
import { parseFrozenChain1 } from "../../../src/core/record/kinds/frozen-chain-1.ts";
import { formatFrozenChain1, formatModuleRun1, type Chain1 } from "../../contract/version-1.ts";
import { errorOf } from "./faults.ts";

const pairs: Readonly<Record<string, (payload: CborValue, version: number) => CborMap>> = {
  frozen_chain: (payload, version) =>
    version === 1
      ? formatFrozenChain1(parseFrozenChain1(payload) as Chain1)
      : kinds.formatFrozenChain(kinds.parseFrozenChain(payload)),
  trust_model: (payload) => kinds.formatTrustModel(kinds.parseTrustModel(payload)),
  principal: (payload) =>
    kinds.formatPrincipal(kinds.parsePrincipal(payload, kinds.principalVersion(payload))),
  witness: (payload) => kinds.formatWitness(kinds.parseWitness(payload)),
  quorum: (payload) => kinds.formatQuorum(kinds.parseQuorum(payload)),
  signing_key: (payload, version) => kinds.formatSigningKey(kinds.parseSigningKey(payload, version)),
  genesis: (payload) => kinds.formatGenesis(kinds.parseGenesis(payload)),
  module: (payload) => kinds.formatModule(kinds.parseModule(payload)),
  module_run: (payload, version) =>
    version === 1
      ? formatModuleRun1(kinds.parseModuleRun1(payload))
      : kinds.formatModuleRun(kinds.parseModuleRun(payload)),
  proposal: (payload) => kinds.formatProposal(kinds.parseProposal(payload)),
  attestation: (payload) => kinds.formatAttestationRecord(kinds.parseAttestationRecord(payload)),
  schema: (payload) => kinds.formatSchema(kinds.parseSchema(payload)),
  key_retirement: (payload, version) => kinds.formatKeyRetirement(kinds.parseKeyRetirement(payload, version)),
  restoration: (payload) => kinds.formatRestoration(kinds.parseRestoration(payload)),
  erasure: (payload) => kinds.formatErasure(kinds.parseErasure(payload)),
  erased: (payload) => kinds.formatErased(kinds.parseErased(payload)),
  suspension: (payload) => kinds.formatSuspension(kinds.parseSuspension(payload)),
  feed_grant: (payload) => kinds.formatFeedGrant(kinds.parseFeedGrant(payload)),
  caller_head: (payload) => kinds.formatCallerHead(kinds.parseCallerHead(payload)),
  flip_report: (payload) => kinds.formatFlipReport(kinds.parseFlipReport(payload)),
  tombstone: (payload) => kinds.formatTombstone(kinds.parseTombstone(payload)),
  proposal_ending: (payload) => kinds.formatProposalEnding(kinds.parseProposalEnding(payload)),
};

/** Fields that are left out where they say nothing; "id" is one of a principal alone. */
const optional = ["proposer_may_attest", "attributes", "owner", "id"];
/** The same of a decision of version 2; an allow has some of them for its grounds. */
const optionalInChain2 = [
  "z",
  "threshold",
  "review",
  "caller_seq",
  "context",
  "rules",
  "delegation",
  "approval",
  "budgets",
];
const optionalIn = (kind: string, version: number): readonly string[] =>
  kind === "frozen_chain" && version === 2
    ? optionalInChain2
    : [...optional, ...(version === 2 ? ["output"] : [])];

describe("payload schemas", () => {
  it("have a sample and a pair of parse and format for every kind", () => {
    expect(new Set(payloads.map(([, kind]) => kind))).to.deep.equal(new Set(kinds.knownKinds));
    expect(Object.keys(pairs).toSorted()).to.deep.equal([...kinds.knownKinds].toSorted());
  });

  for (const [name, kind, payload, version = 1] of payloads) {
    it(`format what they parsed: ${name}`, () => {
      const again = pairs[kind]?.(cborDecode(cborEncode(payload)), version) ?? null;
      expect(cborDecode(cborEncode(again))).to.deep.equal(payload);
    });

    it(`refuse ${name} without any one of its fields, and with one more`, () => {
      for (const field of Object.keys(payload).filter((each) => !optionalIn(kind, version).includes(each))) {
        const rest = Object.fromEntries(Object.entries(payload).filter(([key]) => key !== field));
        const error = errorOf(() => kinds.checkPayload(kind, "system", rest, version));
        expect(error).to.deep.equal({
          kind: "malformedRecord",
          field: `payload.${field}`,
          rule: "is missing",
        });
      }
      const error = errorOf(() => kinds.checkPayload(kind, "system", { ...payload, extra: 1 }, version));
      expect(error).to.include({ field: "payload.extra" });
    });

    it(`refuse ${name} with any of its fields of another type`, () => {
      for (const field of Object.keys(payload)) {
        for (const wrong of [{ wrong: true }, -1.5, "\u0000"]) {
          if (field === "bias" || (kind === "frozen_chain" && typeof wrong === "number")) continue;
          if (typeof payload[field] === typeof wrong && typeof wrong === "string") continue;
          if (field === "schema" && typeof wrong === "object") continue;
          if (field === "attributes" && typeof wrong === "object") continue;
          if (kind === "principal" && field === "id" && typeof wrong === "string") continue;
          const bad = { ...payload, [field]: wrong };
          const error = errorOf(() => kinds.checkPayload(kind, "system", bad, version));
          expect(error.kind, field).to.equal("malformedRecord");
        }
      }
    });
  }

  it("hold a record to the version it says it has", () => {
    const [, , principal] = payloads.find(([, kind]) => kind === "principal") ?? [];
    kinds.checkPayload("principal", "system", principal ?? null, 1);
    kinds.checkPayload("principal", "system", principal ?? null, 2);
    const withOwner = { ...principal, owner: "ann" };
    kinds.checkPayload("principal", "system", withOwner, 2);
    expect(errorOf(() => kinds.checkPayload("principal", "system", withOwner, 1))).to.include({
      field: "payload.owner",
    });
    for (const version of [0, 3]) {
      expect(errorOf(() => kinds.checkPayload("principal", "system", withOwner, version))).to.include({
        field: "schema_version",
        rule: "must be 1 or 2 for kind principal",
      });
    }
    expect(errorOf(() => kinds.checkPayload("witness", "system", null, 2))).to.include({
      rule: "must be 1 for kind witness",
    });
  });

  it("leave an unknown kind of the user space to the caller", () => {
    kinds.checkPayload("invoice", "user", ["anything", 1.5, null]);
    kinds.checkPayload("invoice", "user", null, 9);
    expect(errorOf(() => kinds.checkPayload("invoice", "system", null))).to.include({ field: "kind" });
    expect(errorOf(() => kinds.checkPayload("user_data", "system", null))).to.include({ field: "kind" });
  });

  it("read tables whose names are those of object properties", () => {
    const [, , chain] =
      payloads.find(([, kind, , version]) => kind === "frozen_chain" && version === 2) ?? [];
    const features = JSON.parse('{"__proto__": 0.5, "constructor": 1}') as CborMap;
    const parsed = kinds.parseFrozenChain({ ...chain, features });
    expect(Object.entries(parsed.features)).to.deep.equal([
      ["__proto__", 0.5],
      ["constructor", 1],
    ]);
    const features2 = kinds.formatFrozenChain(parsed)["features"] ?? null;
    expect(cborDecode(cborEncode(features2))).to.deep.equal(parsed.features);
  });

  it("take as many of a thing as their limit, and not one more", () => {
    const sample = (kind: string): CborMap => payloads.find(([, each]) => each === kind)?.[2] ?? {};
    const many = <Item>(count: number, item: (index: number) => Item): readonly Item[] =>
      Array.from({ length: count }, (_, index) => item(index));
    const table = (count: number, value: CborValue): CborMap =>
      Object.fromEntries(many(count, (index) => [`t${index}`, value]));
    const [flip] = sample("flip_report")["flips"] as readonly CborMap[];
    const limits: readonly (readonly [
      kind: string,
      field: string,
      max: number,
      of: (count: number) => CborMap,
    ])[] = [
      ["proposal", "with", 8, (count) => ({ with: many(count, () => Uint8Array.of(1)) })],
      [
        "quorum",
        "witnesses",
        attestationsMax,
        (count) => ({ k: 1, witnesses: many(count, (index) => `w${index}`) }),
      ],
      ["trust_model", "targets", modelTableEntriesMax, (count) => ({ targets: table(count, 0.5) })],
      [
        "trust_model",
        "actions",
        modelTableEntriesMax,
        (count) => ({ actions: table(count, { risk: 0.5, min_loa: "guest" }) }),
      ],
      [
        "flip_report",
        "flips",
        flipDecisionsMax,
        (count) => ({
          size: count,
          scored: flipDecisionsMax,
          flips: many(count, (index) => ({ ...flip, position: count - 1 - index })),
        }),
      ],
      ["principal", "attributes", attributesMax, (count) => ({ attributes: table(count, true) })],
      ["principal", "attributes.of", attributesMax, (count) => ({ attributes: { of: many(count, String) } })],
    ];
    for (const [kind, field, max, of] of limits) {
      const check = (count: number) => {
        const payload = { ...sample(kind), ...of(count) };
        kinds.checkPayload(kind, "system", payload, kind === "principal" ? 2 : 1);
      };
      check(max);
      expect(
        errorOf(() => check(max + 1)),
        `${kind} ${field}`,
      ).to.include({
        kind: "malformedRecord",
        field: `payload.${field}`,
      });
    }
  });
});
