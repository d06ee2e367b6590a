/** Refused record bodies in canonical CBOR: a valid body with one change each. */
import { cborEncode, type CborMap } from "@sigil/core/cbor";
import * as good from "./payloads.ts";
import { without } from "./payloads.ts";
import { decisionCases } from "./refused-decisions.ts";
import { flipReportCases } from "./refused-flip-reports.ts";
import { payloadCases } from "./refused-payloads.ts";

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

const ids = 'must have no "//" and no "." or ".." segment';
const characters = "may hold only letters, digits and . _ ~ : / @ -";
const safe = "must be an integer from 0 to 9007199254740991";
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
    { kind: "frozen_chain", schema_version: 3 },
    "schema_version",
    "must be 1 or 2 for kind frozen_chain",
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
  ...[...payloadCases, ...decisionCases, ...flipReportCases].map(
    ([name, kind, payload, field, rule, version = 1]): RefusedBody => {
      const place = kind === "frozen_chain" ? {} : { space: "system", tenant: "system" };
      const body = { ...user, ...place, kind, schema_version: version, payload };
      return [name, "body", cborEncode(body), field, rule];
    },
  ),
];
