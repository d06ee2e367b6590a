/** Principals by any id that people have: enrolled, asked about, calling, revoked, and found by every spelling. */
import { createHash, type KeyObject } from "node:crypto";
import { expect } from "chai";
import { LevelOfAccess, principalRecord, principalRecordId } from "@sigil/client";
import { after, before, describe, it } from "mocha";
import { Council, json, newKey, rawKey } from "./council.ts";
import { end, put } from "./canon-writes.ts";
import { codeOf, refusalOf } from "./refusal.ts";

const operator = LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR;
const observer = LevelOfAccess.LEVEL_OF_ACCESS_OBSERVER;
const guest = LevelOfAccess.LEVEL_OF_ACCESS_GUEST;
const digestOf = (id: string): string => createHash("sha256").update(id, "utf8").digest("hex");

describe("principals by the ids that people have", () => {
  let council: Council;
  before(async () => {
    council = await Council.open();
  });
  after(() => council[Symbol.asyncDispose]());

  const enrol = async (id: string, key: KeyObject, active = true): Promise<string> => {
    const asked = principalRecord({ id, publicKeys: [rawKey(key)], level: operator, tenant: "acme", active });
    const proposal = await council.propose(asked);
    await council.approve(proposal, "ann", "ben");
    return asked.id;
  };
  const levelOf = async (subject: string): Promise<LevelOfAccess> => {
    const asked = { action: "read", target: "public/a", subject };
    return (await council.as("operator").trust.check(asked)).level;
  };
  const whoIs = async (principal: string, key: KeyObject): Promise<string> => {
    const asked = { action: "read", target: "public/a" };
    return (await council.served.by(principal, key).trust.check(asked)).subject;
  };

  const rows: readonly (readonly [id: string, spellings: readonly string[]])[] = [
    ["john+tag@example.com", ["john%2Btag@example.com", "//john+tag@example.com/"]],
    ["Jörg Müller", ["Jo\u0308rg Mu\u0308ller", "J%C3%B6rg%20M%c3%bcller"]],
    ["auth0|5f7c8ec7", ["auth0%7c5f7c8ec7"]],
    ["team/x%2Fy", ["team//x%2fy"]],
    ["plain", ["%70lain", "plain/"]],
    ["spiffe:/other.example/ns/svc", ["spiffe://other.example/ns/svc", "SPIFFE://Other.Example//ns/svc"]],
    ["y".repeat(300), []],
  ];
  for (const [id, spellings] of rows) {
    it(`enrols ${id.slice(0, 30)}, who is one principal by every spelling until it is revoked`, async () => {
      const key = newKey();
      const recordId = await enrol(id, key);
      const isRecordId = /^[A-Za-z0-9._~:/@-]{1,200}$/.test(id);
      expect(recordId).to.equal(`principal/${isRecordId ? id : `~${digestOf(id)}`}`);
      expect(principalRecordId(id)).to.equal(recordId);
      const all = [id, ...spellings, `spiffe://sigil.test/${id}`];
      for (const spelling of all) {
        expect(await levelOf(spelling), spelling).to.equal(operator);
        expect(await whoIs(spelling, key), spelling).to.equal(id);
      }
      await enrol(id, key, false);
      for (const spelling of all) {
        expect(await levelOf(spelling), spelling).to.equal(guest);
        expect((await refusalOf(whoIs(spelling, key))).reason, spelling).to.equal("PRINCIPAL_REVOKED");
      }
    });
  }

  it("reads them again after a restart", async () => {
    const key = newKey();
    await enrol("after+restart", key);
    await council.restart();
    expect(await whoIs("after%2Brestart", key)).to.equal("after+restart");
  });

  it("refuses a principal where it would not be looked for, by field and rule", async () => {
    const payload = {
      public_keys: [Buffer.from(rawKey(newKey())).toString("base64")],
      loa: "operator",
      tenant: "acme",
      active: true,
    };
    const digest = `~${digestOf("a+b")}`;
    for (const [id, more, message] of [
      [`principal/${digest}`, {}, /payload\.id must be given/],
      [`principal/${digest}`, { id: "c+d" }, new RegExp(`id must be principal/~${digestOf("c+d")}`)],
      ["principal/ann", { id: "a+b" }, new RegExp(`id must be principal/${digest}`)],
      ["principal/ann", { id: "ann" }, /payload\.id must be left out/],
      [`principal/${digest}`, { id: "/a+b" }, /payload\.id must be spelled a\+b/],
      [`principal/${digest}`, { id: digest }, /payload\.id must have no segment of ~/],
      ["principal/spiffe:/sigil.test/ann", {}, /id must be spelled "ann"/],
      ["principal/ann/", {}, /id must be spelled "ann"/],
    ] as const) {
      const asked = { id, content: json({ ...payload, ...more }) };
      const refused = await refusalOf(council.as("mentor").canon.proposeRecord(asked));
      expect(refused.codeName, `${id}: ${refused.message}`).to.equal("INVALID_ARGUMENT");
      expect(refused.message).to.match(message);
    }
  });

  it("takes no digest for a principal, as a subject or as a caller", async () => {
    const key = newKey();
    await enrol("digest+ed", key);
    const digest = `~${digestOf("digest+ed")}`;
    for (const id of [digest, `spiffe://sigil.test/${digest}`, digest.replace("~", "%7E")]) {
      expect(await codeOf(levelOf(id)), id).to.equal("INVALID_ARGUMENT");
      expect(await codeOf(whoIs(id, key)), id).to.equal("UNAUTHENTICATED");
    }
  });

  it("lets a tenant enrol its own by such names, and end them at once", async () => {
    const key = newKey();
    const mentor = council.as("mentor");
    const { id, content } = principalRecord({
      id: "grüße+1",
      publicKeys: [rawKey(key)],
      level: observer,
      tenant: "acme",
      attributes: { team: "press" },
      owner: "mentor",
    });
    expect(id).to.equal(`principal/~${digestOf("grüße+1")}`);
    const { record } = await mentor.canon.writeRecord({ id, kind: "principal", content });
    expect(record?.schemaVersion).to.equal(2);
    for (const name of ["acme/grüße+1", "acme//gru\u0308%C3%9Fe%2B1"]) {
      expect(await whoIs(name, key), name).to.equal("acme/grüße+1");
      expect(await levelOf(name), name).to.equal(observer);
    }
    await end(mentor, id);
    expect(await codeOf(whoIs("acme/grüße+1", key))).to.equal("UNAUTHENTICATED");
    const elsewhere = await refusalOf(
      put(mentor, `principal/~${digestOf("x+y")}`, { ...pretend(key), id: "z+y" }, { kind: "principal" }),
    );
    expect(elsewhere.codeName).to.equal("INVALID_ARGUMENT");
  });

  const pretend = (key: KeyObject) => ({
    public_keys: [Buffer.from(rawKey(key)).toString("base64")],
    loa: "observer",
    tenant: "acme",
    active: true,
  });
});
