/** COSE_Sign1 statements: headers, bytes to be signed, thumbprints. */
import { createHash, createPublicKey, verify } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { Tag, encode } from "cbor2";
import { fromHex, parsePublicKey, parseThumbprint, toHex } from "../../../src/core/bytes.ts";
import {
  coseKeyThumbprint,
  coseRules,
  encodeProtected,
  encodeStatement,
  parseStatement,
  toBeSigned,
  type ContentType,
} from "../../../src/core/cose/cose.ts";
import { deterministicEncode } from "./cbor2-profile.ts";
import { errorOf } from "./faults.ts";
import { readVectors } from "./vector-files.ts";

interface CoseVectors {
  readonly accept: readonly {
    readonly name: string;
    readonly statement: string;
    readonly content_type: ContentType;
    readonly kid: string;
    readonly origin: string;
    readonly subject: string;
    readonly protected: string;
    readonly payload: string;
    readonly to_be_signed: string;
    readonly signature: string;
    readonly public_key: string;
  }[];
  readonly refuse: readonly {
    readonly name: string;
    readonly hex: string;
    readonly kind: string;
    readonly rule: string;
  }[];
  readonly thumbprints: readonly {
    readonly name: string;
    readonly public_key: string;
    readonly thumbprint: string;
  }[];
}

const golden = readVectors<CoseVectors>("cose.json");

const spkiEd25519 = Buffer.from("302a300506032b6570032100", "hex");
const opensslVerifies = (publicKey: string, message: string, signature: string): boolean => {
  const der = Buffer.concat([spkiEd25519, Buffer.from(publicKey, "hex")]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  return verify(null, Buffer.from(message, "hex"), key, Buffer.from(signature, "hex"));
};

describe("golden vectors of statements", () => {
  for (const vector of golden.accept) {
    it(`read back and rebuild a ${vector.name}`, () => {
      const statement = parseStatement(fromHex(vector.statement));
      expect(statement.contentType).to.equal(vector.content_type);
      expect(toHex(statement.kid)).to.equal(vector.kid);
      expect(statement.origin).to.equal(vector.origin);
      expect(statement.subject).to.equal(vector.subject);
      expect(toHex(statement.payload)).to.equal(vector.payload);
      expect(toHex(statement.signature)).to.equal(vector.signature);
      expect(toHex(encodeProtected(statement))).to.equal(vector.protected);
      expect(toHex(encodeStatement(statement))).to.equal(vector.statement);
      expect(toHex(toBeSigned(statement.protectedBytes, statement.payload))).to.equal(vector.to_be_signed);
    });

    it(`verify with OpenSSL: ${vector.name}`, () => {
      expect(opensslVerifies(vector.public_key, vector.to_be_signed, vector.signature)).to.equal(true);
    });

    it(`have the bytes that cbor2 gives a COSE_Sign1: ${vector.name}`, () => {
      const header = new Map<number, unknown>([
        [1, -8],
        [3, vector.content_type],
        [4, fromHex(vector.kid)],
        [
          15,
          new Map([
            [1, vector.origin],
            [2, vector.subject],
          ]),
        ],
      ]);
      const protectedBytes = encode(header, deterministicEncode);
      const payload = fromHex(vector.payload);
      const sign1 = new Tag(18, [protectedBytes, {}, payload, fromHex(vector.signature)]);
      expect(toHex(encode(sign1, deterministicEncode))).to.equal(vector.statement);
      const signed = encode(["Signature1", protectedBytes, new Uint8Array(0), payload], deterministicEncode);
      expect(toHex(signed)).to.equal(vector.to_be_signed);
    });
  }

  for (const { name, hex, kind, rule } of golden.refuse) {
    it(`refuse ${name}: ${rule}`, () => {
      expect(errorOf(() => parseStatement(fromHex(hex)))).to.include({ kind, rule });
    });
  }

  it("break every rule of a statement at least once", () => {
    const broken = new Set(golden.refuse.map(({ rule }) => rule));
    expect(Object.values(coseRules).filter((rule) => !broken.has(rule))).to.deep.equal([]);
  });
});

describe("a statement", () => {
  const [vector] = golden.accept;
  if (vector === undefined) throw new Error("cose.json has no accepting vectors");
  const bytes = fromHex(vector.statement);

  it("that is cut anywhere is refused", () => {
    for (let length = 0; length < bytes.length; length += 1) {
      expect(errorOf(() => parseStatement(bytes.subarray(0, length))).kind).to.be.oneOf([
        "malformedCose",
        "malformedCbor",
      ]);
    }
  });

  it("with one bit flipped is refused or no longer verifies", () => {
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const flipped = Uint8Array.from(bytes);
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
      let verified = false;
      try {
        const { protectedBytes, payload, signature } = parseStatement(flipped);
        const message = toHex(toBeSigned(protectedBytes, payload));
        verified = opensslVerifies(vector.public_key, message, toHex(signature));
      } catch {
        continue;
      }
      expect(verified, `bit ${bit}`).to.equal(false);
    }
  });

  it("keeps its parts when the bytes it was read from change, also from a Buffer", () => {
    const input = Buffer.from(bytes);
    const statement = parseStatement(input);
    input.fill(0);
    expect(toHex(encodeStatement(statement))).to.equal(vector.statement);
  });

  it("cannot be made with an empty origin or subject or a short signature", () => {
    const kid = parseThumbprint(fromHex(vector.kid));
    const header = { contentType: vector.content_type, kid, origin: "", subject: "s" };
    expect(errorOf(() => encodeProtected(header))).to.include({ rule: coseRules.claims });
    expect(errorOf(() => encodeProtected({ ...header, origin: "o", subject: "" }))).to.include({
      rule: coseRules.claims,
    });
    const parts = { protectedBytes: new Uint8Array(0), payload: new Uint8Array(0) };
    expect(errorOf(() => encodeStatement({ ...parts, signature: new Uint8Array(63) }))).to.include({
      rule: coseRules.signature,
    });
  });
});

describe("a COSE key thumbprint", () => {
  for (const { name, public_key, thumbprint } of golden.thumbprints) {
    it(`is SHA-256 of the key's required parameters as cbor2 encodes them: ${name}`, () => {
      const key = new Map<number, unknown>([
        [-2, fromHex(public_key)],
        [-1, 6],
        [1, 1],
      ]);
      const expected = createHash("sha256").update(encode(key, deterministicEncode)).digest("hex");
      expect(thumbprint).to.equal(expected);
      expect(toHex(coseKeyThumbprint(parsePublicKey(fromHex(public_key))))).to.equal(expected);
    });
  }
});
