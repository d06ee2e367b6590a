/** Versions within a commit: which records are looked up in the store, and which are the first of their id. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseHash } from "../../../src/core/bytes.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import { loadHeads, Versions } from "../../../src/ledger/append/versions.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";

const hash = parseHash(new Uint8Array(32).fill(7));

const bodyOf = (kind: string, prev: RecordBody["prev"] = null): RecordBody => ({
  kind,
  schemaVersion: 1,
  id: `${kind}/1`,
  tenant: "acme",
  ts: 1,
  space: "user",
  payload: {},
  links: [],
  prev,
});

/** What a lone record becomes, and how often the store was asked for it. */
const planned = async (body: RecordBody) => {
  const store = await openMemoryStore();
  let lookups = 0;
  const watched = {
    ...store,
    get: (...key: Parameters<typeof store.get>) => {
      lookups += 1;
      return store.get(...key);
    },
  };
  const noEarlier = () => Promise.reject(new Error("there is no earlier version"));
  const versions = new Versions(await loadHeads([{ body }], watched, noEarlier));
  const outcome = versions.plan([{ body, hash }], 5n);
  return { lookups, kind: outcome.kind, heads: outcome.kind === "accepted" ? outcome.heads : [] };
};

describe("versions of a commit", () => {
  it("looks up the newest version of an id that may have one", async () => {
    expect((await planned(bodyOf("note"))).lookups).to.equal(1);
  });

  for (const kind of ["frozen_chain", "module_run"]) {
    it(`makes a ${kind} the first version without asking the store`, async () => {
      const heads = [{ position: 5n, version: 1n }];
      expect(await planned(bodyOf(kind))).to.deep.equal({ lookups: 0, kind: "accepted", heads });
    });

    it(`refuses a ${kind} that follows another record`, async () => {
      expect((await planned(bodyOf(kind, hash))).kind).to.equal("refused");
    });
  }
});
