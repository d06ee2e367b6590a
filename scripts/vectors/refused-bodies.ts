/** Record bodies that are canonical CBOR and still refused: a good body with one thing changed. */
import { cborEncode, type CborMap, type CborValue } from "../../src/record/cbor.ts";
import * as good from "./payloads.ts";

const user: CborMap = {
  kind: "note",
  schema_version: 1,
  id: "notes/1",
  tenant: "acme",
  ts: 1_700_000_000_000,
  space: "user",
  payload: { text: "hello" },
  links: [],
  prev: null,
};

type RefusedBody = readonly [name: string, format: "body", bytes: Uint8Array, field: string, rule: string];
type Case = readonly [name: string, change: CborMap, field: string, rule: string];

const without = (map: CborMap, name: string): CborMap =>
  Object.fromEntries(Object.entries(map).filter(([key]) => key !== name));

const ids = 'must have no "//" and no "." or ".." segment';
const characters = "may hold only letters, digits and . _ ~ : / @ -";
const safe = "must be an integer from 0 to 9007199254740991";
const levels = "must be one of guest, observer, operator, mentor, root";
const link = { label: "cites", target: new Uint8Array(32) };

const bodyCases: readonly Case[] = [
  ["a tenth key", { note: 1 }, "note", "is not a field of this kind"],
  ["kind as a number", { kind: 1 }, "kind", "must be text"],
  ["empty kind", { kind: "" }, "kind", "must not be empty"],
  ["kind of 256 bytes", { kind: "é".repeat(128) }, "kind", "must be at most 255 bytes"],
  ["schema version 0", { schema_version: 0 }, "schema_version", "must be an integer from 1 to 65535"],
  [
    "schema version 65536",
    { schema_version: 65_536 },
    "schema_version",
    "must be an integer from 1 to 65535",
  ],
  ["schema version 1.5", { schema_version: 1.5 }, "schema_version", "must be an integer from 1 to 65535"],
  ["empty id", { id: "" }, "id", "must be 1 to 255 bytes"],
  ["id of 256 bytes", { id: "x".repeat(256) }, "id", "must be 1 to 255 bytes"],
  ["id with a space", { id: "a b" }, "id", characters],
  ["id beyond ASCII", { id: "büro" }, "id", characters],
  ["id with a line feed at its end", { id: "a\n" }, "id", characters],
  ["id with two slashes", { id: "a//b" }, "id", ids],
  ["id with a dot segment", { id: "a/./b" }, "id", ids],
  ["id that climbs", { id: "../a" }, "id", ids],
  ["id that ends in dots", { id: "a/.." }, "id", ids],
  ["empty tenant", { tenant: "" }, "tenant", "must be 1 to 63 bytes"],
  ["tenant of 64 bytes", { tenant: "t".repeat(64) }, "tenant", "must be 1 to 63 bytes"],
  ["tenant in capitals", { tenant: "Acme" }, "tenant", "may hold only a-z, 0-9 and -"],
  ["ts before 1970", { ts: -1 }, "ts", safe],
  ["ts with a fraction", { ts: 0.5 }, "ts", safe],
  ["ts beyond 2^53-1", { ts: 2n ** 53n }, "ts", safe],
  ["a third space", { space: "both" }, "space", "must be one of user, system"],
  ["system space of a tenant", { space: "system" }, "tenant", "must be system in the system space"],
  [
    "unknown kind in the system space",
    { space: "system", tenant: "system" },
    "kind",
    "is unknown and the system space holds known kinds only",
  ],
  ["links as a map", { links: {} }, "links", "must be a list"],
  ["65 links", { links: Array.from({ length: 65 }, () => link) }, "links", "must have at most 64 items"],
  ["link without a target", { links: [{ label: "cites" }] }, "links[0].target", "is missing"],
  [
    "link to 31 bytes",
    { links: [link, { ...link, target: new Uint8Array(31) }] },
    "links[1].target",
    "must be 32 bytes",
  ],
  ["link with an empty label", { links: [{ ...link, label: "" }] }, "links[0].label", "must not be empty"],
  ["link with a third key", { links: [{ ...link, rel: 1 }] }, "links[0].rel", "is not a field of this kind"],
  ["prev as text", { prev: "none" }, "prev", "must be a byte string"],
  ["prev of 33 bytes", { prev: new Uint8Array(33) }, "prev", "must be 32 bytes"],
  [
    "a decision of a later version",
    { kind: "frozen_chain", schema_version: 2 },
    "schema_version",
    "must be 1 for kind frozen_chain",
  ],
  [
    "a trust model in the user space",
    { kind: "trust_model", payload: good.model },
    "space",
    "must be system for kind trust_model",
  ],
  [
    "a signing key in the user space",
    { kind: "signing_key", payload: good.signingKey },
    "space",
    "must be system for kind signing_key",
  ],
];

const request = good.chain["request"] as CborMap;
const genesisRoot = good.genesis["root"] as CborMap;
const witnesses = good.genesis["witnesses"] as readonly CborMap[];

type PayloadCase = readonly [name: string, kind: string, payload: CborValue, field: string, rule: string];

const payloadCases: readonly PayloadCase[] = [
  ["a decision that is text", "frozen_chain", "allow", "payload", "must be a map"],
  [
    "a decision without a reason",
    "frozen_chain",
    without(good.chain, "reason"),
    "payload.reason",
    "is missing",
  ],
  [
    "a decision with a remark",
    "frozen_chain",
    { ...good.chain, remark: 1 },
    "payload.remark",
    "is not a field of this kind",
  ],
  [
    "a decision that says maybe",
    "frozen_chain",
    { ...good.chain, verdict: "maybe" },
    "payload.verdict",
    "must be one of allow, deny, review",
  ],
  [
    "an allow without a score",
    "frozen_chain",
    { ...good.chain, score: null },
    "payload.verdict",
    "cannot be allow without z, score, threshold and model",
  ],
  [
    "an allow without a model",
    "frozen_chain",
    { ...good.chain, model: { id: "m", hash: null } },
    "payload.verdict",
    "cannot be allow without z, score, threshold and model",
  ],
  [
    "a reason in prose",
    "frozen_chain",
    { ...good.chain, reason: "because" },
    "payload.reason",
    "must be an UPPER_SNAKE code",
  ],
  [
    "a feature that is text",
    "frozen_chain",
    { ...good.chain, features: { risk: "high" } },
    "payload.features.risk",
    "must be a number",
  ],
  [
    "a level beyond root",
    "frozen_chain",
    { ...good.chain, request: { ...request, loa: "owner" } },
    "payload.request.loa",
    levels,
  ],
  [
    "a short input digest",
    "frozen_chain",
    { ...good.chain, request: { ...request, input_digest: new Uint8Array(20) } },
    "payload.request.input_digest",
    "must be 32 bytes",
  ],
  [
    "an input of another length",
    "frozen_chain",
    { ...good.chain, request: { ...request, input_bytes: 4 } },
    "payload.request.input_bytes",
    "must be the length of input",
  ],
  [
    "metadata that is a number",
    "frozen_chain",
    { ...good.chain, request: { ...request, metadata: { n: 1 } } },
    "payload.request.metadata.n",
    "must be text",
  ],
  [
    "a step without detail",
    "frozen_chain",
    { ...good.chain, steps: [{ name: "x" }] },
    "payload.steps[0].detail",
    "is missing",
  ],
  [
    "a review band upside down",
    "frozen_chain",
    { ...good.chain, review: { low: 0.6, high: 0.5 } },
    "payload.review.low",
    "must not exceed high",
  ],
  [
    "a threshold of 1",
    "trust_model",
    { ...good.model, threshold: 1 },
    "payload.threshold",
    "must lie inside (0, 1)",
  ],
  [
    "a risk above 1",
    "trust_model",
    { ...good.model, actions: { read: { risk: 1.5, min_loa: "guest" } } },
    "payload.actions.read.risk",
    "must be from 0 to 1",
  ],
  [
    "a window of no time",
    "trust_model",
    { ...good.model, rate: { window_ms: 0, limit: 1 } },
    "payload.rate.window_ms",
    "must be an integer from 1 to 9007199254740991",
  ],
  [
    "a principal with a short key",
    "principal",
    { ...good.principal, public_keys: [new Uint8Array(31)] },
    "payload.public_keys[0]",
    "must be a byte string of 32 bytes",
  ],
  [
    "a principal with one key twice",
    "principal",
    { ...good.principal, public_keys: [new Uint8Array(32), new Uint8Array(32)] },
    "payload.public_keys",
    "must be distinct",
  ],
  [
    "a principal that is perhaps active",
    "principal",
    { ...good.principal, active: 1 },
    "payload.active",
    "must be true or false",
  ],
  [
    "a witness without a key",
    "witness",
    { ...good.witness, public_key: null },
    "payload.public_key",
    "must be a byte string",
  ],
  [
    "a quorum of none",
    "quorum",
    { ...good.quorum, k: 0 },
    "payload.k",
    "must be an integer from 1 to 9007199254740991",
  ],
  [
    "a quorum of four in three",
    "quorum",
    { ...good.quorum, k: 4 },
    "payload.k",
    "must not exceed the 3 witnesses",
  ],
  [
    "a quorum that counts one twice",
    "quorum",
    { ...good.quorum, witnesses: ["a", "a", "b"] },
    "payload.witnesses",
    "must be distinct",
  ],
  [
    "a signing key of a third role",
    "signing_key",
    { ...good.signingKey, role: "seal" },
    "payload.role",
    "must be one of record, checkpoint",
  ],
  [
    "a signing key from a negative position",
    "signing_key",
    { ...good.signingKey, valid_from: -1 },
    "payload.valid_from",
    "must be an integer from 0 to 2^64-1",
  ],
  ["a genesis of a later format", "genesis", { ...good.genesis, format: 2 }, "payload.format", "must be 1"],
  [
    "a genesis without witnesses",
    "genesis",
    { ...good.genesis, witnesses: [] },
    "payload.k",
    "must not exceed the 0 witnesses",
  ],
  [
    "a genesis with k above n",
    "genesis",
    { ...good.genesis, k: 3 },
    "payload.k",
    "must not exceed the 2 witnesses",
  ],
  [
    "a genesis with one witness twice",
    "genesis",
    { ...good.genesis, witnesses: [witnesses[0] ?? null, { ...witnesses[1], id: "w/ann" }] },
    "payload.witnesses",
    "must have distinct ids",
  ],
  [
    "a genesis with one key for two witnesses",
    "genesis",
    { ...good.genesis, witnesses: [witnesses[0] ?? null, { ...witnesses[0], id: "w/ben" }] },
    "payload.witnesses",
    "and signing keys must all be distinct keys",
  ],
  [
    "a genesis with one signing key for both roles",
    "genesis",
    { ...good.genesis, keys: { record: new Uint8Array(32), checkpoint: new Uint8Array(32) } },
    "payload.witnesses",
    "and signing keys must all be distinct keys",
  ],
  [
    "a genesis whose root has no id",
    "genesis",
    { ...good.genesis, root: without(genesisRoot, "id") },
    "payload.root.id",
    "is missing",
  ],
  [
    "a genesis with a malformed model",
    "genesis",
    { ...good.genesis, model: { ...good.model, bias: "low" } },
    "payload.model.bias",
    "must be a number",
  ],
  ["a module without limits", "module", without(good.module, "limits"), "payload.limits", "is missing"],
  [
    "a module that asks for one thing twice",
    "module",
    { ...good.module, capabilities: ["clock", "clock"] },
    "payload.capabilities",
    "must be distinct",
  ],
  [
    "a proposal of nothing",
    "proposal",
    { ...good.proposal, body: new Uint8Array(0) },
    "payload.body",
    "must not be empty",
  ],
  [
    "an ending that is none",
    "proposal_ending",
    { ...good.ending, outcome: "paused" },
    "payload.outcome",
    "must be one of committed, rejected, withdrawn, expired, superseded",
  ],
];

export const refusedBodies: readonly RefusedBody[] = [
  ["a body that is a list", "body", cborEncode([]), "body", "must be a map"],
  ...Object.keys(user).map((name): RefusedBody => [
    `a body without ${name}`,
    "body",
    cborEncode(without(user, name)),
    name,
    "is missing",
  ]),
  ...bodyCases.map(([name, change, field, rule]): RefusedBody => [
    name,
    "body",
    cborEncode({ ...user, ...change }),
    field,
    rule,
  ]),
  ...payloadCases.map(([name, kind, payload, field, rule]): RefusedBody => {
    const place = kind === "frozen_chain" ? {} : { space: "system", tenant: "system" };
    return [name, "body", cborEncode({ ...user, ...place, kind, payload }), field, rule];
  }),
];
