/** Suspended principals and keys: what of a proof that holds is still good, and whom a suspended key stops. */
import { sign, type KeyObject } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { fromBase64Url, parseHash, parseThumbprint } from "../../../src/core/bytes.ts";
import { formatSuspension } from "../../../src/core/record/kinds.ts";
import type { PrincipalPayload } from "../../../src/core/record/kinds/governance.ts";
import { rawPublicKey } from "../../../src/crypto/signing/sign.ts";
import { createIdentityResolver } from "../../../src/identity/resolver.ts";
import { standingOf } from "../../../src/identity/standing.ts";
import {
  canPropose,
  keySuspensionId,
  maySuspend,
  stoppedBy,
  type StandingPrincipal,
  type Suspension,
} from "../../../src/identity/suspension.ts";
import { levelNames } from "../../../src/core/record/names.ts";
import { createKey, mint, nowMs, origin, principalWith, reasonOf } from "./minting.ts";

const [key, other] = [createKey(), createKey()];
const suspension: Suspension = { recordId: "x", reason: "stolen", by: "root", position: 7n, timeMs: 1 };
const both = { ...principalWith(key), publicKeys: [key.publicKey, other.publicKey] };

const resolverOf = (principal: StandingPrincipal) =>
  createIdentityResolver({
    principals: { find: async () => principal },
    origin,
    nowMs: () => nowMs,
    anonymous: "allow",
  });

const withToken =
  (principal: StandingPrincipal, by = key) =>
  () =>
    resolverOf(principal).identify({ authorization: `Bearer ${mint(by)}` });

/** DER, as much of it as a certificate takes. */
const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const length = body.length < 128 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
};

/** One that signs itself, with nothing in it but the key. */
const certificateOf = (privateKey: KeyObject): Uint8Array => {
  const algorithm = der(0x30, der(0x06, Buffer.from([0x2b, 0x65, 0x70])));
  const name = der(0x30);
  const times = der(0x30, der(0x17, Buffer.from("260101000000Z")), der(0x17, Buffer.from("360101000000Z")));
  const key = der(0x30, algorithm, der(0x03, Buffer.from([0]), rawPublicKey(privateKey)));
  const body = der(0x30, der(0x02, Buffer.from([1])), algorithm, name, times, name, key);
  return der(0x30, body, algorithm, der(0x03, Buffer.from([0]), sign(null, body, privateKey)));
};

const withCertificate = (principal: StandingPrincipal, privateKey: KeyObject) => () =>
  resolverOf(principal).identify({
    certificate: { subjectaltname: "DNS:agent.example", raw: certificateOf(privateKey) },
  });

describe("a suspended proof", () => {
  it("is refused for the principal, whichever key or certificate it is", async () => {
    const suspended = { ...both, suspension };
    expect(await reasonOf(withToken(suspended))).to.equal("PRINCIPAL_SUSPENDED");
    expect(await reasonOf(withToken(suspended, other))).to.equal("PRINCIPAL_SUSPENDED");
    expect(await reasonOf(withCertificate(suspended, createKey().privateKey))).to.equal(
      "PRINCIPAL_SUSPENDED",
    );
  });

  it("is refused for the key, also where the key stands in a certificate, and for that key alone", async () => {
    const suspended = { ...both, suspendedKeys: new Map([[key.kid, suspension]]) };
    expect(await reasonOf(withToken(suspended))).to.equal("KEY_SUSPENDED");
    expect(await reasonOf(withCertificate(suspended, key.privateKey))).to.equal("KEY_SUSPENDED");
    expect(await withToken(suspended, other)()).to.include({ principal: "agent", key: other.kid });
    expect(await withCertificate(suspended, other.privateKey)()).to.include({ credential: "certificate" });
  });

  it("is revoked first, and refused for its signature before anything is said of a suspension", async () => {
    const suspended = { ...both, suspension };
    expect(await reasonOf(withToken({ ...suspended, active: false }))).to.equal("PRINCIPAL_REVOKED");
    expect(await reasonOf(withToken(suspended, { ...createKey(), kid: key.kid }))).to.equal(
      "TOKEN_SIGNATURE",
    );
    expect(await reasonOf(withToken(suspended, createKey()))).to.equal("TOKEN_UNKNOWN_KEY");
  });
});

describe("who may suspend", () => {
  it("is Root of tenant system whomever, and others from Mentor up whoever of their tenant is below them", () => {
    const ranks = ["system", "acme"].flatMap((tenant) => levelNames.map((level) => ({ tenant, level })));
    for (const author of ranks) {
      for (const subject of ranks) {
        const isRoot = author.tenant === "system" && author.level === "root";
        const isBelow = levelNames.indexOf(subject.level) < levelNames.indexOf(author.level);
        const isSenior = author.level === "mentor" || author.level === "root";
        const wanted = isRoot || (isSenior && author.tenant === subject.tenant && isBelow);
        expect(
          maySuspend(author, subject),
          `${author.tenant} ${author.level} ${subject.tenant} ${subject.level}`,
        ).to.equal(wanted);
      }
    }
  });
});

describe("who may propose", () => {
  const mentor = { ...both, loa: "mentor" } as const;
  const of = (keys: readonly string[]) => new Map(keys.map((each) => [each, suspension]));

  it("has a key that is not suspended, or none and certificates", () => {
    expect(canPropose(mentor)).to.equal(true);
    expect(canPropose({ ...mentor, suspendedKeys: of([key.kid]) })).to.equal(true);
    expect(canPropose({ ...mentor, suspendedKeys: of([key.kid, other.kid]) })).to.equal(false);
    expect(canPropose({ ...mentor, publicKeys: [] })).to.equal(true);
    expect(canPropose({ ...mentor, suspension })).to.equal(false);
    expect(canPropose({ ...mentor, active: false })).to.equal(false);
    expect(canPropose({ ...mentor, loa: "operator" })).to.equal(false);
  });

  it("is kept from it by whoever suspended it, or all of its keys", () => {
    expect(stoppedBy(mentor)).to.deep.equal([]);
    expect(stoppedBy({ ...mentor, suspendedKeys: of([key.kid]) })).to.deep.equal([]);
    expect(stoppedBy({ ...mentor, suspendedKeys: of([key.kid, other.kid]) })).to.deep.equal(["root", "root"]);
    expect(stoppedBy({ ...mentor, suspension })).to.deep.equal(["root"]);
    expect(stoppedBy({ ...mentor, active: false, suspension })).to.deep.equal([]);
    expect(stoppedBy({ ...mentor, loa: "observer", suspension })).to.deep.equal([]);
  });
});

describe("a suspended key", () => {
  const recordId = keySuspensionId(parseThumbprint(fromBase64Url(key.kid)));
  const hash = parseHash(new Uint8Array(32));
  type Then = Readonly<Record<string, PrincipalPayload>>;

  /** How "holder" stands, when `then` is who there was at the suspension's position. */
  const standing = (then: Then, now: PrincipalPayload) => {
    const body = { kind: "suspension", payload: formatSuspension({ reason: "stolen", by: "author" }), ts: 1 };
    const sources = {
      ledger: {
        readId: async (_tenant: string, _space: string, id: string) =>
          id === recordId ? ({ body, position: 7n, hash } as never) : undefined,
      },
      readBelow: async (id: string, size: bigint) => {
        expect(size).to.equal(7n);
        return then[id];
      },
    };
    return standingOf(sources, { id: "holder", recordId: "principal/holder" }, now);
  };
  const rank = (loa: PrincipalPayload["loa"], tenant: string) => principalWith(key, { loa, tenant });
  const isStopped = async (then: Then, now: PrincipalPayload) =>
    (await standing(then, now)).suspendedKeys !== undefined;

  it("stops every holder when Root of tenant system suspended it", async () => {
    const author = rank("root", "system");
    expect(await isStopped({ author }, rank("root", "system"))).to.equal(true);
    expect(await isStopped({ author }, rank("guest", "acme"))).to.equal(true);
  });

  it("stops those alone whom its author could suspend then, whatever became of them", async () => {
    const author = rank("mentor", "acme");
    const rows: readonly (readonly [
      then: PrincipalPayload | undefined,
      now: PrincipalPayload,
      stopped: boolean,
    ])[] = [
      [rank("operator", "acme"), rank("operator", "acme"), true],
      [rank("operator", "acme"), rank("root", "system"), true],
      [rank("mentor", "acme"), rank("guest", "acme"), false],
      [rank("operator", "beta"), rank("operator", "acme"), false],
      [undefined, rank("guest", "acme"), true],
      [undefined, rank("guest", "beta"), false],
      [undefined, rank("mentor", "acme"), false],
    ];
    for (const [holder, now, stopped] of rows) {
      expect(await isStopped({ author, ...(holder === undefined ? {} : { holder }) }, now)).to.equal(stopped);
    }
  });

  it("stays so when its author cannot be found any more", async () => {
    expect(await isStopped({}, rank("root", "system"))).to.equal(true);
  });

  it("stops nobody who does not have it", async () => {
    const holder = { ...rank("operator", "acme"), publicKeys: [other.publicKey] };
    expect(await standing({ author: rank("root", "system") }, holder)).to.equal(holder);
  });
});
