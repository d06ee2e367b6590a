/** Who is calling, over a real socket: each way a proof can fail has its own reason; levels are the ledger's. */
import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { keyThumbprint, LevelOfAccess, SigilError, type SigilConnection } from "@sigil/client";
import { formatPrincipal, parsePrincipal } from "../../src/core/record/kinds.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token by hand: good but for what is changed. */
const mint = (
  privateKey: KeyObject,
  changes: {
    readonly header?: Readonly<Record<string, unknown>>;
    readonly claims?: Readonly<Record<string, unknown>>;
  } = {},
): string => {
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: "EdDSA", kid: keyThumbprint(privateKey), ...changes.header };
  const claims = {
    iss: "operator",
    sub: "operator",
    aud: origin,
    iat: now,
    exp: now + 300,
    jti: "one",
    ...changes.claims,
  };
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${sign(null, Buffer.from(input), privateKey).toString("base64url")}`;
};

type Stub = SigilConnection["stubs"][keyof SigilConnection["stubs"]];
type Rpc = { readonly path: string; readonly requestStream: boolean; readonly responseStream: boolean };

const rpcsOf = (stub: Stub): readonly Rpc[] =>
  Object.values((stub.constructor as unknown as { readonly service: Record<string, Rpc> }).service);

/** Calls with an empty message, whatever the RPC takes. @returns how the call failed. */
const bareCall = (stub: Stub, { path, requestStream, responseStream }: Rpc): Promise<SigilError> =>
  new Promise((resolve, reject) => {
    const empty = (): Buffer => Buffer.alloc(0);
    const end = (error: Error | null): void =>
      error === null ? reject(new Error(`${path} was answered`)) : resolve(SigilError.from(error));
    if (requestStream && responseStream) {
      stub
        .makeBidiStreamRequest(path, empty, empty)
        .on("error", end)
        .on("data", () => end(null))
        .end();
    } else if (responseStream) {
      stub
        .makeServerStreamRequest(path, empty, empty, {})
        .on("error", end)
        .on("data", () => end(null));
    } else if (requestStream) stub.makeClientStreamRequest(path, empty, empty, end).end();
    else stub.makeUnaryRequest(path, empty, empty, {}, end);
  });

describe("identity over a socket", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const checkWith = async (token: string, on = served) => {
    const connection = on.as("guest", { signer: { token: () => token } });
    return connection.trust.check({ action: "read", target: "public/docs" });
  };
  const refusalOf = async (token: string, on = served): Promise<SigilError> => {
    try {
      await checkWith(token, on);
    } catch (error) {
      return SigilError.from(error);
    }
    throw new Error("the token was accepted");
  };

  it("accepts a good token and reads the level from the ledger", async () => {
    const decision = await checkWith(mint(deployment.privateKeys.operator));
    expect(decision).to.include({ subject: "operator", level: LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR });
  });

  it("takes a caller without credentials for a Guest of tenant public", async () => {
    const decision = await served.as("guest").trust.check({ action: "read", target: "public/docs" });
    expect(decision).to.include({ subject: "", level: LevelOfAccess.LEVEL_OF_ACCESS_GUEST });
  });

  const now = Math.floor(Date.now() / 1000);
  const stranger = generateKeyPairSync("ed25519").privateKey;
  const wrong: readonly (readonly [string, string, (key: KeyObject) => string])[] = [
    [
      "a wrong signature",
      "TOKEN_SIGNATURE",
      (key) => mint(stranger, { header: { kid: keyThumbprint(key) } }),
    ],
    ["a key it does not know", "TOKEN_UNKNOWN_KEY", () => mint(stranger)],
    [
      "a principal it does not know",
      "TOKEN_UNKNOWN_KEY",
      (key) => mint(key, { claims: { iss: "x", sub: "x" } }),
    ],
    ["an expired token", "TOKEN_EXPIRED", (key) => mint(key, { claims: { iat: now - 400, exp: now - 100 } })],
    [
      "a token from the future",
      "TOKEN_NOT_YET_VALID",
      (key) => mint(key, { claims: { iat: now + 300, exp: now + 400 } }),
    ],
    ["another audience", "TOKEN_AUDIENCE", (key) => mint(key, { claims: { aud: "elsewhere" } })],
    ["alg none", "TOKEN_ALGORITHM", (key) => mint(key, { header: { alg: "none" } })],
    ["alg HS256", "TOKEN_ALGORITHM", (key) => mint(key, { header: { alg: "HS256" } })],
    ["a token that lives too long", "TOKEN_LIFETIME", (key) => mint(key, { claims: { exp: now + 3600 } })],
    ["a token without jti", "TOKEN_CLAIMS", (key) => mint(key, { claims: { jti: undefined } })],
    ["a subject that is not the issuer", "TOKEN_CLAIMS", (key) => mint(key, { claims: { sub: "root" } })],
    ["no token at all behind Bearer", "TOKEN_MALFORMED", () => "x"],
  ];
  for (const [name, reason, make] of wrong) {
    it(`refuses ${name} with ${reason}`, async () => {
      const refused = await refusalOf(make(deployment.privateKeys.operator));
      expect(refused.codeName).to.equal("UNAUTHENTICATED");
      expect(refused.reason).to.equal(reason);
    });
  }

  it("takes no anonymous caller where it is told so: of no RPC, and nothing is recorded", async () => {
    await using apart = await makeDeployment();
    await using closed = await apart.serve({ config: { anonymous: "refuse" } });
    const guest = closed.as("guest");
    const size = closed.server.ledger.reader.size;
    const ends = new Map<string, string | undefined>();
    for (const stub of Object.values(guest.stubs)) {
      for (const rpc of rpcsOf(stub)) ends.set(rpc.path, (await bareCall(stub, rpc)).reason);
    }
    expect(ends.size).to.be.greaterThan(30);
    expect(new Set(ends.values()), JSON.stringify([...ends])).to.deep.equal(new Set(["CREDENTIALS_MISSING"]));
    expect(closed.server.ledger.reader.size).to.equal(size);
    expect(await guest.health()).to.equal("SERVING");
    expect(
      (await closed.as("operator").trust.check({ action: "read", target: "public/docs" })).subject,
    ).to.equal("operator");
  });

  it("does not let a token of one principal speak for another", async () => {
    const claims = { iss: "root", sub: "root" };
    const refused = await refusalOf(mint(deployment.privateKeys.operator, { claims }));
    expect(refused.reason).to.equal("TOKEN_UNKNOWN_KEY");
  });

  it("revokes at once, also a token it has accepted before", async () => {
    await using other = await makeDeployment();
    await using fresh = await other.serve();
    const token = mint(other.privateKeys.operator);
    expect((await checkWith(token, fresh)).subject).to.equal("operator");
    const { ledger } = fresh.server;
    const record = await ledger.reader.readId("system", "system", "principal/operator");
    if (record === undefined) throw new Error("the principal has a record");
    const payload = formatPrincipal({ ...parsePrincipal(record.body.payload), active: false });
    await ledger.append([{ ...record.body, ts: Date.now(), payload, links: [], prev: record.hash }]);
    const refused = await refusalOf(token, fresh);
    expect(refused.codeName).to.equal("UNAUTHENTICATED");
    expect(refused.reason).to.equal("PRINCIPAL_REVOKED");
  });

  it("answers PERMISSION_DENIED with the level needed when identity is proved but too low", async () => {
    const refused = await served
      .as("observer")
      .trust.simulate({ candidate: {}, subjectMatter: { $case: "lastDecisions", value: 1 } })
      .then(
        () => undefined,
        (error: unknown) => SigilError.from(error),
      );
    expect(refused?.codeName).to.equal("PERMISSION_DENIED");
    expect(refused?.message).to.contain("mentor");
    expect(refused?.message).to.contain("observer");
  });
});
