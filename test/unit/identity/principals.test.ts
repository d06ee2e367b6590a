/** Principals are what the ledger says now, however the reading and the changing interleave. */
import { expect } from "chai";
import { beforeEach, describe, it } from "mocha";
import { parseHash } from "../../../src/core/bytes.ts";
import { enrolPrincipal, principalRecordId } from "../../../src/core/record/enrolment.ts";
import { formatPrincipal, type PrincipalPayload } from "../../../src/core/record/kinds/governance.ts";
import { formatGenesis } from "../../../src/core/record/kinds/genesis.ts";
import { parseTrustModel } from "../../../src/core/record/kinds/trust-model.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import type { CommittedRecord } from "../../../src/ledger/ledger.ts";
import { createPrincipals, type PrincipalLedger } from "../../../src/identity/principals.ts";
import { createKey, origin, principalWith } from "./minting.ts";

const key = createKey();
const hash = parseHash(new Uint8Array(32));

const bodyOf = (id: string, kind: string, payload: RecordBody["payload"]): RecordBody => ({
  kind,
  schemaVersion: 1,
  id,
  tenant: "system",
  ts: 0,
  space: "system",
  payload,
  links: [],
  prev: null,
});

const rootKey = createKey();
const genesis = bodyOf(
  "genesis",
  "genesis",
  formatGenesis({
    format: 1,
    origin,
    root: { id: "first", ...principalWith(rootKey, { loa: "root", tenant: "system" }) },
    witnesses: [{ id: "w", publicKey: createKey().publicKey, owner: "o", authority: "a", description: "d" }],
    k: 1,
    model: parseTrustModel(defaultModelPayload, "model"),
    keys: { record: createKey().publicKey, checkpoint: createKey().publicKey },
  }),
);

/** A ledger of heads: what the last `write` said is what is read. A read can be held back to be overtaken. */
class FakeLedger {
  readonly heads = new Map<string, RecordBody>();
  readonly listeners = new Set<(records: readonly CommittedRecord[]) => void>();
  reads = 0;
  hold: Promise<void> | undefined;

  write(name: string, principal: PrincipalPayload): void {
    const { id, schemaVersion, payload } = enrolPrincipal(name, principal);
    this.put({ ...bodyOf(id, "principal", payload), schemaVersion });
  }

  put(body: RecordBody): void {
    this.heads.set(body.id, body);
    for (const listener of this.listeners) listener([{ position: 1n, hash, body, version: 1n }]);
  }

  readonly reading = {
    reader: {
      origin,
      readId: async (_tenant: string, _space: string, id: string) => {
        if (id.startsWith("suspension/")) return undefined;
        this.reads += 1;
        const body = this.heads.get(id);
        await this.hold;
        return body === undefined ? undefined : { body, position: 1n };
      },
      readAt: async () => ({ body: genesis }),
    },
    feed: {
      subscribe: (listener: (records: readonly CommittedRecord[]) => void) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
    },
  } as unknown as PrincipalLedger;
}

let ledger: FakeLedger;
beforeEach(() => {
  ledger = new FakeLedger();
  ledger.write("agent", principalWith(key));
});

describe("principals", () => {
  it("are read once and then remembered", async () => {
    const principals = createPrincipals(ledger.reading);
    const first = await principals.find("agent");
    expect(first).to.include({ loa: "operator", tenant: "acme", active: true });
    expect(await principals.find("agent")).to.equal(first);
    expect(ledger.reads).to.equal(1);
  });

  it("change with the next committed record", async () => {
    const principals = createPrincipals(ledger.reading);
    await principals.find("agent");
    ledger.write("agent", principalWith(key, { active: false, loa: "guest" }));
    expect(await principals.find("agent")).to.include({ active: false, loa: "guest" });
  });

  it("are not remembered from a read that a change overtook", async () => {
    const principals = createPrincipals(ledger.reading);
    const { promise, resolve } = Promise.withResolvers<void>();
    ledger.hold = promise;
    const slow = principals.find("agent");
    ledger.write("agent", principalWith(key, { active: false }));
    resolve();
    await slow;
    expect(await principals.find("agent")).to.include({ active: false });
  });

  it("that are unknown are asked for again, so enrolment works at once", async () => {
    const principals = createPrincipals(ledger.reading);
    expect(await principals.find("new")).to.equal(undefined);
    ledger.heads.set(
      "principal/new",
      bodyOf("principal/new", "principal", formatPrincipal(principalWith(key))),
    );
    expect(await principals.find("new")).to.include({ loa: "operator" });
  });

  it("with impossible ids are unknown without a look at the ledger", async () => {
    const principals = createPrincipals(ledger.reading);
    const ids = [
      "",
      "../genesis",
      "a//b",
      " b",
      "e\u0301",
      "x".repeat(513),
      "a/../../genesis",
      `~${"a".repeat(64)}`,
      `spiffe://${origin}/agent`,
    ];
    for (const id of ids) expect(await principals.find(id)).to.equal(undefined);
    expect(ledger.reads).to.equal(0);
  });

  for (const name of ["john+tag@example.com", "Jörg", "x".repeat(300), "a b", "50%25"]) {
    it(`are found under the digest of ${name.slice(0, 20)}, changed and ended at once`, async () => {
      const principals = createPrincipals(ledger.reading);
      ledger.write(name, principalWith(key));
      expect(await principals.find(name)).to.include({ loa: "operator", id: name });
      ledger.write(name, principalWith(key, { active: false }));
      expect(await principals.find(name)).to.include({ active: false });
      ledger.put(bodyOf(principalRecordId(name), "tombstone", { kind: "principal" }));
      expect(await principals.find(name)).to.equal(undefined);
    });
  }

  it("are nobody in a record that says another's id, or its own where the record's id does", async () => {
    const principals = createPrincipals(ledger.reading);
    const payload = (id: string) => formatPrincipal(principalWith(key, { id }));
    const version2 = { schemaVersion: 2 } as const;
    ledger.put({
      ...bodyOf(principalRecordId("a+b"), "principal", payload("c+d")),
      ...version2,
    });
    expect(await principals.find("a+b")).to.equal(undefined);
    expect(await principals.find("c+d")).to.equal(undefined);
    ledger.put(bodyOf(principalRecordId("a+b"), "principal", formatPrincipal(principalWith(key))));
    expect(await principals.find("a+b")).to.equal(undefined);
    ledger.put({ ...bodyOf("principal/agent", "principal", payload("other+one")), ...version2 });
    expect(await principals.find("agent")).to.equal(undefined);
  });

  it("include the first Root of the genesis record until it has a record of its own", async () => {
    const principals = createPrincipals(ledger.reading);
    expect(await principals.find("first")).to.include({ loa: "root", tenant: "system" });
    ledger.write("first", principalWith(rootKey, { active: false }));
    expect(await principals.find("first")).to.include({ active: false });
  });

  it("are refused when their record is of another kind", async () => {
    ledger.heads.set("principal/odd", bodyOf("principal/odd", "witness", null));
    const principals = createPrincipals(ledger.reading);
    let message = "";
    await principals.find("odd").catch((error: Error) => {
      message = error.message;
    });
    expect(message).to.contain("not a principal");
  });

  it("leave the least recently used first, and listen no more once closed", async () => {
    ledger.write("other", principalWith(key));
    const principals = createPrincipals(ledger.reading, 1);
    await principals.find("agent");
    await principals.find("other");
    await principals.find("agent");
    expect(ledger.reads).to.equal(3);
    principals.close();
    expect(ledger.listeners.size).to.equal(0);
  });
});
