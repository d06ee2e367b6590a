/** Attestation statements as bytes: one encoding, and everything else refused. */
import { createHash, generateKeyPairSync, sign, verify } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { parsePublicKey } from "../../../src/core/bytes.ts";
import type { Attestation } from "../../../src/core/record/attestation.ts";
import {
  attestationContentType,
  coseKeyThumbprint,
  encodeProtected,
  encodeStatement,
  recordContentType,
} from "../../../src/core/cose/cose.ts";
import {
  attestationToSign,
  formatAttestationStatement,
  parseAttestationStatement,
} from "../../../src/core/quorum/statement.ts";
import { errorOf } from "../record/faults.ts";
import { hashOf, origin, proposalId } from "./quorum-world.ts";

const { publicKey: keyObject, privateKey } = generateKeyPairSync("ed25519");
const publicKey = parsePublicKey(Buffer.from(keyObject.export({ format: "jwk" }).x ?? "", "base64url"));
const attestation: Attestation = { proposal: proposalId, record: hashOf(50), epoch: 3, verdict: "approve" };
const toSign = attestationToSign(attestation, { origin, publicKey });
const statement = formatAttestationStatement(toSign, sign(null, toSign.message, privateKey));

const framed = (contentType: typeof attestationContentType | typeof recordContentType, subject: string) =>
  encodeStatement({
    protectedBytes: encodeProtected({ contentType, kid: coseKeyThumbprint(publicKey), origin, subject }),
    payload: toSign.payload,
    signature: new Uint8Array(64),
  });

describe("an attestation statement", () => {
  it("reads back as what was signed, by whom, for which deployment", () => {
    const read = parseAttestationStatement(statement);
    expect(read.attestation).to.deep.equal(attestation);
    expect(read).to.include({ origin, subject: proposalId });
    expect(read.kid).to.deep.equal(coseKeyThumbprint(publicKey));
    expect(Buffer.from(read.digest)).to.deep.equal(createHash("sha256").update(statement).digest());
    expect(read.message).to.deep.equal(toSign.message);
    expect(verify(null, read.message, keyObject, read.signature)).to.equal(true);
  });

  it("does not verify with one bit of its payload or signature changed", () => {
    for (const offset of [statement.length - 70, statement.length - 1]) {
      const changed = Uint8Array.from(statement);
      changed[offset] = (changed[offset] ?? 0) ^ 1;
      const outcome = (() => {
        try {
          const { message, signature } = parseAttestationStatement(changed);
          return verify(null, message, keyObject, signature);
        } catch {
          return "refused";
        }
      })();
      expect(outcome).to.be.oneOf([false, "refused"]);
    }
  });

  it("is refused about a record, or with a subject that is not the proposal", () => {
    expect(errorOf(() => parseAttestationStatement(framed(recordContentType, proposalId)))).to.deep.equal({
      kind: "malformedCose",
      rule: `content type must be ${attestationContentType}`,
    });
    expect(
      errorOf(() => parseAttestationStatement(framed(attestationContentType, "proposal/other"))),
    ).to.deep.equal({
      kind: "malformedCose",
      rule: "subject must be the proposal that the payload names",
    });
    expect(() => parseAttestationStatement(framed(attestationContentType, proposalId))).not.to.throw();
  });

  it("is refused when cut at any byte, or followed by one", () => {
    for (let length = 0; length < statement.length; length += 1) {
      expect(errorOf(() => parseAttestationStatement(statement.subarray(0, length)))).to.have.property(
        "kind",
      );
    }
    expect(errorOf(() => parseAttestationStatement(Uint8Array.of(...statement, 0)))).to.have.property("kind");
  });

  it("is not made of an attestation that breaks a rule, or with a short signature", () => {
    const broken = { ...attestation, epoch: -1 };
    expect(errorOf(() => attestationToSign(broken, { origin, publicKey })).kind).to.equal("malformedRecord");
    expect(errorOf(() => attestationToSign(attestation, { origin: "", publicKey })).kind).to.equal(
      "malformedCose",
    );
    expect(errorOf(() => formatAttestationStatement(toSign, new Uint8Array(63))).kind).to.equal(
      "malformedCose",
    );
  });
});
