/** Verifying a committed record's attestations offline, with real signatures. */
import { createHash, createPrivateKey, createPublicKey, sign, type KeyObject } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { verifyForeign } from "../../../src/core/keys/verify.ts";
import { parsePublicKey } from "../../../src/core/bytes.ts";
import type { Attestation } from "../../../src/core/record/attestation.ts";
import { checkAttested, type CommittedRecord } from "../../../src/core/quorum/verifying.ts";
import { attestationToSign, formatAttestationStatement } from "../../../src/core/quorum/statement.ts";
import { hashOf, origin, proposalId, registryOf, witnessOf } from "./quorum-world.ts";

const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");
const pairOf = (name: number) => {
  const seed = createHash("sha256").update(`witness ${name}`).digest();
  const privateKey = createPrivateKey({ key: Buffer.concat([pkcs8, seed]), format: "der", type: "pkcs8" });
  const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
  return { privateKey, publicKey: parsePublicKey(Buffer.from(x, "base64url")) };
};
const pairs = [1, 2, 3, 4].map(pairOf);
const pair = (name: number): { privateKey: KeyObject; publicKey: ReturnType<typeof parsePublicKey> } =>
  pairs[name - 1] ?? pairOf(name);

const registry = registryOf(
  2,
  [1, 2, 3].map((name) => witnessOf(name, { publicKey: pair(name).publicKey })),
);

const signedBy = (name: number, said: Partial<Attestation> & { readonly origin?: string } = {}) => {
  const { origin: at = origin, ...fields } = said;
  const attestation: Attestation = {
    proposal: proposalId,
    record: hashOf(50),
    epoch: 3,
    verdict: "approve",
    ...fields,
  };
  const { publicKey, privateKey } = pair(name);
  const toSign = attestationToSign(attestation, { origin: at, publicKey });
  return formatAttestationStatement(toSign, sign(null, toSign.message, privateKey));
};

const check = (attestations: readonly Uint8Array[], but: Partial<CommittedRecord> = {}) =>
  checkAttested({ record: hashOf(50), attestations, registry, origin, ...but }, verifyForeign);

describe("a committed record", () => {
  it("is attested by k witnesses of the registry in force", async () => {
    expect(await check([signedBy(1), signedBy(3)])).to.deep.equal({
      proposal: proposalId,
      attestedBy: ["w1", "w3"],
      possession: "notNeeded",
      refused: [],
      reached: true,
    });
    expect(await check([signedBy(1), signedBy(2), signedBy(3)])).to.include({ reached: true });
  });

  it("is not attested by fewer, or by none", async () => {
    expect(await check([signedBy(1)])).to.deep.include({ attestedBy: ["w1"], reached: false });
    expect(await check([])).to.deep.include({ proposal: null, attestedBy: [], reached: false });
  });

  const oneByteOff = signedBy(2);
  oneByteOff[oneByteOff.length - 1] = (oneByteOff.at(-1) ?? 0) ^ 1;
  const rows: readonly (readonly [string, Uint8Array, string])[] = [
    ["with one byte of its signature changed", oneByteOff, "has a signature that does not hold"],
    ["by the same witness", signedBy(1), "was given already, byte for byte"],
    ["by nobody enrolled", signedBy(4), "is by a key that no enrolled witness holds"],
    ["for another body", signedBy(2, { record: hashOf(51) }), "is for another body than the one proposed"],
    ["for another proposal", signedBy(2, { proposal: "proposal/other" }), "is for another proposal"],
    [
      "of another epoch",
      signedBy(2, { epoch: 2 }),
      "is for another epoch of the registry than the one in force",
    ],
    ["for another deployment", signedBy(2, { origin: "other.example" }), "is for another deployment"],
    ["that rejects", signedBy(2, { verdict: "reject" }), "is a rejection"],
    ["that is no statement", Uint8Array.of(1, 2, 3), "malformed COSE_Sign1: must begin with tag 18"],
    ["of no bytes", new Uint8Array(0), "malformed COSE_Sign1: must begin with tag 18"],
  ];
  for (const [name, bytes, rule] of rows) {
    it(`is not attested by one ${name}, and says so`, async () => {
      const { attestedBy, refused, reached } = await check([signedBy(1), bytes]);
      expect({ attestedBy, refused, reached }).to.deep.equal({
        attestedBy: ["w1"],
        refused: [{ index: 1, rule }],
        reached: false,
      });
    });
  }

  it("is not kept from its quorum by a bad attestation among good ones", async () => {
    const mixed = [Uint8Array.of(1), signedBy(4, { proposal: "proposal/other" }), signedBy(1), signedBy(2)];
    const { reached, refused } = await check(mixed);
    expect(reached).to.equal(true);
    expect(refused.map(({ index }) => index)).to.deep.equal([0, 1]);
  });

  it("is held to what its proposal's record says, when that is given", async () => {
    const proposal = { id: proposalId, position: 100n, proposer: "alice" };
    const both = [signedBy(1), signedBy(2)];
    expect(await check(both, { proposal })).to.include({ reached: true });
    expect(await check(both, { proposal: { ...proposal, position: 1n } })).to.include({ reached: false });
    expect(await check(both, { proposal: { ...proposal, proposer: "w2" } })).to.deep.include({
      attestedBy: ["w1"],
      reached: false,
    });
    const other = { ...proposal, id: "proposal/other" };
    expect(await check(both, { proposal: other })).to.deep.include({ attestedBy: [], reached: false });
  });

  it("that enrols a key needs that key's statement besides, which counts for nothing else", async () => {
    const enrols = { witness: "w4", publicKey: pair(4).publicKey };
    expect(await check([signedBy(1), signedBy(2)], { enrols })).to.include({
      possession: "missing",
      reached: false,
    });
    expect(await check([signedBy(4), signedBy(1)], { enrols })).to.include({
      possession: "given",
      reached: false,
    });
    expect(await check([signedBy(4), signedBy(1), signedBy(2)], { enrols })).to.deep.include({
      possession: "given",
      refused: [],
      reached: true,
    });
  });

  it("is never attested under a registry without a quorum", async () => {
    for (const k of [0, 4, NaN]) {
      const all = [signedBy(1), signedBy(2), signedBy(3)];
      expect(await check(all, { registry: { ...registry, k } })).to.include({ reached: false });
    }
  });

  it("is never attested by a verifier that throws instead of answering", async () => {
    const failing = checkAttested({ record: hashOf(50), attestations: [signedBy(1)], registry, origin }, () =>
      Promise.reject(new Error("no verifier")),
    );
    expect(
      await failing.then(
        () => "answered",
        (error: Error) => error.message,
      ),
    ).to.equal("no verifier");
  });
});
