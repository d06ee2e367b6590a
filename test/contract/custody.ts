/** The one suite that every place for private signing keys passes. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { parsePublicKey, toBase64Url, toHex } from "../../src/core/bytes.ts";
import type { SigningCustody } from "../../src/crypto/signing/signing-custody.ts";
import type { Signer } from "../../src/crypto/signing/sign.ts";
import { checkPublicKey, verifyOwn } from "../../src/core/keys/verify.ts";
import { expectFault } from "../unit/keys/expect-fault.ts";

/** Somewhere private keys can be kept, opened any number of times, and holding none at first. */
export type CustodyPlace = {
  readonly open: () => Promise<SigningCustody>;
  readonly remove: () => Promise<void>;
};

const message = Uint8Array.of(1, 2, 3);
const hexOf = ({ publicKey }: Signer): string => toHex(publicKey);

const signs = async (signer: Signer, signed: Uint8Array = message): Promise<boolean> =>
  verifyOwn(signer.publicKey, signed, await signer.sign(signed));

export const custodyContract = (name: string, makePlace: () => Promise<CustodyPlace>): void => {
  describe(`custody of signing keys: ${name}`, () => {
    let place: CustodyPlace;
    let custody: SigningCustody;
    beforeEach(async () => {
      place = await makePlace();
      custody = await place.open();
    });
    afterEach(() => place.remove());

    it("holds nothing at first, and says so", async () => {
      for (const role of ["record", "checkpoint"] as const) {
        const { error } = await expectFault(() => custody.newest(role));
        expect(error).to.deep.equal({ kind: "keyUnavailable", rule: `there is no ${role} key` });
      }
    });

    it("makes keys that are fit to be enrolled, each its own, and signs with them", async () => {
      const made = [await custody.create("record"), await custody.create("checkpoint")] as const;
      for (const signer of made) {
        expect(checkPublicKey(signer.publicKey)).to.deep.equal(signer.publicKey);
        expect(await signs(signer)).to.equal(true);
      }
      const [record, checkpoint] = made;
      expect(hexOf(record)).to.not.equal(hexOf(checkpoint));
      expect(await verifyOwn(checkpoint.publicKey, message, await record.sign(message))).to.equal(false);
    });

    it("gives out the newest key of a role, and finds each by its public key", async () => {
      const made = [await custody.create("record"), await custody.create("record")] as const;
      expect(hexOf(custody.newest("record"))).to.equal(hexOf(made[1]));
      for (const each of made) {
        const found = await custody.open("record", each.publicKey);
        expect([hexOf(found), toHex(found.thumbprint)]).to.deep.equal([hexOf(each), toHex(each.thumbprint)]);
        expect(await signs(found)).to.equal(true);
      }
    });

    it("has the same keys when it is opened again: what was made was durable", async () => {
      const record = await custody.create("record");
      const again = await place.open();
      expect(hexOf(again.newest("record"))).to.equal(hexOf(record));
      // Ed25519 gives one signature for a key and a message.
      const signature = await (await again.open("record", record.publicKey)).sign(message);
      expect(toHex(signature)).to.equal(toHex(await record.sign(message)));
    });

    it("loses none of the keys that are asked for together", async () => {
      const made = await Promise.all([1, 2, 3].map(() => custody.create("record")));
      expect(new Set(made.map(hexOf)).size).to.equal(3);
      const again = await place.open();
      for (const { publicKey } of made)
        expect(await signs(await again.open("record", publicKey))).to.equal(true);
    });

    it("finds a key that another holder has made since, and makes the next one beside it", async () => {
      await custody.create("record");
      const late = await place.open();
      const made = await custody.create("record");
      expect(await signs(await late.open("record", made.publicKey))).to.equal(true);
      const next = await late.create("record");
      const again = await place.open();
      expect(hexOf(again.newest("record"))).to.equal(hexOf(next));
      expect(hexOf(await again.open("record", made.publicKey))).to.equal(hexOf(made));
    });

    it("names a key that it does not hold, and takes a key of one role for none of the other", async () => {
      const { publicKey, thumbprint } = await custody.create("record");
      const asked = [
        ["checkpoint", publicKey, toBase64Url(thumbprint)],
        ["record", parsePublicKey(new Uint8Array(32).fill(7)), ""],
      ] as const;
      for (const [role, key, named] of asked) {
        const { error } = await expectFault(() => custody.open(role, key));
        expect(error.kind).to.equal("keyUnavailable");
        expect(error)
          .to.have.property("rule")
          .that.contains(named)
          .and.matches(/missing$/);
      }
    });

    it("destroys what has ended and nothing else, as often as it is told to", async () => {
      const [old, other] = [await custody.create("record"), await custody.create("checkpoint")];
      const next = await custody.create("record");
      await custody.discard([old.publicKey]);
      await custody.discard([old.publicKey]);
      for (const holder of [custody, await place.open()]) {
        const { error } = await expectFault(() => holder.open("record", old.publicKey));
        expect(error).to.have.property("rule").that.contains(toBase64Url(old.thumbprint));
        expect(hexOf(holder.newest("record"))).to.equal(hexOf(next));
        expect(await signs(await holder.open("record", next.publicKey))).to.equal(true);
        expect(await signs(await holder.open("checkpoint", other.publicKey))).to.equal(true);
      }
      const third = await custody.create("record");
      expect(hexOf((await place.open()).newest("record"))).to.equal(hexOf(third));
    });

    it("signs messages of every length, many at once", async () => {
      const signer = await custody.create("record");
      const lengths = [
        0,
        1,
        63,
        64,
        65,
        4096,
        1 << 20,
        ...Array.from({ length: 60 }, (_, index) => index * 9),
      ];
      const messages = lengths.map((length) => new Uint8Array(length).fill(length));
      const verified = await Promise.all(messages.map((each) => signs(signer, each)));
      expect(verified.every(Boolean)).to.equal(true);
    });

    it("signs the message as it was when it was asked, whatever becomes of its buffer", async () => {
      const signer = await custody.create("record");
      const buffers = Array.from({ length: 20 }, (_, index) => new Uint8Array(300).fill(index));
      const asked = buffers.map((buffer) => ({ copy: buffer.slice(), signature: signer.sign(buffer) }));
      for (const buffer of buffers) buffer.fill(0xff);
      for (const { copy, signature } of asked) {
        expect(await verifyOwn(signer.publicKey, copy, await signature)).to.equal(true);
      }
    });

    it("lets the event loop turn while it signs", async () => {
      const signer = await custody.create("record");
      let turns = 0;
      const turn = setInterval(() => (turns += 1));
      try {
        await Promise.all(Array.from({ length: 64 }, () => signer.sign(new Uint8Array(256 << 10))));
      } finally {
        clearInterval(turn);
      }
      expect(turns).to.be.greaterThan(0);
    });
  });
};
