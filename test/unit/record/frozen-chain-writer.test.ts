/** The writer of decisions against the schema and the generic encoder. */
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { toHex, type Hash } from "../../../src/core/bytes.ts";
import { cborEncode, type CborMap, type CborValue } from "../../../src/core/cbor/cbor.ts";
import { encodeDecision } from "../../../src/core/record/decision-writer.ts";
import { checkPayload, frozenVerdicts } from "../../../src/core/record/kinds.ts";
import { levelNames } from "../../../src/core/record/names.ts";
import { decodeBody, encodeBody, type RecordBody } from "../../../src/core/record/record.ts";
import { SigilFault } from "../../../src/errors.ts";

const text = fc.oneof(fc.string({ unit: "binary", maxLength: 80 }), fc.constantFrom("", "__proto__", "é"));
const number = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer());
const orNull = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { freq: 4 });
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
const tableOf = <Value>(values: fc.Arbitrary<Value>) => fc.dictionary(text, values, { maxKeys: 30 });

const request = fc.record(
  {
    action: text,
    target: text,
    subject: text,
    caller: text,
    loa: fc.constantFrom(...levelNames),
    input: digest,
    metadata: tableOf(text),
    min_loa: fc.constantFrom(...levelNames),
    session: fc.string({ minLength: 1 }),
  },
  { requiredKeys: ["action", "target", "subject", "caller", "loa", "input", "metadata"] },
);

const share = fc.double({ min: 0, max: 0.5, noNaN: true });
const name = fc.string({ minLength: 1 });

/** Most of them are good; an allow may lack its grounds. */
const whole = fc.record(
  {
    request,
    features: tableOf(number),
    model: text,
    contributions: tableOf(number),
    verdict: fc.constantFrom(...frozenVerdicts),
    reason: fc.constantFrom("A", "SCORE_BELOW_THRESHOLD"),
    duration_us: fc.nat(),
    z: number,
    threshold: number,
    review: fc.tuple(share, share).map(([low, more]) => ({ low, high: low + more })),
    caller_seq: fc.integer({ min: 1 }),
    context: fc.dictionary(text, digest, { minKeys: 1, maxKeys: 30 }),
    rules: fc.uniqueArray(name, { minLength: 1, maxLength: 30 }),
    delegation: fc.uniqueArray(digest, { minLength: 1, maxLength: 8, selector: toHex }),
    approval: fc.record({ id: name, record: orNull(digest) }),
    budgets: fc.dictionary(text, fc.record({ spent: fc.nat(), left: fc.nat() }), { minKeys: 1, maxKeys: 16 }),
  },
  {
    requiredKeys: ["request", "features", "model", "contributions", "verdict", "reason", "duration_us"],
  },
) satisfies fc.Arbitrary<CborMap>;

type Chain = typeof whole extends fc.Arbitrary<infer Value> ? Value : never;
const later: readonly (keyof Chain)[] = ["context", "rules", "delegation", "approval", "budgets"];

const withoutLater = (chain: Chain): Chain => {
  const kept = { ...chain };
  for (const name of later) delete (kept as Partial<Chain>)[name];
  return kept;
};

/** What servers write, mostly: the writer takes no other. */
const served = whole.map(withoutLater);
const chains = fc.oneof(whole, { weight: 3, arbitrary: served });

const junk = fc.constantFrom<CborValue | undefined>(
  undefined,
  null,
  true,
  -1,
  1.5,
  Infinity,
  2n ** 64n,
  "",
  "lower",
  "\ud800",
  new Uint8Array(31),
  [],
  [1],
  {},
  { low: 0.5, high: 0.4 },
  { low: -0.1, high: 0.4 },
  { low: 0.5, high: 1.1 },
  0,
  { id: "x" },
);

type Parts = Record<string, unknown>;

/** All maps and lists in a value, itself first. */
const partsOf = (value: unknown): readonly Parts[] =>
  typeof value === "object" && value !== null && !(value instanceof Uint8Array)
    ? [value as Parts, ...Object.values(value).flatMap(partsOf)]
    : [];

/** One part replaced, removed or added. */
const spoilt = fc
  .tuple(chains, fc.nat(), fc.nat(), junk, fc.boolean())
  .map(([good, which, name, value, isNew]): CborValue => {
    // Of two faults either may be named, and an allow without its grounds is one.
    const isGrounded = good.z !== undefined && good.threshold !== undefined && good.model !== "";
    const chain = structuredClone({ ...good, verdict: isGrounded ? good.verdict : "deny" });
    const parts = partsOf(chain);
    const part = parts[which % parts.length] as Parts;
    const names = Object.keys(part);
    const added = Array.isArray(part) ? String(names.length) : "more";
    const key = isNew || names.length === 0 ? added : (names[name % names.length] ?? "");
    if (value === undefined && !Array.isArray(part)) delete part[key];
    else part[key] = structuredClone(value);
    return chain;
  });

const bodyOf = (payload: CborValue): RecordBody => ({
  kind: "frozen_chain",
  schemaVersion: 2,
  id: "decision",
  tenant: "acme",
  ts: 1_700_000_000_000,
  space: "user",
  payload,
  links: [],
  prev: null,
});

/** The deliberately dumb version: the schema first, then the encoder of any value. */
const encodeInTwoPasses = ({ schemaVersion, payload, ...body }: RecordBody): Uint8Array => {
  checkPayload(body.kind, body.space, payload, schemaVersion);
  const links = body.links.map(({ label, target }) => ({ label, target }));
  return cborEncode({ ...body, links, schema_version: schemaVersion, payload });
};

const outcomeOf = (run: () => Uint8Array): unknown => {
  try {
    return toHex(run());
  } catch (error) {
    if (error instanceof SigilFault) return error.error;
    throw error;
  }
};

describe("decisions written in one pass", () => {
  it("have the bytes that the schema and the encoder give", () => {
    fc.assert(
      fc.property(chains, (chain) => {
        const body = bodyOf(chain);
        const outcome = outcomeOf(() => encodeBody(body));
        expect(outcome).to.deep.equal(outcomeOf(() => encodeInTwoPasses(body)));
        if (typeof outcome === "string") decodeBody(encodeBody(body));
      }),
      { numRuns: 500 },
    );
  });

  it("are taken by the writer itself, unless there is in them what no server writes yet", () => {
    let taken = 0;
    fc.assert(
      fc.property(whole, (given) => {
        const chain = withoutLater(given);
        const tables = [chain.features, chain.contributions, chain.request.metadata];
        const isRegular =
          typeof outcomeOf(() => encodeBody(bodyOf(chain))) === "string" &&
          tables.every((table) => Object.keys(table).length <= 24);
        expect(encodeDecision(bodyOf(chain)) !== undefined).to.equal(isRegular);
        if (isRegular) taken += 1;
        for (const name of later) {
          if (given[name] === undefined) continue;
          expect(encodeDecision(bodyOf({ ...chain, [name]: given[name] })), name).to.equal(undefined);
        }
      }),
      { numRuns: 500 },
    );
    expect(taken).to.be.above(100);
  });

  it("are not taken with a field that breaks its rule", () => {
    const request = {
      action: "write",
      target: "notes",
      subject: "ann",
      caller: "ann",
      loa: "root",
      input: new Uint8Array(32),
      metadata: {},
      session: "s",
      min_loa: "guest",
    };
    const good = {
      request,
      features: { rate: 1 },
      contributions: { rate: -2 },
      model: "m",
      verdict: "allow",
      reason: "A",
      duration_us: 0,
      z: 1.5,
      threshold: 0.5,
      review: { low: 0.5, high: 0.5 },
      caller_seq: 1,
    };
    const takes = (chain: CborValue): boolean => encodeDecision(bodyOf(chain)) !== undefined;
    expect(takes(good)).to.equal(true);
    const bad: readonly Record<string, unknown>[] = [
      { session: "" },
      { session: 1 },
      { loa: "king" },
      { min_loa: "king" },
      { input: new Uint8Array(31) },
      { action: 1 },
      { caller: null },
      { metadata: { a: 1 } },
      { metadata: [] },
      { more: 1 },
    ].map((each) => ({ request: { ...request, ...each } }));
    const worse: readonly Record<string, unknown>[] = [
      { model: "" },
      { z: undefined },
      { threshold: undefined },
      { z: Infinity },
      { verdict: "maybe" },
      { reason: "a" },
      { reason: "" },
      { duration_us: -1 },
      { caller_seq: 0 },
      { caller_seq: 1.5 },
      { review: { low: 0.6, high: 0.5 } },
      { review: { low: 0.5, high: 1.5 } },
      { review: null },
      { review: { low: 0.5, high: 0.5, more: 1 } },
      { features: { rate: "1" } },
      { more: 1 },
      { contributions: { rate: NaN } },
      { features: null },
      { request: null },
    ];
    for (const each of [...bad, ...worse]) {
      const chain = { ...good, ...each } as CborMap;
      expect(takes(chain), JSON.stringify(each)).to.equal(false);
      expect(outcomeOf(() => encodeBody(bodyOf(chain)))).to.be.an("object");
    }
  });

  it("are left to the general way where the rest of the body is not a decision's", () => {
    const [chain] = fc.sample(chains, { numRuns: 1, seed: 7 });
    const good = bodyOf({ ...chain, verdict: "deny" });
    const target = new Uint8Array(32) as Hash;
    const others: readonly Partial<RecordBody>[] = [
      { id: "a//b" },
      { id: "" },
      { tenant: "Acme" },
      { ts: -1 },
      { ts: 1.5 },
      { space: "system" },
      { kind: "frozen_chains" },
      { schemaVersion: 1 },
      { schemaVersion: 3 },
      { prev: target },
      { links: [{ label: "", target }] },
      { links: [{ label: "é".repeat(200), target }] },
      { links: [{ label: "model", target: target.subarray(1) as Hash }] },
      { links: Array.from({ length: 65 }, () => ({ label: "model", target })) },
    ];
    for (const other of others) {
      expect(encodeDecision({ ...good, ...other }), JSON.stringify(other)).to.equal(undefined);
    }
    const links = [
      { label: "model", target },
      { label: "suspension", target },
    ];
    const linked = { ...good, links };
    expect(outcomeOf(() => encodeBody(linked))).to.equal(outcomeOf(() => encodeInTwoPasses(linked)));
  });

  it("are refused for what the schema or the encoder refuses", () => {
    fc.assert(
      fc.property(spoilt, (payload) => {
        const body = bodyOf(payload);
        expect(outcomeOf(() => encodeBody(body))).to.deep.equal(outcomeOf(() => encodeInTwoPasses(body)));
      }),
      { numRuns: 2000 },
    );
  });

  it("are refused as values of a class, as everything is", () => {
    class Request {
      readonly [name: string]: CborValue;
    }
    const [chain] = fc.sample(chains, { numRuns: 1, seed: 7 });
    const asked: CborMap = Object.assign(new Request(), chain?.request);
    const refused = outcomeOf(() => encodeBody(bodyOf({ ...chain, verdict: "deny", request: asked })));
    expect(refused).to.include({ kind: "unencodableValue", path: "/payload/request" });
  });
});
