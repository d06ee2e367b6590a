/** Principals that a tenant enrols by itself: who may, which levels, and that an end works at once. */
import { generateKeyPairSync } from "node:crypto";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { LevelOfAccess, type SigilConnection } from "@sigil/client";
import { end, put } from "./canon-writes.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const key = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url").toString("base64");
const reader = { public_keys: [key], loa: "observer", tenant: "acme", active: true };
const principal = { kind: "principal" } as const;

describe("principals of a tenant", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let mentor: SigilConnection;
  let enrolled: SigilConnection;

  beforeEach(async () => {
    deployment = await makeDeployment({ otherTenants: ["beta"] });
    served = await deployment.serve();
    mentor = served.as("mentor");
    enrolled = served.by("acme/reader", privateKey);
  });
  afterEach(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  const whoAmI = async () => {
    const { subject, level } = await enrolled.trust.check({ action: "read", target: "public/docs" });
    return { subject, level };
  };
  const asObserver = { subject: "acme/reader", level: LevelOfAccess.LEVEL_OF_ACCESS_OBSERVER };

  it("lets a Mentor enrol an Observer, who calls with its own token at once", async () => {
    expect(await codeOf(whoAmI())).to.equal("UNAUTHENTICATED");
    await put(mentor, "principal/reader", reader, principal);
    expect(await whoAmI()).to.deep.equal(asObserver);
    await put(served.as("operator"), "shared/note", { text: "seen" });
    expect(await codeOf(enrolled.canon.getRecord({ id: "shared/note" }))).to.equal("OK");
    expect(await codeOf(put(enrolled, "shared/note", {}))).to.equal("PERMISSION_DENIED");
    expect(await codeOf(enrolled.canon.getRecord({ id: "shared/note", tenant: "beta" }))).to.equal(
      "PERMISSION_DENIED",
    );
  });

  it("stops a principal at once when it is revoked, and lets it in again when it is restored", async () => {
    await put(mentor, "principal/reader", reader, principal);
    for (const active of [false, true, false]) {
      await put(mentor, "principal/reader", { ...reader, active }, principal);
      expect(await codeOf(whoAmI())).to.equal(active ? "OK" : "UNAUTHENTICATED");
    }
  });

  it("stops a principal at once when its record ends, also after a restart", async () => {
    await put(mentor, "principal/reader", reader, principal);
    expect(await whoAmI()).to.deep.equal(asObserver);
    await end(mentor, "principal/reader");
    expect(await codeOf(whoAmI())).to.equal("UNAUTHENTICATED");
    await served[Symbol.asyncDispose]();
    served = await deployment.serve();
    enrolled = served.by("acme/reader", privateKey);
    expect(await codeOf(whoAmI())).to.equal("UNAUTHENTICATED");
    await put(served.as("mentor"), "principal/reader", { ...reader, loa: "guest" }, principal);
    expect(await whoAmI()).to.deep.equal({ ...asObserver, level: LevelOfAccess.LEVEL_OF_ACCESS_GUEST });
  });

  it("lets no Operator enrol, revoke or end a principal, alone or in a batch", async () => {
    await put(mentor, "principal/reader", reader, principal);
    const operator = served.as("operator");
    const change = { kind: "principal", id: "principal/reader" };
    const content = { $case: "payloadJson", value: JSON.stringify({ ...reader, active: false }) } as const;
    const calls = [
      put(operator, "principal/other", reader, principal),
      put(operator, "principal/reader", { ...reader, active: false }, principal),
      end(operator, "principal/reader"),
      operator.canon.batchWriteRecords({ writes: [{ ...change, content }] }),
    ];
    for (const refused of await Promise.all(calls.map(refusalOf))) {
      expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "LEVEL_TOO_LOW" });
      expect(refused.facts).to.include({ needed: "mentor" });
    }
    expect(await whoAmI()).to.deep.equal(asObserver);
  });

  it("takes a quorum for every level above Observer", async () => {
    for (const loa of ["operator", "mentor", "root"]) {
      const refused = await refusalOf(put(mentor, "principal/reader", { ...reader, loa }, principal));
      expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "QUORUM_NEEDED" });
    }
    expect(await codeOf(whoAmI())).to.equal("UNAUTHENTICATED");
  });

  it("refuses a principal of another tenant, under another id, or with a key that is none", async () => {
    const small = Buffer.alloc(32).toString("base64");
    for (const [id, payload, kind] of [
      ["principal/reader", { ...reader, tenant: "beta" }, "principal"],
      ["principal/reader", { ...reader, tenant: "system" }, "principal"],
      ["reader", reader, "principal"],
      ["principal/reader", reader, "note"],
      ["principal/reader", { ...reader, public_keys: [small] }, "principal"],
      ["principal/reader", { ...reader, public_keys: ["no base64!"] }, "principal"],
      ["principal/reader", { ...reader, public_keys: [key, key] }, "principal"],
      ["principal/reader", { ...reader, loa: "king" }, "principal"],
      ["principal/reader", { ...reader, more: 1 }, "principal"],
    ] as const) {
      expect(await codeOf(put(mentor, id, payload, { kind })), JSON.stringify(payload)).to.equal(
        "INVALID_ARGUMENT",
      );
    }
  });

  it("does not let a tenant's principal take the name of one the quorum enrolled", async () => {
    await put(mentor, "principal/operator", { ...reader, loa: "observer" }, principal);
    const { level } = await served.as("operator").trust.check({ action: "read", target: "public/docs" });
    expect(level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR);
    const impostor = served.by("operator", privateKey);
    expect(await codeOf(impostor.trust.check({ action: "read", target: "public/docs" }))).to.equal(
      "UNAUTHENTICATED",
    );
  });
});
