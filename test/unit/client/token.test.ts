/** Token signing: what a token says, when it is replaced, and which keys are taken. */
import { generateKeyPairSync, verify } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { createTokenSigner, keyThumbprint } from "@sigil/client";
import { toBase64Url } from "../../../src/core/bytes.ts";
import { coseKeyThumbprint } from "../../../src/core/cose/cose.ts";
import { rawPublicKey } from "../../../src/crypto/signing/sign.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const startMs = 1_700_000_000_500;

const json = (part: string | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(part ?? "", "base64url").toString()) as Record<string, unknown>;

describe("createTokenSigner", () => {
  it("signs a ten-minute token that names principal, origin and key", () => {
    const signer = createTokenSigner({ principal: "agent", origin: "o", privateKey, nowMs: () => startMs });
    const [header, payload, signature] = signer.token().split(".");
    expect(json(header)).to.deep.equal({ alg: "EdDSA", typ: "JWT", kid: keyThumbprint(privateKey) });
    const { jti, ...claims } = json(payload);
    expect(claims).to.deep.equal({
      iss: "agent",
      sub: "agent",
      aud: "o",
      iat: 1_700_000_000,
      exp: 1_700_000_600,
    });
    expect(jti).to.match(/^[0-9a-f-]{36}$/);
    const isSigned = verify(
      null,
      Buffer.from(`${header}.${payload}`),
      publicKey,
      Buffer.from(signature ?? "", "base64url"),
    );
    expect(isSigned).to.equal(true);
  });

  it("names keys as the server does", () => {
    expect(keyThumbprint(privateKey)).to.equal(toBase64Url(coseKeyThumbprint(rawPublicKey(privateKey))));
    expect(keyThumbprint(publicKey)).to.equal(keyThumbprint(privateKey));
  });

  it("gives the same token until shortly before its end, then a new one", () => {
    let nowMs = startMs;
    const signer = createTokenSigner({ principal: "agent", origin: "o", privateKey, nowMs: () => nowMs });
    const first = signer.token();
    nowMs = startMs + 479_999;
    expect(signer.token()).to.equal(first);
    nowMs = startMs + 480_000;
    const second = signer.token();
    expect(second).not.to.equal(first);
    nowMs = startMs - 3_600_000;
    expect(json(signer.token().split(".")[1])["iat"]).to.equal(Math.floor(nowMs / 1000));
  });

  it("reads a PEM key, and refuses other keys and lifetimes", () => {
    const pem = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
    createTokenSigner({ principal: "a", origin: "o", privateKey: pem }).token();
    const rsa = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey;
    for (const key of [rsa, publicKey]) {
      expect(() => createTokenSigner({ principal: "a", origin: "o", privateKey: key })).to.throw(
        TypeError,
        "Ed25519",
      );
    }
    for (const lifetimeSeconds of [0, 601, 1.5, Number.NaN]) {
      const options = { principal: "a", origin: "o", privateKey, lifetimeSeconds };
      expect(() => createTokenSigner(options)).to.throw(RangeError);
    }
  });
});
