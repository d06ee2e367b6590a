/**
 * The ring between the event loop and the signing thread, with both ends on one side: order, room, and counts that
 * wrap.
 */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import {
  ringBytes,
  ringMessageBytesMax,
  ringSlots,
  signatureBytes,
  SigningRing,
  SigningRingThread,
} from "../../../src/crypto/signing/signing-ring.ts";

/** Stands for a signature: the key and the length, so that a mix-up shows. */
const mark = (key: number, message: Uint8Array): Uint8Array => {
  const signature = new Uint8Array(signatureBytes).fill(message[0] ?? 0);
  new DataView(signature.buffer).setUint32(0, key);
  new DataView(signature.buffer).setUint32(4, message.length);
  return signature;
};

const openRing = (firstCount = 0) => {
  const ring = new SigningRing(firstCount);
  const thread = new SigningRingThread(ring.memory);
  const seen: Uint8Array[] = [];
  return {
    ring,
    seen,
    serve: (readPost: () => void = () => {}): void =>
      thread.signAll((key, message, signature) => {
        seen.push(message.slice());
        signature.set(mark(key, message));
      }, readPost),
    taken: (): readonly Uint8Array[] => {
      const signatures: Uint8Array[] = [];
      ring.take((signature) => signatures.push(signature.slice()));
      return signatures;
    },
  };
};

describe("the signing ring", () => {
  it("gives each message to the thread whole and each signature back in its order", () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("put" as const),
        // Some of a size that ends where the ring ends.
        bytes: fc.oneof(
          fc.integer({ min: 0, max: ringMessageBytesMax }),
          fc.constant(ringMessageBytesMax),
          fc.constant(0),
        ),
      }),
      fc.constant({ kind: "serve" as const }),
      fc.constant({ kind: "take" as const }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 40, maxLength: 160, size: "max" }),
        fc.integer(),
        (steps, firstCount) => {
          const { ring, seen, serve, taken } = openRing(firstCount | 0);
          const put: { readonly key: number; readonly message: Uint8Array }[] = [];
          const signatures: Uint8Array[] = [];
          for (const [index, step] of steps.entries()) {
            if (step.kind === "serve") serve();
            else if (step.kind === "take") signatures.push(...taken());
            else {
              const message = new Uint8Array(step.bytes).fill(index);
              if (ring.put(index, message)) put.push({ key: index, message });
            }
          }
          serve();
          signatures.push(...taken());
          expect(seen.map((message) => [message.length, message[0], message.at(-1)])).to.deep.equal(
            put.map(({ message }) => [message.length, message[0], message.at(-1)]),
          );
          expect(signatures).to.deep.equal(put.map(({ key, message }) => mark(key, message)));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("has room for so many messages and no more, until signatures are taken", () => {
    const { ring, serve, taken } = openRing();
    for (let index = 0; index < ringSlots; index += 1)
      expect(ring.put(1, Uint8Array.of(index))).to.equal(true);
    expect(ring.put(1, Uint8Array.of(0))).to.equal(false);
    serve();
    expect(ring.put(1, Uint8Array.of(0))).to.equal(false);
    expect(taken()).to.have.lengthOf(ringSlots);
    expect(ring.put(1, Uint8Array.of(0))).to.equal(true);
  });

  it("overwrites no message that is not signed, however the lengths fall", () => {
    const { ring, seen, serve } = openRing();
    const longest = new Uint8Array(ringMessageBytesMax).fill(7);
    let put = 0;
    while (ring.put(1, longest)) put += 1;
    expect(put).to.equal(ringBytes / ringMessageBytesMax);
    serve();
    expect(seen.every((message) => message.every((byte) => byte === 7))).to.equal(true);
  });

  it("begins anew at its beginning, also after a message that ended at its very end", () => {
    const { ring, seen, serve, taken } = openRing();
    for (let round = 0; round < 3; round += 1) {
      while (ring.put(round, new Uint8Array(ringMessageBytesMax).fill(round)));
      serve();
      expect(taken()).to.have.lengthOf(ringBytes / ringMessageBytesMax);
    }
    expect(ring.put(9, Uint8Array.of(9))).to.equal(true);
    serve();
    expect(seen.at(-1)).to.deep.equal(Uint8Array.of(9));
  });

  it("keeps its order where the count of messages wraps", () => {
    const { ring, serve, taken } = openRing(2 ** 31 - 3);
    for (let index = 0; index < 8; index += 1) ring.put(index, Uint8Array.of(index));
    expect(ring.untaken().map(([first]) => first)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
    serve();
    expect(taken().map((signature) => signature[3])).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(ring.untaken()).to.deep.equal([]);
  });

  it("resolves at once when there is a signature to take, and else when one comes", async () => {
    const { ring, serve, taken } = openRing();
    ring.put(1, Uint8Array.of(1));
    const first = ring.more();
    serve();
    await first;
    await ring.more();
    expect(taken()).to.have.lengthOf(1);
  });

  it("looks into the thread's post even while messages keep coming", () => {
    const { ring, serve } = openRing();
    for (let index = 0; index < 100; index += 1) ring.put(1, Uint8Array.of(1));
    let looks = 0;
    serve(() => (looks += 1));
    expect(looks).to.be.greaterThan(5);
  });

  it("does not sleep through a wake that came while it signed", () => {
    const ring = new SigningRing();
    const thread = new SigningRingThread(ring.memory);
    ring.put(1, Uint8Array.of(1));
    thread.signAll(
      () => ring.wake(),
      () => {},
    );
    // Would block for ever.
    thread.sleep();
  });
});
