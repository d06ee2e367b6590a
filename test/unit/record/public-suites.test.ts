/**
 * Public test suites that lie beside the repository, in `../shared/suites`, and are not part of it: Ed25519 signatures
 * (Wycheproof, CCTV), Merkle proofs, COSE, deterministic CBOR and JSON. What they count is pinned, so that a verifier
 * that becomes laxer, or stricter, fails.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseJsonPayload } from "../../../src/canon/records/payload.ts";
import {
  fromHex,
  parsePublicKey,
  parseSignature,
  toHex,
  utf8Encode,
  type Hash,
} from "../../../src/core/bytes.ts";
import { cborDecode, cborEncode } from "../../../src/core/cbor/cbor.ts";
import { toBeSigned } from "../../../src/core/cose/cose.ts";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { checkConsistency, checkInclusion } from "../../../src/core/merkle/proof.ts";
import { SigilFault } from "../../../src/errors.ts";
import { repository } from "../../../scripts/run.ts";

const suites = join(repository, "..", "shared", "suites");
const isThere = existsSync(suites);
const whyNot = isThere ? "" : " (skipped: no public suites beside the repository)";

const read = <T>(...path: readonly string[]): T =>
  JSON.parse(readFileSync(join(suites, ...path), "utf8")) as T;
const filesIn = (...path: readonly string[]): readonly string[] =>
  readdirSync(join(suites, ...path), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".json"))
    .map((file) => join(...path, file));

const accepts = async (key: string, message: Uint8Array, signature: string): Promise<boolean> => {
  try {
    return await verifyForeign(parsePublicKey(fromHex(key)), message, parseSignature(fromHex(signature)));
  } catch (error) {
    if (error instanceof RangeError || error instanceof SigilFault) return false;
    throw error;
  }
};

/** Whether the work ends without a fault of the format. */
const holds = (work: () => unknown): boolean => {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof SigilFault) return false;
    throw error;
  }
};

const base64 = (text: string | null): Hash =>
  new Uint8Array(Buffer.from(text ?? "", "base64")) as Uint8Array as Hash;
const proofOf = (proof: readonly string[] | null): readonly Hash[] => (proof ?? []).map(base64);

describe(`public suites${whyNot}`, function () {
  this.slow(10_000);
  const suite = isThere ? it : it.skip;

  suite("of Ed25519 signatures (Wycheproof): each of 151 as it says", async () => {
    type Test = {
      readonly tcId: number;
      readonly msg: string;
      readonly sig: string;
      readonly result: string;
    };
    type Group = { readonly publicKey: { readonly pk: string }; readonly tests: readonly Test[] };
    const { testGroups } = read<{ readonly testGroups: readonly Group[] }>("wycheproof", "ed25519_test.json");
    let count = 0;
    for (const { publicKey, tests } of testGroups) {
      for (const { tcId, msg, sig, result } of tests) {
        expect(await accepts(publicKey.pk, fromHex(msg), sig), `test ${tcId}`).to.equal(result === "valid");
        count += 1;
      }
    }
    expect(count).to.equal(151);
  });

  suite("of Ed25519's edge cases (CCTV): 43 of 914 are accepted", async () => {
    type Test = { readonly key: string; readonly sig: string; readonly msg: string };
    const tests = read<readonly Test[]>("cctv", "ed25519vectors.json");
    let accepted = 0;
    for (const { key, sig, msg } of tests) if (await accepts(key, utf8Encode(msg), sig)) accepted += 1;
    expect([accepted, tests.length]).to.deep.equal([43, 914]);
  });

  suite("of Merkle proofs: 195 of 196 as they say, one has roots of twelve bytes", () => {
    type Inclusion = {
      readonly leafIdx: number;
      readonly treeSize: number;
      readonly root: string;
      readonly leafHash: string;
      readonly proof: readonly string[] | null;
      readonly wantErr: boolean;
    };
    type Consistency = {
      readonly size1: number;
      readonly size2: number;
      readonly root1: string;
      readonly root2: string;
      readonly proof: readonly string[] | null;
      readonly wantErr: boolean;
    };
    const data = ["tdmerkle", "testdata"] as const;
    const others: string[] = [];
    let count = 0;
    const compare = (file: string, kind: string, wantErr: boolean): void => {
      count += 1;
      if ((kind === "ok") === wantErr) others.push(file);
    };
    for (const file of filesIn(...data, "inclusion")) {
      const { leafIdx, treeSize, root, leafHash, proof, wantErr } = read<Inclusion>(file);
      const claim = { leafIndex: BigInt(leafIdx), treeSize: BigInt(treeSize), proof: proofOf(proof) };
      const { kind } = checkInclusion({ ...claim, root: base64(root), leafHash: base64(leafHash) });
      compare(file, kind, wantErr);
    }
    for (const file of filesIn(...data, "consistency")) {
      const { size1, size2, root1, root2, proof, wantErr } = read<Consistency>(file);
      const sizes = { oldSize: BigInt(size1), newSize: BigInt(size2), proof: proofOf(proof) };
      const { kind } = checkConsistency({ ...sizes, oldRoot: base64(root1), newRoot: base64(root2) });
      compare(file, kind, wantErr);
    }
    expect([count, others.length], others.join("\n")).to.deep.equal([196, 1]);
  });

  suite(
    "of deterministic CBOR: 73 of 77 as they say; NaN, infinities and text that is not NFC are ours",
    () => {
      type Test = { readonly hex: string; readonly diagnostic: string };
      const others: string[] = [];
      const valid = read<readonly Test[]>("dcbor", "valid.json");
      const invalid = read<readonly Test[]>("dcbor", "invalid.json");
      for (const [tests, isValid] of [
        [valid, true],
        [invalid, false],
      ] as const) {
        for (const { hex, diagnostic } of tests) {
          const isOurs = holds(() => {
            const bytes = fromHex(hex);
            expect(toHex(cborEncode(cborDecode(bytes)))).to.equal(hex.toLowerCase());
          });
          if (isOurs !== isValid) others.push(diagnostic);
        }
      }
      expect([valid.length + invalid.length, others.length], others.join(", ")).to.deep.equal([77, 4]);
    },
  );

  suite("of COSE: what is signed, byte for byte, and its EdDSA signatures", async () => {
    type Example = {
      readonly input: {
        readonly plaintext: string;
        readonly sign0?: { readonly key: { readonly x_hex: string; readonly crv: string } };
      };
      readonly intermediates: { readonly ToBeSign_hex?: string };
      readonly output: { readonly cbor: string };
    };
    let compared = 0;
    for (const file of filesIn("cose", "eddsa-examples")) {
      const { input, intermediates, output } = read<Example>(file);
      if (input.sign0?.key.crv !== "Ed25519") continue;
      const signed = fromHex((intermediates.ToBeSign_hex ?? "").toLowerCase());
      // Array of four: "Signature1", the protected header, no external data, the payload.
      const [, header] = cborDecode(signed) as readonly [string, Uint8Array];
      expect(toBeSigned(header, utf8Encode(input.plaintext))).to.deep.equal(signed);
      const signature = output.cbor.slice(-128).toLowerCase();
      expect(await accepts(input.sign0.key.x_hex, signed, signature)).to.equal(true);
      compared += 1;
    }
    expect(compared).to.be.above(0);
  });

  suite("of JSON: no text that is invalid is accepted", () => {
    const counts = { y: 0, n: 0, i: 0 };
    for (const file of filesIn("jsonsuite", "test_parsing")) {
      const verdict = file.split(/[/\\]/).at(-1)?.[0] as "y" | "n" | "i";
      const bytes = readFileSync(join(suites, file));
      const isTaken = holds(() => {
        try {
          return parseJsonPayload(
            new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
            "payload",
          );
        } catch (error) {
          if (error instanceof TypeError)
            throw new SigilFault({ kind: "invalidField", field: "payload", rule: "is no UTF-8" });
          throw error;
        }
      });
      if (isTaken) counts[verdict] += 1;
    }
    // Of the valid ones all but what canonical CBOR cannot hold; of what the suite leaves open, two.
    expect(counts).to.deep.equal({ y: 88, n: 0, i: 2 });
  });
});
