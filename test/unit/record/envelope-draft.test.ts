/** Envelopes made in one buffer against those that are made part by part. */
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { parseThumbprint, toHex } from "../../../src/core/bytes.ts";
import {
  encodeProtected,
  encodeStatement,
  recordContentType,
  toBeSigned,
} from "../../../src/core/cose/cose.ts";
import { EnvelopeDraft } from "../../../src/core/record/envelope-draft.ts";
import { encodeEnvelope } from "../../../src/core/record/record.ts";

const kid = parseThumbprint(new Uint8Array(32).fill(7));
const signature = Uint8Array.from({ length: 64 }, (_, index) => index + 1);
const body = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index % 251);

/** The deliberately dumb version: what is signed, and the envelope. */
const partByPart = (origin: string, subject: string, payload: Uint8Array) => {
  const protectedBytes = encodeProtected({ contentType: recordContentType, kid, origin, subject });
  const statement = encodeStatement({ protectedBytes, payload, signature });
  return {
    length: statement.length,
    signed: toHex(toBeSigned(protectedBytes, payload)),
    envelope: toHex(encodeEnvelope({ statement, attestations: [] })),
  };
};

const inOneBuffer = (origin: string, subject: string, payload: Uint8Array) => {
  const draft = EnvelopeDraft.of({ kid, origin }, subject, payload);
  if (draft === undefined) return undefined;
  const signed = toHex(draft.toBeSigned);
  return { signed, envelope: toHex(draft.sign(signature)) };
};

const expectSame = (origin: string, subject: string, payload: Uint8Array): void => {
  const { length, ...wanted } = partByPart(origin, subject, payload);
  const isTaken = length >= 256 && length <= 65_535;
  expect(inOneBuffer(origin, subject, payload), `${length}`).to.deep.equal(isTaken ? wanted : undefined);
};

describe("an envelope made in one buffer", () => {
  it("is the envelope, signed over the Sig_structure, for every header and body", () => {
    const name = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 320 });
    const length = fc.oneof(fc.nat(400), fc.constantFrom(23, 24, 255, 256, 65_000, 65_535, 65_536));
    fc.assert(
      fc.property(name, name, length, (origin, subject, bytes) => {
        expectSame(origin, subject, body(bytes));
      }),
      { numRuns: 300 },
    );
  });

  it("is made for statements of 256 bytes to 64 KiB, and for no others", () => {
    for (let bytes = 0; bytes < 300; bytes += 1) expectSame("o", "s", body(bytes));
    for (let bytes = 65_200; bytes < 65_600; bytes += 1) expectSame("o", "s", body(bytes));
    for (let units = 1; units < 320; units += 1) expectSame("o", "s".repeat(units), body(100));
  });

  it("follows a change of the signing key and of the origin", () => {
    const first = EnvelopeDraft.of({ kid, origin: "one" }, "s", body(300))?.toBeSigned;
    const other = parseThumbprint(new Uint8Array(32).fill(8));
    const second = EnvelopeDraft.of({ kid: other, origin: "one" }, "s", body(300))?.toBeSigned;
    const third = EnvelopeDraft.of({ kid: other, origin: "two" }, "s", body(300))?.toBeSigned;
    expect(new Set([first, second, third].map((bytes) => toHex(bytes ?? new Uint8Array())))).to.have.lengthOf(
      3,
    );
  });

  it("is signed once, by 64 bytes", () => {
    const draft = EnvelopeDraft.of({ kid, origin: "o" }, "s", body(300));
    expect(() => draft?.sign(signature.subarray(1))).to.throw("64 bytes");
    draft?.sign(signature);
    expect(() => draft?.sign(signature)).to.throw("once");
  });
});
