/** Decisions of random models, as records: what another implementation must work out again, to the last bit of z. */
import { parseHash, toHex } from "../../src/core/bytes.ts";
import { cborEncode, type CborMap } from "../../src/core/cbor/cbor.ts";
import { FEATURES, lookUpFeatures } from "../../src/core/model/features.ts";
import { evaluate, parseModel } from "../../src/core/model/model.ts";
import { levelNames } from "../../src/core/record/names.ts";
import { encodeBody } from "../../src/core/record/record.ts";

/** A decision's body and its model's payload in hexadecimal CBOR, and what a replay finds. */
export type DecisionLine = {
  readonly decision: string;
  readonly model: string;
  readonly outcome: "partial" | "different";
};

type Random = () => number;

/** Mulberry32: the same decisions in every run. */
const randomOf = (seed: number): Random => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

const pick = <Item>(random: Random, items: readonly Item[]): Item =>
  items[Math.floor(random() * items.length)] as Item;

/** All 53 bits of a double are in use, and a part are round numbers, at which verdicts turn. */
const share = (random: Random): number =>
  random() < 0.2 ? Math.floor(random() * 5) / 4 : (random() + random() / 2 ** 32) / (1 + 2 ** -32);

const inside = (random: Random): number => Math.min(0.999, Math.max(0.001, share(random)));

const actionGlobs = ["read", "write", "tool.*", "tool.web.*", "**", "a/**", "*.append", "notes.*"];
const targetGlobs = ["user/**", "user/*/notes/**", "user/ann/*", "**/notes/**", "**", "a%2Ab", "secret/*"];
const actions = ["read", "write", "tool.search", "tool.web.get", "a/b", "notes.append", "other"];
const targets = ["user/ann/notes/1", "user/ben", "user/ann/x", "a*b", "secret/k", "public/a", "x/notes/y"];

const some = (random: Random, globs: readonly string[]): readonly string[] =>
  globs.filter(() => random() < 0.5);

const modelOf = (random: Random): CborMap => {
  const weight = (sign: number): number => sign * (share(random) + 2 ** -20) * 10;
  const threshold = inside(random);
  const low = threshold * inside(random);
  const high = Math.min(0.9999, threshold + (1 - threshold) * share(random));
  return {
    bias: (share(random) - 0.5) * 10,
    weights: Object.fromEntries(FEATURES.map((name) => [name, weight(name === "level" ? 1 : -1)])),
    threshold,
    review: random() < 0.5 ? null : { low, high },
    actions: Object.fromEntries(
      some(random, actionGlobs).map((glob) => [
        glob,
        { risk: share(random), min_loa: pick(random, levelNames) },
      ]),
    ),
    targets: Object.fromEntries(some(random, targetGlobs).map((glob) => [glob, share(random)])),
    rate: { window_ms: 60_000, limit: 600 },
  };
};

/** The next double away from zero, or the smallest. */
const nudged = (value: number): number => {
  const cell = new DataView(new ArrayBuffer(8));
  cell.setFloat64(0, value);
  cell.setBigUint64(0, cell.getBigUint64(0) + 1n);
  return cell.getFloat64(0);
};

const hash = parseHash(new Uint8Array(32).fill(7));

const lineOf = (random: Random): DecisionLine => {
  const payload = modelOf(random);
  const model = parseModel(payload);
  const minLoa = random() < 0.3 ? pick(random, levelNames) : undefined;
  const asked = {
    action: pick(random, actions),
    target: pick(random, targets),
    level: pick(random, levelNames),
  };
  const features = lookUpFeatures(
    model,
    { ...asked, minLevel: minLoa },
    { rate: share(random), entropy: share(random) },
  );
  const { z, contributions, verdict } = evaluate(model, features);
  const isChanged = random() < 0.3;
  const review = model.review === null ? {} : { review: { low: model.review.low, high: model.review.high } };
  const body = encodeBody({
    kind: "frozen_chain",
    schemaVersion: 2,
    id: "decision",
    tenant: "acme",
    ts: 1,
    space: "user",
    payload: {
      request: {
        action: asked.action,
        target: asked.target,
        subject: "ann",
        caller: "ann",
        loa: asked.level,
        ...(minLoa === undefined ? {} : { min_loa: minLoa }),
        input: hash,
        metadata: {},
      },
      features: { ...features.values },
      contributions: { ...contributions },
      model: "trust_model/active",
      z: isChanged ? nudged(z) : z,
      threshold: model.threshold,
      ...review,
      verdict: verdict.kind,
      reason: verdict.reason,
      duration_us: 1,
    },
    links: [{ label: "model", target: hash }],
    prev: null,
  });
  return {
    decision: toHex(body),
    model: toHex(cborEncode(payload)),
    outcome: isChanged ? "different" : "partial",
  };
};

/** @returns as many decisions, some with a z that is one bit off. */
export const randomDecisions = (count: number, seed: number): readonly DecisionLine[] => {
  const random = randomOf(seed);
  return Array.from({ length: count }, () => lineOf(random));
};
