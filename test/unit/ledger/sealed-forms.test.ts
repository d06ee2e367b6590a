/** The forms of a stored value: which one a record gets, and that no value opens under another. */
import { expect } from "chai";
import { createSecretKey } from "node:crypto";
import { describe, it } from "mocha";
import { parseThumbprint, toHex } from "../../../src/core/bytes.ts";
import { EnvelopeDraft } from "../../../src/core/record/envelope-draft.ts";
import { cborEncode } from "../../../src/core/cbor/cbor.ts";
import { Sealer } from "../../../src/ledger/sealing/sealer.ts";
import { openMemoryStore } from "../../../src/storage/memory.ts";
import { expectFault } from "../keys/expect-fault.ts";

const origin = "ledger.example/main";
const salt = new Uint8Array(32).fill(9);
const disclosures = { input: { salt, value: [new Uint8Array(32), 0] } };

const open = async (): Promise<Sealer> => {
  const dataKey = { dataKey: createSecretKey(new Uint8Array(32).fill(1)), keyVersion: 1 };
  const keys = {
    newest: () => 1,
    rotate: async () => dataKey,
    at: async () => dataKey,
    destroy: async () => {},
  };
  const store = await openMemoryStore();
  const sealer = new Sealer({ origin, keys, store: () => store });
  await sealer.ready("acme");
  return sealer;
};

/** As a record's map of nine, or with another head, which is not condensed. */
const envelopeOf = (keys: 9 | 2): Uint8Array => {
  const text = "x".repeat(300);
  const more =
    keys === 2 ? {} : { ts: 1, kind: "k", prev: null, links: [], space: "user", tenant: "acme", payload: 1 };
  const body = cborEncode({ id: "d-1", schema_version: text, ...more });
  const subject = "acme/user/d-1";
  const draft = EnvelopeDraft.of({ kid: parseThumbprint(salt), origin }, subject, body);
  return draft?.sign(new Uint8Array(64).fill(3)) ?? new Uint8Array();
};

type Form = 1 | 2 | 3;
const envelopes: Readonly<Record<Form, Uint8Array>> = {
  1: envelopeOf(9),
  2: envelopeOf(2),
  3: envelopeOf(9),
};
const bits: Readonly<Record<Form, number>> = { 1: 0, 2: 0x80, 3: 0x40 };
const forms: readonly Form[] = [1, 2, 3];

const sealed = (sealer: Sealer, form: Form): Uint8Array => {
  const record = { envelope: envelopes[form], disclosures: form === 1 ? undefined : disclosures };
  return sealer.stage(() => new Uint8Array(12).fill(2)).seal(record, 5n, "acme");
};

describe("the form of a stored value", () => {
  it("is 3 for a decision's, 2 for what is not condensed, 1 for what discloses nothing; each holds what was sealed", async () => {
    const sealer = await open();
    for (const form of forms) {
      const value = sealed(sealer, form);
      expect(value[0]).to.equal(bits[form] | "acme".length);
      const opened = await sealer.open(value, 5n);
      expect(toHex(opened.envelope)).to.equal(toHex(envelopes[form]));
      const shown = form === 1 ? {} : disclosures;
      expect(toHex(cborEncode(opened.disclosures))).to.equal(toHex(cborEncode(shown)));
    }
  });

  it("is kept by the seal: no value opens with the bits of another, nor with those of none", async () => {
    const sealer = await open();
    for (const form of forms) {
      for (const other of [0x00, 0x40, 0x80, 0xc0]) {
        if (other === bits[form]) continue;
        const changed = sealed(sealer, form);
        changed[0] = other | "acme".length;
        const { error } = await expectFault(() => sealer.open(changed, 5n));
        expect(error, `${form} as ${other}`).to.include({ kind: "recordCorrupt", step: "seal" });
      }
    }
  });
});
