/** What is refused before a witness sees it, and which ids and kinds may be written by whom. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { candidateOf } from "../../../src/canon/proposals/candidate.ts";
import { checkFreePrincipal, checkUserKind, proposableKind } from "../../../src/canon/kinds.ts";
import type { CborMap, CborValue } from "../../../src/core/cbor/cbor.ts";
import { jsonSchemaCharactersMax } from "../../../src/limits.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { checkReplaceable } from "../../../src/trust/lockout.ts";
import { canonicalModel } from "../../../src/core/model/model-spelling.ts";
import { parseModel } from "../../../src/core/model/model.ts";
import { createKey } from "../identity/minting.ts";
import { errorOf } from "../record/faults.ts";

const spellModel = (payload: CborValue): CborValue => {
  const spelled = canonicalModel(payload);
  checkReplaceable(parseModel(spelled));
  return spelled;
};
const rules = { spellModel, trustDomain: "sigil.test" };
const enrol = (payload: CborMap, tenant: string, id = "principal/reader") =>
  checkFreePrincipal({ id, payload }, { tenant, trustDomain: "sigil.test", path: "" });
const propose = (id: string, payload: CborValue) =>
  candidateOf(proposableKind(id), id, { kind: "payload", payload }, rules);
const end = (id: string) => candidateOf(proposableKind(id), id, { kind: "tombstone" }, rules);

const { publicKey } = createKey();
const principal = { public_keys: [publicKey], loa: "operator", tenant: "acme", active: true };
const schema = { kind: "note", schema: { type: "object" } };
/** The neutral element: a point of order one. */
const smallOrder = Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? 1 : 0));

describe("a proposal", () => {
  it("may change a model, a principal or a schema, and end the latter two", () => {
    expect(propose("trust_model/active", defaultModelPayload).kind).to.equal("trust_model");
    expect(propose("principal/ann", principal).kind).to.equal("principal");
    expect(propose("schema/note", schema).kind).to.equal("schema");
    expect(end("principal/ann")).to.deep.equal({
      kind: "tombstone",
      schemaVersion: 1,
      payload: { kind: "principal" },
    });
    expect(end("schema/note")).to.deep.equal({
      kind: "tombstone",
      schemaVersion: 1,
      payload: { kind: "schema" },
    });
  });

  const refused: readonly (readonly [name: string, run: () => unknown, error: object])[] = [
    ["of a second model", () => propose("trust_model/spare", defaultModelPayload), { field: "id" }],
    ["of the genesis", () => propose("genesis", {}), { field: "id" }],
    ["of a signing key", () => propose("signing_key/2", {}), { field: "id" }],
    [
      "of the registry",
      () => propose("quorum", {}),
      { field: "id", rule: "changes by WitnessService.ProposeWitnessChange" },
    ],
    [
      "of a witness",
      () => propose("witness/ann", {}),
      { field: "id", rule: "changes by WitnessService.ProposeWitnessChange" },
    ],
    ["of a principal without a name", () => propose("principal/", principal), { field: "id" }],
    ["to end the model", () => end("trust_model/active"), { field: "tombstone" }],
    [
      "of a model without a weight",
      () => propose("trust_model/active", { ...defaultModelPayload, weights: {} }),
      { kind: "malformedModel" },
    ],
    [
      "of a model that would be the last",
      () => propose("trust_model/active", { ...defaultModelPayload, bias: -20 }),
      { kind: "malformedModel", field: "actions" },
    ],
    [
      "of a key of small order",
      () => propose("principal/ann", { ...principal, public_keys: [smallOrder] }),
      { kind: "malformedKey" },
    ],
    [
      "of a key that is no point",
      () => propose("principal/ann", { ...principal, public_keys: [new Uint8Array(32).fill(0xff)] }),
      { kind: "malformedKey" },
    ],
    [
      "of a principal under a witness's name",
      () => propose("principal/witness/ann", principal),
      { field: "id" },
    ],
    ["of a schema for another kind", () => propose("schema/memo", schema), { field: "id" }],
    [
      "of a schema for a kind of the server's",
      () => propose("schema/principal", { ...schema, kind: "principal" }),
      { field: "id" },
    ],
    [
      "of a schema that is too long to be looked at any further",
      () => propose("schema/note", { ...schema, schema: { title: "x".repeat(jsonSchemaCharactersMax) } }),
      { field: "payload.schema" },
    ],
  ];
  for (const [name, run, error] of refused) {
    it(`is refused ${name}`, () => {
      expect(errorOf(run)).to.include(error);
    });
  }
});

describe("the user space", () => {
  it("takes any kind of the caller's own", () => {
    checkUserKind("note", "notes/1", "acme", "");
    checkUserKind("note", "proposal/1", "acme", "");
    checkUserKind("principal", "principal/reader", "acme", "");
  });

  for (const kind of [
    "frozen_chain",
    "genesis",
    "signing_key",
    "proposal",
    "proposal_ending",
    "attestation",
    "flip_report",
    "tombstone",
  ]) {
    it(`takes no ${kind}: the server writes it alone`, () => {
      expect(errorOf(() => checkUserKind(kind, "a", "acme", "writes[1]."))).to.include({
        kind: "invalidField",
        field: "writes[1].kind",
      });
    });
  }
  for (const kind of ["trust_model", "witness", "quorum", "module", "schema"]) {
    it(`takes no ${kind}: that takes a quorum`, () => {
      expect(errorOf(() => checkUserKind(kind, "a", "acme", ""))).to.include({ kind: "quorumNeeded" });
    });
  }

  it("keeps the ids of proposals in tenant system, and of principals, for what they are", () => {
    for (const id of ["proposal/1", "proposal_ending/1", "attestation/1/ann", "flip_report/1"]) {
      expect(errorOf(() => checkUserKind("note", id, "system", ""))).to.include({ field: "id" });
    }
    expect(errorOf(() => checkUserKind("note", "principal/a", "acme", ""))).to.include({ field: "id" });
    expect(errorOf(() => checkUserKind("principal", "people/a", "acme", ""))).to.include({ field: "id" });
  });

  it("takes principals of its own tenant up to Observer", () => {
    const free = { ...principal, loa: "observer" };
    expect(enrol(free, "acme").loa).to.equal("observer");
    expect(errorOf(() => enrol(free, "globex"))).to.include({ field: "payload.tenant" });
    expect(errorOf(() => enrol(principal, "acme"))).to.include({ kind: "quorumNeeded" });
  });
});
