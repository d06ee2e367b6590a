/** Checkpoint notes and cosignatures against golden vectors, with Node's OpenSSL as the key. */
import { createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect } from "chai";
import * as fc from "fast-check";
import { describe, it } from "mocha";
import { fromBase64, fromHex, parseHash, parsePublicKey, parseSignature } from "../../../src/core/bytes.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { SigilFault } from "../../../src/errors.ts";
import type { SigilError } from "../../../src/errors.ts";
import {
  formatCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  verifyCheckpoint,
} from "../../../src/core/merkle/checkpoint.ts";
import type { Checkpoint, Sign, Verify } from "../../../src/core/merkle/checkpoint.ts";
import {
  cosignatureMessage,
  signCosignature,
  verifyCosignature,
} from "../../../src/core/merkle/cosignature.ts";
import { cosignatureKeyId, formatNote, noteKeyId, parseNote } from "../../../src/core/merkle/note.ts";

const SPKI_ED25519 = Buffer.from("302a300506032b6570032100", "hex");

const verifyByNode: Verify = async (publicKey, message, signature) => {
  const key = createPublicKey({ key: Buffer.concat([SPKI_ED25519, publicKey]), format: "der", type: "spki" });
  return verify(null, message, key, signature);
};

interface Vectors {
  readonly origin: string;
  readonly publicKey: string;
  readonly keyId: string;
  readonly witness: { readonly name: string; readonly publicKey: string; readonly keyId: string };
  readonly accept: readonly {
    readonly name: string;
    readonly note: string;
    readonly size: string;
    readonly root: string;
    readonly origin?: string;
    readonly extensions?: readonly string[];
  }[];
  readonly refuse: readonly { readonly name: string; readonly note: string; readonly rule: string }[];
  readonly cosignatures: {
    readonly accept: readonly { readonly name: string; readonly note: string; readonly time: string }[];
    readonly refuse: readonly { readonly name: string; readonly note: string; readonly rule: string }[];
  };
}

const vectors = JSON.parse(
  readFileSync(new URL("../../vectors/checkpoint.json", import.meta.url), "utf8"),
) as Vectors;
const publicKey = parsePublicKey(fromHex(vectors.publicKey));
const log = { origin: vectors.origin, publicKey, verify: verifyByNode };
const witness = {
  name: vectors.witness.name,
  publicKey: parsePublicKey(fromHex(vectors.witness.publicKey)),
  verify: verifyByNode,
};

const faultOf = async (run: () => unknown): Promise<SigilError> => {
  try {
    await run();
  } catch (error) {
    if (error instanceof SigilFault) return error.error;
    throw error;
  }
  throw new Error("was accepted");
};

const rule = (text: string): SigilError => ({ kind: "malformedCheckpoint", rule: text });

const sampleSigner = () => {
  const pair = generateKeyPairSync("ed25519");
  const raw = pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const signByNode: Sign = async (message) => parseSignature(sign(null, message, pair.privateKey));
  return { publicKey: parsePublicKey(raw), sign: signByNode };
};

describe("checkpoint vectors", () => {
  it("are at least 20 accepting and 25 refusing, each refusal with its rule", () => {
    expect(vectors.accept.length).to.be.at.least(20);
    expect(vectors.refuse.length).to.be.at.least(25);
  });

  for (const vector of vectors.accept) {
    it(`accepts ${vector.name}`, async () => {
      const origin = vector.origin ?? vectors.origin;
      const wanted: Checkpoint = {
        origin,
        size: BigInt(vector.size),
        root: parseHash(fromBase64(vector.root)),
        ...(vector.extensions === undefined ? {} : { extensions: vector.extensions }),
      };
      const checkpoint = await verifyCheckpoint(vector.note, { ...log, origin });
      expect(checkpoint).to.deep.equal(wanted);
      const note = parseNote(vector.note);
      expect(formatNote(note)).to.equal(vector.note);
      expect(formatCheckpoint(checkpoint)).to.equal(note.text);
    });
  }

  for (const vector of vectors.refuse) {
    it(`refuses ${vector.name}`, async () => {
      expect(await faultOf(() => verifyCheckpoint(vector.note, log))).to.deep.equal(rule(vector.rule));
    });
  }

  for (const vector of vectors.cosignatures.accept) {
    it(`accepts a cosignature: ${vector.name}`, async () => {
      await verifyCheckpoint(vector.note, log);
      expect(await verifyCosignature(parseNote(vector.note), witness)).to.equal(BigInt(vector.time));
    });
  }

  for (const vector of vectors.cosignatures.refuse) {
    it(`refuses a cosignature: ${vector.name}`, async () => {
      const fault = await faultOf(() => verifyCosignature(parseNote(vector.note), witness));
      expect(fault).to.deep.equal(rule(vector.rule));
    });
  }
});

describe("checkpoint notes", () => {
  it("have the key ids of the vectors, one for each type of signature", () => {
    expect(toHex(noteKeyId(vectors.origin, publicKey))).to.equal(vectors.keyId);
    expect(toHex(cosignatureKeyId(witness.name, witness.publicKey))).to.equal(vectors.witness.keyId);
    expect(noteKeyId(witness.name, witness.publicKey)).to.not.deep.equal(
      cosignatureKeyId(witness.name, witness.publicKey),
    );
  });

  it("look as the specification shows", () => {
    const page = readFileSync(new URL("../../../docs/spec/ledger.md", import.meta.url), "utf8");
    expect(page).to.include(`\`\`\`text\n${vectors.accept[0]?.note}\`\`\``);
  });

  it("verify after signing and under no other origin or key", async () => {
    const signer = sampleSigner();
    const checkpoint = { origin: "a.example/log", size: 5n, root: parseHash(new Uint8Array(32).fill(9)) };
    const note = await signCheckpoint(checkpoint, signer);
    const trusted = { origin: checkpoint.origin, publicKey: signer.publicKey, verify: verifyByNode };
    expect(await verifyCheckpoint(note, trusted)).to.deep.equal(checkpoint);
    expect(
      await faultOf(() => verifyCheckpoint(note, { ...trusted, origin: "b.example/log" })),
    ).to.deep.equal(rule("origin must be the one expected"));
    expect(await faultOf(() => verifyCheckpoint(note, { ...trusted, publicKey }))).to.deep.equal(
      rule("must be signed by the log's key"),
    );
  });

  it("are accepted in one form only: each changed character is refused", async () => {
    const note = vectors.accept[0]?.note ?? "";
    for (let at = 0; at < note.length; at += 1) {
      for (const other of ["A", "0", " ", "\n", "=", "\u2014", ""]) {
        if (note[at] === other) continue;
        const changed = note.slice(0, at) + other + note.slice(at + 1);
        const fault = await faultOf(() => verifyCheckpoint(changed, log));
        expect(fault.kind, JSON.stringify(changed)).to.equal("malformedCheckpoint");
      }
    }
  });

  it("come back for any origin, size and root", () => {
    const origin = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 40 })
      .filter((text) => !/\p{Cc}/u.test(text));
    const size = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    const root = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(parseHash);
    fc.assert(
      fc.property(origin, size, root, (...[name, leaves, hash]) => {
        const checkpoint = { origin: name, size: leaves, root: hash };
        expect(parseCheckpoint(formatCheckpoint(checkpoint))).to.deep.equal(checkpoint);
      }),
    );
  });

  it("fail with malformedCheckpoint and nothing else on any text", async () => {
    const unit = fc.constantFrom(..."\n \u2014+=/0A9\u0000\r\u0085\u00a0\uFEFF\uD800\uDC00é".split(""));
    const note = vectors.accept[0]?.note ?? "";
    const spliced = fc
      .tuple(fc.nat(note.length), fc.nat(20), fc.string({ unit, maxLength: 6 }))
      .map(([at, dropped, inserted]) => note.slice(0, at) + inserted + note.slice(at + dropped));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit }), spliced), async (text) => {
        if (text === note) return;
        expect((await faultOf(() => verifyCheckpoint(text, log))).kind).to.equal("malformedCheckpoint");
      }),
      { numRuns: 120 },
    );
  });

  it("are refused past their bound in bytes and with a lone surrogate", async () => {
    const long = `a\n1\n${vectors.accept[0]?.root}\n${"x".repeat(600_000)}\n`;
    expect(await faultOf(() => parseCheckpoint(long))).to.deep.equal(rule("must be at most 524288 bytes"));
    const broken = `a\uD800\n1\n${vectors.accept[0]?.root}\n`;
    expect(await faultOf(() => parseCheckpoint(broken))).to.deep.equal(rule("must be well-formed Unicode"));
  });

  it("are not written when they would not be read", async () => {
    const signer = sampleSigner();
    const root = parseHash(new Uint8Array(32));
    for (const [checkpoint, broken] of [
      [{ origin: "", size: 1n, root }, "origin must not be empty"],
      [{ origin: "a\nb", size: 1n, root }, "a line must hold no newline"],
      [{ origin: "a\tb", size: 1n, root }, "must hold no control character"],
      [{ origin: "a b", size: 1n, root }, "a key name must be non-empty, without white space and plus signs"],
      [{ origin: "a", size: -1n, root }, "size must be decimal without leading zeroes"],
      [{ origin: "a", size: 2n ** 64n, root }, "size must be a uint64"],
      [{ origin: "a", size: 1n, root, extensions: [""] }, "an extension line must not be empty"],
    ] as const) {
      expect(await faultOf(() => signCheckpoint(checkpoint, signer))).to.deep.equal(rule(broken));
    }
    const text = "a\n";
    const line = { name: "a", keyId: new Uint8Array(4), signature: Uint8Array.of(1) };
    for (const signatures of [
      [],
      [{ ...line, name: "a b" }],
      [{ ...line, keyId: new Uint8Array(3) }],
      [{ ...line, signature: new Uint8Array(0) }],
      Array.from({ length: 65 }, () => line),
    ]) {
      expect((await faultOf(() => formatNote({ text, signatures }))).kind).to.equal("malformedCheckpoint");
    }
  });
});

describe("cosignatures", () => {
  const text = `a.example/log\n5\n${Buffer.alloc(32).toString("base64")}\n`;

  it("sign a header line, a time line and the whole text", () => {
    const message = Buffer.from(cosignatureMessage(text, 1_679_315_147n)).toString();
    expect(message).to.equal(`cosignature/v1\ntime 1679315147\n${text}`);
  });

  it("verify after signing, beside the log's own signature", async () => {
    const logSigner = sampleSigner();
    const cosigner = { name: "w.example/1", ...sampleSigner() };
    const note = parseNote(await signCheckpoint(parseCheckpoint(text), logSigner));
    const added = await signCosignature(note.text, 42n, cosigner);
    const full = formatNote({ ...note, signatures: [...note.signatures, added] });
    const trusted = { origin: "a.example/log", publicKey: logSigner.publicKey, verify: verifyByNode };
    expect((await verifyCheckpoint(full, trusted)).size).to.equal(5n);
    expect(await verifyCosignature(parseNote(full), { ...cosigner, verify: verifyByNode })).to.equal(42n);
  });

  it("are not made for a time outside int64 or a text that is no checkpoint", async () => {
    for (const time of [-1n, 2n ** 63n]) {
      expect(await faultOf(() => cosignatureMessage(text, time))).to.deep.equal(
        rule("a cosignature's time must be below 2^63 seconds"),
      );
    }
    expect((await faultOf(() => cosignatureMessage("hello\n", 1n))).kind).to.equal("malformedCheckpoint");
  });
});
