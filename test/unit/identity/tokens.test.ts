/** Caller tokens: each rule broken alone gives its own reason, and remembering a token never makes it last longer. */
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { expect } from "chai";
import { beforeEach, describe, it } from "mocha";
import { createTokenSigner } from "@sigil/client";
import { toBase64Url, utf8Decode } from "../../../src/core/bytes.ts";
import { fail, SigilFault, type CredentialReason } from "../../../src/errors.ts";
import { tokensPerPrincipalMax } from "../../../src/limits.ts";
import type { PrincipalPayload } from "../../../src/core/record/kinds/governance.ts";
import type { Verify } from "../../../src/core/keys/verify.ts";
import { anonymous } from "../../../src/identity/caller.ts";
import { createIdentityResolver, type IdentityResolver } from "../../../src/identity/resolver.ts";
import type { PaceProof } from "../../../src/identity/tokens.ts";
import {
  createKey,
  mint,
  nowMs,
  nowSeconds,
  origin,
  principalWith,
  reasonOf,
  type Minting,
} from "./minting.ts";

const key = createKey();
const stranger = createKey();

let enrolled: Map<string, PrincipalPayload>;
let clockMs: number;
let lookups: number;
let resolver: IdentityResolver;

const principals = {
  find: async (id: string) => {
    lookups += 1;
    return enrolled.get(id);
  },
};

const withToken = (token: string) => resolver.identify({ authorization: `Bearer ${token}` });
const refusalOf = (token: string): Promise<CredentialReason> => reasonOf(() => withToken(token));

beforeEach(() => {
  enrolled = new Map([["agent", principalWith(key)]]);
  clockMs = nowMs;
  lookups = 0;
  resolver = createIdentityResolver({ anonymous: "allow", principals, origin, nowMs: () => clockMs });
});

describe("caller tokens", () => {
  it("names the principal with the tenant and level of the ledger", async () => {
    expect(await withToken(mint(key))).to.deep.equal({
      principal: "agent",
      tenant: "acme",
      level: "operator",
      credential: "token",
      peer: "",
      key: key.kid,
    });
  });

  it("takes no level, tenant or key from the token itself", async () => {
    const jwk = stranger.privateKey.export({ format: "jwk" });
    const caller = await withToken(mint(key, { claims: { loa: "root", tenant: "system" } }));
    expect(caller).to.include({ tenant: "acme", level: "operator" });
    expect(await refusalOf(mint(stranger, { header: { jwk, kid: key.kid } }))).to.equal("TOKEN_SIGNATURE");
  });

  const wrong: readonly (readonly [string, Minting, CredentialReason])[] = [
    ["another algorithm", { header: { alg: "ES256" } }, "TOKEN_ALGORITHM"],
    ["the algorithm by its newer name", { header: { alg: "Ed25519" } }, "TOKEN_ALGORITHM"],
    ["no algorithm", { header: { alg: undefined } }, "TOKEN_ALGORITHM"],
    ["no kid", { header: { kid: undefined } }, "TOKEN_UNKNOWN_KEY"],
    ["a kid that is no thumbprint", { header: { kid: "key-1" } }, "TOKEN_UNKNOWN_KEY"],
    ["a kid of no key of the principal", { header: { kid: stranger.kid } }, "TOKEN_UNKNOWN_KEY"],
    ["a critical extension", { header: { crit: ["b64"], b64: true } }, "TOKEN_MALFORMED"],
    ["another type of token", { header: { typ: "at+jwt" } }, "TOKEN_MALFORMED"],
    ["an unknown principal", { claims: { iss: "nobody", sub: "nobody" } }, "TOKEN_UNKNOWN_KEY"],
    ["a principal that cannot exist", { claims: { iss: "../a", sub: "../a" } }, "TOKEN_UNKNOWN_KEY"],
    ["an issuer other than the subject", { claims: { iss: "other" } }, "TOKEN_CLAIMS"],
    ["another audience", { claims: { aud: "elsewhere.example" } }, "TOKEN_AUDIENCE"],
    ["several audiences", { claims: { aud: [origin, "elsewhere.example"] } }, "TOKEN_AUDIENCE"],
    ["a list of one audience", { claims: { aud: [origin] } }, "TOKEN_AUDIENCE"],
    ...["iss", "sub", "aud", "iat", "exp", "jti"].map(
      (name) => [`no ${name}`, { claims: { [name]: undefined } }, "TOKEN_CLAIMS"] as const,
    ),
    ["an exp in text", { claims: { exp: String(nowSeconds + 60) } }, "TOKEN_CLAIMS"],
    ["an exp with a fraction", { claims: { exp: nowSeconds + 0.5 } }, "TOKEN_CLAIMS"],
    ["an empty jti", { claims: { jti: "" } }, "TOKEN_CLAIMS"],
    ["a jti of 129 bytes", { claims: { jti: "j".repeat(129) } }, "TOKEN_CLAIMS"],
    ["an nbf in text", { claims: { nbf: "now" } }, "TOKEN_CLAIMS"],
    ["a lifetime of 601 s", { claims: { exp: nowSeconds + 601 } }, "TOKEN_LIFETIME"],
    ["an end before its beginning", { claims: { exp: nowSeconds } }, "TOKEN_LIFETIME"],
    ["an end 30 s ago", { claims: { iat: nowSeconds - 600, exp: nowSeconds - 30 } }, "TOKEN_EXPIRED"],
    ["a beginning in 31 s", { claims: { iat: nowSeconds + 31 } }, "TOKEN_NOT_YET_VALID"],
    ["an nbf in 31 s", { claims: { nbf: nowSeconds + 31 } }, "TOKEN_NOT_YET_VALID"],
  ];
  for (const [name, minting, reason] of wrong) {
    it(`refuses ${name} as ${reason}`, async () => {
      expect(await refusalOf(mint(key, minting))).to.equal(reason);
    });
  }

  it("allows the clocks to differ by 30 s either way", async () => {
    await withToken(mint(key, { claims: { iat: nowSeconds + 30 } }));
    await withToken(mint(key, { claims: { iat: nowSeconds - 600, exp: nowSeconds - 29 } }));
  });

  it("refuses a signature by another key, and one with any part changed", async () => {
    expect(await refusalOf(mint({ ...stranger, kid: key.kid }))).to.equal("TOKEN_SIGNATURE");
    const [header, , signature] = mint(key).split(".");
    const [, otherPayload] = mint(key, { claims: { jti: "2" } }).split(".");
    expect(await refusalOf(`${header}.${otherPayload}.${signature}`)).to.equal("TOKEN_SIGNATURE");
    expect(await refusalOf(`${header}.${otherPayload}.`)).to.equal("TOKEN_SIGNATURE");
  });

  it("refuses alg none, and HMAC with the public key as its secret", async () => {
    const [, payload] = mint(key).split(".");
    const header = (alg: string) => Buffer.from(JSON.stringify({ alg, kid: key.kid })).toString("base64url");
    expect(await refusalOf(`${header("none")}.${payload}.`)).to.equal("TOKEN_ALGORITHM");
    const input = `${header("HS256")}.${payload}`;
    const mac = createHmac("sha256", key.publicKey).update(input).digest("base64url");
    expect(await refusalOf(`${input}.${mac}`)).to.equal("TOKEN_ALGORITHM");
  });

  it("asks the strict verifier too, about the signed bytes, and counts its refusal", async () => {
    const token = mint(key);
    let isAsked = false;
    const verifyAgain: Verify = async (publicKey, message, signature) => {
      isAsked = true;
      expect(publicKey).to.deep.equal(key.publicKey);
      expect(`${utf8Decode(message)}.${toBase64Url(signature)}`).to.equal(token);
      return false;
    };
    resolver = createIdentityResolver({
      anonymous: "allow",
      principals,
      origin,
      nowMs: () => clockMs,
      verifyAgain,
    });
    expect(await refusalOf(token)).to.equal("TOKEN_SIGNATURE");
    expect(isAsked).to.equal(true);
  });

  const malformed: readonly (readonly [string, string])[] = [
    ["no text", ""],
    ["one part", "a"],
    ["two parts", "a.b"],
    ["three empty parts", ".."],
    ["four parts", `${mint(key)}.AA`],
    ["a header that is not JSON", "bm90IGpzb24.e30."],
    ["a header that is a list", "W10.e30.AA"],
    ["a header that is null", "bnVsbA.e30.AA"],
    ["a payload that is not JSON", mint(key).replace(/\..*\./, ".bm90IGpzb24.")],
    ["a payload that is null", mint(key).replace(/\..*\./, ".bnVsbA.")],
    ["padding", `${mint(key)}=`],
    ["a signature in another alphabet", mint(key).replace(/[^.]*$/, "+/+/")],
    ["more than 4,096 bytes, good otherwise", mint(key, { claims: { more: "a".repeat(4096) } })],
  ];
  for (const [name, token] of malformed) {
    it(`refuses a token of ${name} as TOKEN_MALFORMED`, async () => {
      expect(await reasonOf(() => resolver.identify({ authorization: `Bearer ${token}` }))).to.equal(
        "TOKEN_MALFORMED",
      );
    });
  }

  for (const authorization of [
    "",
    "Bearer",
    "Basic YTpi",
    "Bearer a b",
    "Bearer a.b.c, Bearer a.b.c",
    mint(key),
  ]) {
    it(`refuses authorization "${authorization.slice(0, 20)}" as TOKEN_MALFORMED`, async () => {
      expect(await reasonOf(() => resolver.identify({ authorization }))).to.equal("TOKEN_MALFORMED");
    });
  }

  it("reads the scheme in any case", async () => {
    expect((await resolver.identify({ authorization: `bEARER ${mint(key)}` })).principal).to.equal("agent");
  });

  it("takes the absence of credentials as an anonymous Guest of tenant public", async () => {
    expect(await resolver.identify({})).to.equal(anonymous);
    expect(anonymous).to.include({ principal: "", tenant: "public", level: "guest" });
  });

  it("accepts what the client package signs, and its thumbprint", async () => {
    const signer = createTokenSigner({
      principal: "agent",
      origin,
      privateKey: key.privateKey,
      nowMs: () => nowMs,
    });
    expect((await withToken(signer.token())).principal).to.equal("agent");
  });
});

describe("remembered tokens", () => {
  it("end at once when the principal is revoked", async () => {
    const token = mint(key);
    await withToken(token);
    enrolled.set("agent", principalWith(key, { active: false }));
    expect(await refusalOf(token)).to.equal("PRINCIPAL_REVOKED");
    expect(await refusalOf(mint(key, { claims: { jti: "2" } }))).to.equal("PRINCIPAL_REVOKED");
  });

  it("end at once when the key is no longer the principal's", async () => {
    const token = mint(key);
    await withToken(token);
    enrolled.set("agent", principalWith(stranger));
    expect(await refusalOf(token)).to.equal("TOKEN_UNKNOWN_KEY");
    enrolled.delete("agent");
    expect(await refusalOf(token)).to.equal("TOKEN_UNKNOWN_KEY");
  });

  it("carry the level that the ledger has now", async () => {
    const token = mint(key);
    await withToken(token);
    enrolled.set("agent", principalWith(key, { loa: "guest", tenant: "other" }));
    expect(await withToken(token)).to.include({ level: "guest", tenant: "other" });
  });

  it("do not outlive their exp and its leeway", async () => {
    const token = mint(key);
    clockMs = nowMs + 629_999;
    await withToken(token);
    clockMs = nowMs + 630_000;
    expect(await refusalOf(token)).to.equal("TOKEN_EXPIRED");
  });

  it("do not come to life early when the clock is set back, nor live on a clock that fails", async () => {
    const token = mint(key);
    await withToken(token);
    clockMs = nowMs - 31_000;
    expect(await refusalOf(token)).to.equal("TOKEN_NOT_YET_VALID");
    clockMs = Number.NaN;
    expect(await refusalOf(token)).to.equal("TOKEN_EXPIRED");
  });

  it("are verified once, also when many calls bring the same new token together", async () => {
    const token = mint(key);
    await Promise.all(Array.from({ length: 50 }, () => withToken(token)));
    // One look before the signature, and one a call after it.
    expect(lookups).to.equal(51);
  });

  it("are paced when new: nobody's until OpenSSL accepts, then their principal's, and not at all when known", async () => {
    const paced: (string | null)[] = [];
    const pace: PaceProof = (signer, work) => {
      paced.push(signer);
      return work();
    };
    const identify = (token: string) => resolver.identify({ authorization: `Bearer ${token}` }, pace);
    await reasonOf(() => identify(mint(stranger, { header: { kid: key.kid } })));
    expect(paced.splice(0)).to.deep.equal([null]);
    await identify(mint(key));
    expect(paced.splice(0)).to.deep.equal([null, "agent"]);
    await identify(mint(key));
    expect(paced).to.deep.equal([]);
  });

  it("shared with a caller who leaves before its turn are verified for those who stay", async () => {
    const turn = Promise.withResolvers<void>();
    const leaving: PaceProof = async () => {
      await turn.promise;
      throw new SigilFault({ kind: "cancelled" });
    };
    const token = mint(key);
    const left = resolver.identify({ authorization: `Bearer ${token}` }, leaving).catch(String);
    const stays = withToken(token);
    turn.resolve();
    expect(await left).to.match(/cancelled/);
    expect((await stays).principal).to.equal("agent");
  });

  it("do not spare a changed token its verification", async () => {
    const token = mint(key);
    await withToken(token);
    const forged = sign(null, Buffer.from("x"), generateKeyPairSync("ed25519").privateKey);
    const unsigned = token.slice(0, token.lastIndexOf("."));
    expect(await refusalOf(`${unsigned}.${forged.toString("base64url")}`)).to.equal("TOKEN_SIGNATURE");
  });

  it("leave the oldest first when there are more than the bound", async () => {
    resolver = createIdentityResolver({
      anonymous: "allow",
      principals,
      origin,
      nowMs: () => clockMs,
      cacheEntriesMax: 2,
    });
    const [a, b, c] = ["a", "b", "c"].map((jti) => mint(key, { claims: { jti } })) as [
      string,
      string,
      string,
    ];
    for (const token of [a, b, a, c]) await withToken(token);
    lookups = 0;
    await withToken(a);
    await withToken(c);
    expect(lookups).to.equal(2);
    await withToken(b);
    expect(lookups).to.equal(4);
  });

  it("of one principal make none of another's be forgotten, however many there are", async () => {
    const other = createKey();
    enrolled.set("other", principalWith(other));
    let verifications = 0;
    const verifyAgain: Verify = async () => {
      verifications += 1;
      return true;
    };
    const cacheEntriesMax = tokensPerPrincipalMax + 8;
    const options = { principals, origin, nowMs: () => clockMs, cacheEntriesMax, verifyAgain };
    resolver = createIdentityResolver({ anonymous: "allow", ...options });
    const others = mint(other, { claims: { iss: "other", sub: "other" } });
    const own = mint(key);
    await withToken(others);
    await withToken(own);
    for (let jti = 0; jti < cacheEntriesMax; jti += 1)
      await withToken(mint(key, { claims: { jti: `${jti}` } }));
    const before = verifications;
    await withToken(others);
    expect(verifications).to.equal(before);
    await withToken(own);
    expect(verifications).to.equal(before + 1);
  });

  it("let an error of the ledger through as it is", async () => {
    const broken = { find: async () => fail({ kind: "notServing", rule: "test" }) };
    resolver = createIdentityResolver({
      anonymous: "allow",
      principals: broken,
      origin,
      nowMs: () => clockMs,
    });
    let kind = "";
    await withToken(mint(key)).catch((error: { readonly error: { readonly kind: string } }) => {
      kind = error.error.kind;
    });
    expect(kind).to.equal("notServing");
  });
});
