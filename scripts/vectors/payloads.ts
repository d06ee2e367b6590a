/** One or more valid payloads of every kind with a schema. */
import { parseHash, type Hash } from "@sigil/core/bytes";
import type { CborMap } from "@sigil/core/cbor";
import { encodeBody } from "@sigil/core/record";
import { sampleKey } from "./sample-key.ts";

export const without = (map: CborMap, name: string): CborMap =>
  Object.fromEntries(Object.entries(map).filter(([key]) => key !== name));

const hashOf = (fill: number): Hash => parseHash(new Uint8Array(32).fill(fill));
const key = (label: string): Uint8Array => sampleKey(label).publicKey;

export const chain: CborMap = {
  request: {
    action: "write",
    target: "user/notes",
    subject: "svc/agent-7",
    caller: "svc/gateway",
    tenant: "acme",
    loa: "operator",
    session: "s-1",
    input_digest: hashOf(3),
    input_bytes: 5,
    input: Uint8Array.from([1, 2, 3, 4, 5]),
    metadata: { request_id: "r-1", traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" },
  },
  features: { risk: 0.5, sensitivity: 0.25, level: 0.5, rate: 0, entropy: 0.1 },
  model: { id: "models/default", hash: hashOf(4) },
  contributions: { risk: -1.5, sensitivity: -0.5, level: 3, rate: 0, entropy: -0.05 },
  z: 0.95,
  score: 0.7211151780228631,
  threshold: 0.5,
  review: { low: 0.45, high: 0.55 },
  verdict: "allow",
  reason: "SCORE_ABOVE_THRESHOLD",
  steps: [
    { name: "identity", detail: "operator" },
    { name: "model", detail: "" },
  ],
  duration_us: 120,
};

/** A decision on a target with its own minimum level. */
const flooredChain: CborMap = {
  ...chain,
  request: { ...(chain["request"] as CborMap), min_loa: "operator" },
};

/** A decision made without an evaluator's answer. */
const failedChain: CborMap = {
  ...chain,
  request: {
    ...(chain["request"] as CborMap),
    subject: "",
    caller: "",
    session: "",
    input: null,
    metadata: {},
  },
  features: {},
  contributions: {},
  model: { id: "", hash: null },
  z: null,
  score: null,
  threshold: null,
  review: null,
  verdict: "deny",
  reason: "EVALUATOR_ERROR",
  steps: [],
};

export const chain2: CborMap = {
  request: {
    action: "write",
    target: "user/notes",
    subject: "svc/agent-7",
    caller: "svc/gateway",
    loa: "operator",
    session: "s-1",
    input: hashOf(3),
    metadata: { request_id: "r-1" },
  },
  features: { risk: 0.5, sensitivity: 0.25, level: 0.5, rate: 0, entropy: 0.1 },
  model: "models/default",
  contributions: { risk: -1.5, sensitivity: -0.5, level: 3, rate: 0, entropy: -0.05 },
  z: 0.95,
  threshold: 0.5,
  review: { low: 0.45, high: 0.55 },
  verdict: "allow",
  reason: "SCORE_ABOVE_THRESHOLD",
  duration_us: 120,
  caller_seq: 7,
};

/** With everything that may be left out. */
export const wholeChain2: CborMap = {
  ...chain2,
  request: { ...(chain2["request"] as CborMap), min_loa: "observer" },
  context: { amount: hashOf(8), "order/id": hashOf(9) },
  rules: ["refund-limit", "business-hours"],
  delegation: [hashOf(10), hashOf(11)],
  approval: { id: "approval/1", record: null },
  budgets: { daily: { spent: 5, left: 95 } },
};

/** With nothing that may be left out. */
const failedChain2: CborMap = {
  request: {
    action: "write",
    target: "user/notes",
    subject: "",
    caller: "",
    loa: "guest",
    input: hashOf(3),
    metadata: {},
  },
  features: {},
  contributions: {},
  model: "",
  verdict: "deny",
  reason: "EVALUATOR_ERROR",
  duration_us: 120,
};

export const model: CborMap = {
  bias: -0.5,
  weights: { risk: -3, sensitivity: -2, level: 6, rate: -2, entropy: -0.5 },
  threshold: 0.5,
  review: { low: 0.45, high: 0.55 },
  actions: { read: { risk: 0.1, min_loa: "guest" }, "admin*": { risk: 1, min_loa: "root" } },
  targets: { "public/**": 0, "system/**": 1 },
  rate: { window_ms: 60_000, limit: 60 },
};

export const principal: CborMap = {
  public_keys: [key("principal")],
  loa: "operator",
  tenant: "acme",
  active: true,
};
export const witness: CborMap = {
  public_key: key("witness"),
  owner: "Ann",
  authority: "Board",
  description: "",
};
export const quorum: CborMap = { k: 2, witnesses: ["w/ann", "w/ben", "w/cyd"], epoch: 1 };
export const signingKey: CborMap = { role: "record", public_key: key("record"), valid_from: 0 };
const mldsa44Key: CborMap = {
  role: "checkpoint_mldsa44",
  algorithm: "ML-DSA-44",
  public_key: new Uint8Array(1312).fill(0x44),
};
export const signingKey2: CborMap = { ...mldsa44Key, valid_from: 7 };
const keyRetirement2: CborMap = { ...mldsa44Key, from: 9 };

export const genesis: CborMap = {
  format: 1,
  origin: "ledger.example/main",
  root: { id: "root", public_keys: [key("root")], loa: "root", tenant: "system", active: true },
  witnesses: [
    { id: "w/ann", ...witness },
    { id: "w/ben", ...witness, public_key: key("second witness"), owner: "Ben" },
  ],
  k: 2,
  model,
  keys: { record: key("record"), checkpoint: key("checkpoint") },
};

export const module: CborMap = {
  digest: hashOf(5),
  min_loa: "mentor",
  capabilities: ["clock", "random"],
  limits: { wall_ms: 1000, memory_pages: 256, output_bytes: 65_536 },
};

export const moduleRun: CborMap = {
  module: "module/hello",
  version: 1,
  digest: hashOf(5),
  other_digest: null,
  caller: "svc/gateway",
  input_digest: hashOf(3),
  input_bytes: 5,
  output_digest: hashOf(7),
  limits: {
    wall_ms: 1000,
    memory_pages: 256,
    output_bytes: 65_536,
    log_bytes: 65_536,
    input_bytes: 1_048_576,
    host_calls: 1000,
  },
  usage: {
    wall_us: 812,
    cpu_us: 790,
    memory_bytes_peak: 131_072,
    input_bytes: 5,
    output_bytes: 16,
    log_bytes: 0,
    host_calls: 0,
  },
  end: "exited",
  exit_code: 0,
  reason: "",
};

const withoutAll = (map: CborMap, names: readonly string[]): CborMap => names.reduce(without, map);
export const moduleRun2: CborMap = {
  ...withoutAll(moduleRun, ["input_digest", "input_bytes", "output_digest"]),
  input: hashOf(3),
  output: hashOf(7),
  usage: withoutAll(moduleRun["usage"] as CborMap, ["input_bytes", "output_bytes"]),
};

/** Nothing ran. */
const deniedRun: CborMap = {
  ...moduleRun,
  caller: "",
  output_digest: null,
  usage: null,
  end: "denied",
  exit_code: null,
  reason: "LEVEL_TOO_LOW",
};

export const proposal: CborMap = {
  body: encodeBody({
    kind: "quorum",
    schemaVersion: 1,
    id: "quorum",
    tenant: "system",
    ts: 0,
    space: "system",
    payload: quorum,
    links: [],
    prev: null,
  }),
  with: [Uint8Array.of(0xa0)],
  base: hashOf(6),
  epoch: 1,
  expires_ts: 1_700_000_060_000,
  proposer: "root",
  reason: "one more witness",
  commit: "auto",
};

export const ending: CborMap = { proposal: "proposals/7", outcome: "committed", reason: "" };

export const attestation: CborMap = {
  proposal: "proposals/7",
  witness: "w/ann",
  role: "approve",
  statement: Uint8Array.of(0xd2),
};
export const schema: CborMap = { kind: "note", schema: { type: "object", required: ["text"] } };
export const keyRetirement: CborMap = { role: "record", public_key: key("record"), from: 9 };
export const erasure: CborMap = { tenant: "acme", reason: "the contract has ended" };
export const erased: CborMap = {
  tenant: "acme",
  order: Uint8Array.from({ length: 32 }, () => 7),
  records: 12,
  positions: Uint8Array.from({ length: 32 }, () => 8),
};
export const restoration: CborMap = { size: 9, checkpoint: "ledger.example/main\n9\n", backup: "backup-9" };
export const feedGrant: CborMap = {
  tenants: ["acme", "beta"],
  kinds: ["frozen_chain", "invoice"],
  spaces: ["user"],
};
export const suspension: CborMap = { reason: "the laptop was stolen", by: "root" };
export const callerHead: CborMap = { caller: "svc/gateway", seq: 7 };
export const flipReport: CborMap = {
  proposal: "proposal/7",
  model: hashOf(5),
  size: 12,
  scored: 3,
  erased: 1,
  flips: [
    { position: 11, record: hashOf(6), from: "allow", to: "deny" },
    { position: 4, record: hashOf(7), from: "deny", to: "review" },
  ],
};
const tombstone: CborMap = { kind: "note" };

export const payloads: readonly (readonly [
  name: string,
  kind: string,
  payload: CborMap,
  schemaVersion?: number,
])[] = [
  ["a decision", "frozen_chain", chain],
  ["a decision that failed", "frozen_chain", failedChain],
  ["a decision with a floor", "frozen_chain", flooredChain],
  ["a decision of version 2", "frozen_chain", chain2, 2],
  ["a decision of version 2 with everything that may be left out", "frozen_chain", wholeChain2, 2],
  ["a decision of version 2 that failed", "frozen_chain", failedChain2, 2],
  ["a trust model", "trust_model", model],
  ["a trust model without a review band", "trust_model", { ...model, review: null }],
  ["a principal", "principal", principal],
  ["a revoked principal without keys", "principal", { ...principal, public_keys: [], active: false }],
  ["a principal of version 2 with nothing more", "principal", principal, 2],
  ["a principal whose id no record id can hold", "principal", { ...principal, id: "ann+ci@example.com" }, 2],
  [
    "a principal with attributes and an owner",
    "principal",
    {
      ...principal,
      attributes: { team: "billing", grade: 3, on_call: true, regions: ["eu", "us"] },
      owner: "ann",
    },
    2,
  ],
  ["a witness", "witness", witness],
  ["a quorum", "quorum", quorum],
  ["a signing key", "signing_key", signingKey],
  [
    "a signing key from position 2^63",
    "signing_key",
    { ...signingKey, role: "checkpoint", valid_from: 2n ** 63n },
  ],
  ["a signing key of ML-DSA-44", "signing_key", signingKey2, 2],
  ["a genesis", "genesis", genesis],
  ["a module", "module", module],
  ["a run of a module", "module_run", moduleRun],
  ["a run that was denied", "module_run", deniedRun],
  [
    "a run of altered code",
    "module_run",
    { ...deniedRun, end: "refused", other_digest: hashOf(8), reason: "MODULE_ALTERED" },
  ],
  ["a run of a module, of version 2", "module_run", moduleRun2, 2],
  [
    "a run of version 2 that was denied",
    "module_run",
    {
      ...without(moduleRun2, "output"),
      caller: "",
      usage: null,
      end: "denied",
      exit_code: null,
      reason: "LEVEL_TOO_LOW",
    },
    2,
  ],
  ["a proposal", "proposal", proposal],
  ["a proposal of something new", "proposal", { ...proposal, with: [], base: null, commit: "separate" }],
  ["the ending of a proposal", "proposal_ending", ending],
  ["a quorum whose proposers may attest", "quorum", { ...quorum, proposer_may_attest: true }],
  ["a witness's approval", "attestation", attestation],
  ["a proof of possession", "attestation", { ...attestation, role: "possession" }],
  ["a schema", "schema", schema],
  ["the head of a caller", "caller_head", callerHead],
  ["a flip report", "flip_report", flipReport],
  [
    "a flip report of nothing",
    "flip_report",
    { ...flipReport, size: 2n ** 63n, scored: 0, erased: 0, flips: [] },
  ],
  ["a tombstone", "tombstone", tombstone],
  ["a retired key", "key_retirement", keyRetirement],
  ["a retired key of ML-DSA-44", "key_retirement", keyRetirement2, 2],
  ["a restoration", "restoration", restoration],
  ["an order to erase a tenant", "erasure", erasure],
  ["an erased tenant", "erased", erased],
  ["a suspension", "suspension", suspension],
  ["a feed grant", "feed_grant", feedGrant],
  ["a feed grant of everything", "feed_grant", { tenants: ["*"], kinds: ["*"], spaces: ["*"] }],
  ["a feed grant of nothing", "feed_grant", { tenants: [], kinds: [], spaces: [] }],
];
