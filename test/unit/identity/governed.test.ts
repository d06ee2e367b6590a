/** Principals a quorum did not make: those a tenant enrols itself, and witnesses by their own key. */
import { expect } from "chai";
import { beforeEach, describe, it } from "mocha";
import { parseHash } from "../../../src/core/bytes.ts";
import { formatPrincipal, formatQuorum, formatWitness } from "../../../src/core/record/kinds/governance.ts";
import { formatGenesis } from "../../../src/core/record/kinds/genesis.ts";
import { parseTrustModel } from "../../../src/core/record/kinds/trust-model.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import type { CommittedRecord } from "../../../src/ledger/ledger.ts";
import { createPrincipals, type PrincipalLedger, type Principals } from "../../../src/identity/principals.ts";
import { createKey, origin, principalWith } from "./minting.ts";

const key = createKey();
const rootKey = createKey();
const hash = parseHash(new Uint8Array(32));
const witness = { publicKey: createKey().publicKey, owner: "Ann", authority: "", description: "" };

type Place = Pick<RecordBody, "tenant" | "space" | "id" | "kind" | "payload">;

const nameOf = ({ tenant, space, id }: Pick<Place, "tenant" | "space" | "id">): string =>
  [tenant, space, id].join("\0");

const genesisPayload = formatGenesis({
  format: 1,
  origin,
  root: { id: "first", ...principalWith(rootKey, { loa: "root", tenant: "system" }) },
  witnesses: [{ id: "ann", ...witness }],
  k: 1,
  model: parseTrustModel(defaultModelPayload, "model"),
  keys: { record: createKey().publicKey, checkpoint: createKey().publicKey },
});

class FakeLedger {
  readonly heads = new Map<string, RecordBody>();
  readonly #listeners = new Set<(records: readonly CommittedRecord[]) => void>();

  write(place: Place): void {
    const body: RecordBody = { schemaVersion: 1, ts: 0, links: [], prev: null, ...place };
    this.heads.set(nameOf(place), body);
    for (const listener of this.#listeners) listener([{ position: 1n, hash, body, version: 1n }]);
  }

  readonly reading = {
    reader: {
      readId: async (tenant: string, space: "user" | "system", id: string) => {
        const body = this.heads.get(nameOf({ tenant, space, id }));
        return body === undefined ? undefined : { body, position: 1n };
      },
      readAt: async () => ({ body: { payload: genesisPayload } }),
    },
    feed: {
      subscribe: (listener: (records: readonly CommittedRecord[]) => void) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
    },
  } as unknown as PrincipalLedger;
}

const system = { tenant: "system", space: "system" } as const;
const enrolled = (changes = {}) => formatPrincipal(principalWith(key, { loa: "observer", ...changes }));
const own = (payload: RecordBody["payload"], tenant = "acme"): Place => ({
  tenant,
  space: "user",
  id: "principal/reader",
  kind: "principal",
  payload,
});
const setQuorum = (ledger: FakeLedger, witnesses: readonly string[]): void => {
  const payload = formatQuorum({ k: 1, witnesses, epoch: 1, proposerMayAttest: false });
  ledger.write({ ...system, id: "quorum", kind: "quorum", payload });
};
const setWitness = (ledger: FakeLedger, publicKey = witness.publicKey): void => {
  const payload = formatWitness({ ...witness, publicKey });
  ledger.write({ ...system, id: "witness/ann", kind: "witness", payload });
};

let ledger: FakeLedger;
let principals: Principals;
beforeEach(() => {
  ledger = new FakeLedger();
  principals = createPrincipals(ledger.reading);
});

describe("a principal its tenant enrolled", () => {
  it("is known by tenant and name, and by no other", async () => {
    ledger.write(own(enrolled()));
    expect(await principals.find("acme/reader")).to.include({ loa: "observer", tenant: "acme" });
    for (const id of ["reader", "globex/reader", "acme/writer", "Acme/reader", "/reader", "acme/"]) {
      expect(await principals.find(id), id).to.equal(undefined);
    }
  });

  for (const loa of ["operator", "mentor", "root"] as const) {
    it(`is nobody as ${loa}: that takes a quorum`, async () => {
      ledger.write(own(enrolled({ loa })));
      expect(await principals.find("acme/reader")).to.equal(undefined);
    });
  }

  it("is nobody when its record gives it to another tenant", async () => {
    ledger.write(own(enrolled({ tenant: "globex" })));
    expect(await principals.find("acme/reader")).to.equal(undefined);
  });

  it("gives way to the system space, also to its end there", async () => {
    ledger.write(own(enrolled()));
    expect(await principals.find("acme/reader")).to.include({ loa: "observer" });
    const id = "principal/acme/reader";
    ledger.write({ ...system, id, kind: "principal", payload: enrolled({ loa: "operator" }) });
    expect(await principals.find("acme/reader")).to.include({ loa: "operator" });
    ledger.write({ ...system, id, kind: "tombstone", payload: { kind: "principal" } });
    expect(await principals.find("acme/reader")).to.equal(undefined);
  });

  it("is revoked and ended at once", async () => {
    ledger.write(own(enrolled()));
    await principals.find("acme/reader");
    ledger.write(own(enrolled({ active: false })));
    expect(await principals.find("acme/reader")).to.include({ active: false });
    ledger.write({ ...own({ kind: "principal" }), kind: "tombstone" });
    expect(await principals.find("acme/reader")).to.equal(undefined);
  });
});

describe("the first Root", () => {
  it("does not come back when its record was ended", async () => {
    expect(await principals.find("first")).to.include({ loa: "root" });
    const payload = { kind: "principal" };
    ledger.write({ ...system, id: "principal/first", kind: "tombstone", payload });
    expect(await principals.find("first")).to.equal(undefined);
  });
});

describe("a witness", () => {
  it("calls by its own key as an Observer of tenant system while it is enrolled", async () => {
    setWitness(ledger);
    expect(await principals.find("witness/ann")).to.equal(undefined);
    setQuorum(ledger, ["ann"]);
    expect(await principals.find("witness/ann")).to.deep.include({
      publicKeys: [witness.publicKey],
      loa: "observer",
      tenant: "system",
      active: true,
    });
    setQuorum(ledger, ["ben"]);
    expect(await principals.find("witness/ann")).to.equal(undefined);
  });

  it("calls by its new key as soon as that is its key", async () => {
    setQuorum(ledger, ["ann"]);
    setWitness(ledger);
    await principals.find("witness/ann");
    const { publicKey } = createKey();
    setWitness(ledger, publicKey);
    expect((await principals.find("witness/ann"))?.publicKeys).to.deep.equal([publicKey]);
  });

  it("is no principal record's business", async () => {
    ledger.write({ ...system, id: "principal/witness/eve", kind: "principal", payload: enrolled() });
    ledger.write({ ...own(enrolled({ tenant: "witness" }), "witness"), id: "principal/eve" });
    setQuorum(ledger, ["ann"]);
    expect(await principals.find("witness/eve")).to.equal(undefined);
  });
});
