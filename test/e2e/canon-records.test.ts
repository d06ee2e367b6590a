/** Writing to the user space and reading it back over a socket: versions, kinds, links, decisions, who may. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { Space, type SigilConnection } from "@sigil/client";
import { decodeEnvelope, parseRecordStatement } from "../../src/core/record/record.ts";
import { end, payloadOf, put, recordIn, unhurriedModel } from "./canon-writes.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

const model = { ...unhurriedModel, targets: { ...unhurriedModel.targets, "canon/user/vault/**": 1 } };

describe("records of the user space", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let operator: SigilConnection;
  let stranger: SigilConnection;

  before(async () => {
    deployment = await makeDeployment({ model, otherTenants: ["beta"] });
    served = await deployment.serve();
    operator = served.as("operator");
    stranger = served.by("operator-beta", deployment.privateKeys.operator);
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  describe("versions", () => {
    it("creates, replaces, ends and recreates a record, each version chained to the one before", async () => {
      const first = await put(operator, "life/one", { n: 1 }, { expectedVersion: 0n });
      const second = await put(operator, "life/one", { n: 2 }, { expectedVersion: 1n });
      const ended = await end(operator, "life/one", { expectedVersion: 2n });
      const again = await put(operator, "life/one", { n: 4 }, { expectedVersion: 0n });
      const versions = [first, second, ended, again];
      expect(versions.map(({ version }) => version)).to.deep.equal([1n, 2n, 3n, 4n]);
      for (const [index, answer] of versions.entries()) {
        const before = versions[index - 1];
        const prev = before === undefined ? "" : Buffer.from(recordIn(before).hash).toString("hex");
        expect(Buffer.from(recordIn(answer).prev).toString("hex")).to.equal(prev);
        expect(recordIn(answer).position).to.equal(answer.ledgerPosition);
      }
      expect(recordIn(ended).kind).to.equal("tombstone");
      expect(payloadOf(ended)).to.deep.equal({ kind: "note" });
      const { record } = await operator.canon.getRecord({ id: "life/one" });
      expect(record).to.deep.include({ version: 4n, tombstone: false });
    });

    it("writes whatever the version is when none is expected", async () => {
      for (const version of [1n, 2n, 3n]) {
        expect((await put(operator, "life/any", { version: String(version) })).version).to.equal(version);
      }
      await end(operator, "life/any");
      expect((await put(operator, "life/any", {})).version).to.equal(5n);
    });

    it("takes the version of a tombstone for an expected version too", async () => {
      await put(operator, "life/tomb", {});
      await end(operator, "life/tomb");
      expect((await put(operator, "life/tomb", {}, { expectedVersion: 2n })).version).to.equal(3n);
    });

    it("refuses a version that does not hold, and says which does", async () => {
      await put(operator, "life/stale", { n: 1 });
      await put(operator, "life/stale", { n: 2 });
      for (const expectedVersion of [0n, 1n, 3n, 2n ** 64n - 1n]) {
        const writes = [
          put(operator, "life/stale", {}, { expectedVersion }),
          end(operator, "life/stale", { expectedVersion }),
        ];
        for (const refused of await Promise.all(writes.map(refusalOf))) {
          expect(refused.codeName).to.equal("ABORTED");
          expect(refused.facts).to.include({ id: "life/stale", version: "2" });
        }
      }
      const refused = await refusalOf(put(operator, "life/none", {}, { expectedVersion: 1n }));
      expect(refused.codeName).to.equal("ABORTED");
      expect(refused.facts).to.include({ version: "0" });
    });

    it("ends nothing that does not exist or has ended", async () => {
      expect(await codeOf(end(operator, "life/nothing", { kind: "note" }))).to.equal("NOT_FOUND");
      await put(operator, "life/twice", {});
      await end(operator, "life/twice");
      expect(await codeOf(end(operator, "life/twice"))).to.equal("NOT_FOUND");
    });

    it("keeps the same id apart in two tenants", async () => {
      const ours = await put(operator, "life/shared", { whose: "ours" }, { expectedVersion: 0n });
      const theirs = await put(stranger, "life/shared", { whose: "theirs" }, { expectedVersion: 0n });
      expect([ours.version, theirs.version]).to.deep.equal([1n, 1n]);
      expect(recordIn(theirs).tenant).to.equal("beta");
      const read = await operator.canon.getRecord({ id: "life/shared" });
      expect(payloadOf(read.record ?? ours)).to.deep.equal({ whose: "ours" });
    });
  });

  describe("kinds", () => {
    it("keeps the kind of an id for life, also past its end", async () => {
      await put(operator, "kinds/one", {}, { kind: "colour" });
      expect(
        (await refusalOf(put(operator, "kinds/one", {}, { kind: "shape" }))).fieldViolations,
      ).to.deep.equal([{ field: "kind", description: "must stay colour" }]);
      expect(await codeOf(end(operator, "kinds/one", { kind: "shape" }))).to.equal("INVALID_ARGUMENT");
      await end(operator, "kinds/one", { kind: "colour" });
      expect(await codeOf(put(operator, "kinds/one", {}, { kind: "shape" }))).to.equal("INVALID_ARGUMENT");
      expect((await put(operator, "kinds/one", {}, { kind: "colour" })).version).to.equal(3n);
    });

    for (const kind of [
      "frozen_chain",
      "proposal",
      "proposal_ending",
      "attestation",
      "flip_report",
      "tombstone",
      "genesis",
      "signing_key",
    ]) {
      it(`refuses kind ${kind}, which the server alone writes`, async () => {
        const refused = await refusalOf(put(operator, `kinds/${kind}`, {}, { kind }));
        expect(refused.codeName).to.equal("INVALID_ARGUMENT");
        expect(refused.fieldViolations.map(({ field }) => field)).to.deep.equal(["kind"]);
      });
    }
    for (const kind of ["trust_model", "schema", "quorum", "witness", "module"]) {
      it(`refuses kind ${kind}, which takes a quorum`, async () => {
        const refused = await refusalOf(put(served.as("mentor"), `kinds/${kind}`, {}, { kind }));
        expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "QUORUM_NEEDED" });
      });
    }

    it("does not let a decision's id be written", async () => {
      const { auditId } = await operator.trust.check({ action: "read", target: "public/docs" });
      expect(await codeOf(put(operator, auditId, {}))).to.equal("INVALID_ARGUMENT");
    });
  });

  describe("who may", () => {
    it("lets no Observer and no Guest write", async () => {
      const { ledger } = served.server;
      const size = ledger.reader.size;
      for (const level of ["observer", "guest"] as const) {
        const refused = await refusalOf(put(served.as(level), "who/note", {}));
        expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "LEVEL_TOO_LOW" });
        expect(refused.facts).to.include({ needed: "operator" });
      }
      expect(await codeOf(served.as("guest").canon.getRecord({ id: "who/note" }))).to.equal(
        "PERMISSION_DENIED",
      );
      expect(ledger.reader.size).to.equal(size);
    });

    it("refuses what the model denies, names the decision, and keeps it readable", async () => {
      const refused = await refusalOf(put(operator, "vault/door", { open: true }));
      expect(refused).to.include({ codeName: "PERMISSION_DENIED", reason: "DENIED" });
      const auditId = refused.facts["audit_id"] ?? "";
      const { chain } = await operator.audit.getFrozenChain({ auditId });
      expect(chain).to.include({
        action: "canon.write",
        target: "canon/user/vault/door",
        caller: "operator",
      });
      expect((await operator.audit.verifyFrozenChain({ auditId })).verified).to.equal(true);
      expect(await codeOf(operator.canon.getRecord({ id: "vault/door" }))).to.equal("NOT_FOUND");
    });

    it("links every record to the decision that allowed it", async () => {
      const written = await put(operator, "who/linked", {});
      const ended = await end(operator, "who/linked");
      for (const [answer, action] of [
        [written, "canon.write"],
        [ended, "canon.delete"],
      ] as const) {
        const { chain } = await operator.audit.getFrozenChain({ auditId: answer.auditId });
        expect(chain?.action).to.equal(action);
        const [link] = recordIn(answer).links;
        expect(link?.label).to.equal("decision");
        expect(link?.target).to.deep.equal(chain?.record?.hash);
        expect(recordIn(answer).position > (chain?.record?.position ?? 2n ** 64n)).to.equal(true);
      }
    });
  });

  describe("links", () => {
    it("keeps links to records of the tenant and of the system space, before the decision's", async () => {
      const target = recordIn(await put(operator, "links/target", {})).hash;
      const { record } = await operator.canon.getRecord({
        id: "trust_model/active",
        space: Space.SPACE_SYSTEM,
      });
      const system = recordIn({ record: record?.record }).hash;
      const links = [
        { label: "source", target },
        { label: "model", target: system },
      ];
      const written = await put(operator, "links/from", {}, { links });
      expect(recordIn(written).links.map(({ label }) => label)).to.deep.equal([
        "source",
        "model",
        "decision",
      ]);
      expect(recordIn(written).links.slice(0, 2)).to.deep.equal(links);
    });

    it("refuses a link to nothing and one to another tenant's record, in the same words", async () => {
      const theirs = recordIn(await put(stranger, "links/secret", {})).hash;
      const nothing = createHash("sha256").update("nothing").digest();
      const ours = recordIn(await put(operator, "links/ours", {})).hash;
      const good = { label: "good", target: ours };
      const messages = new Set<string>();
      for (const target of [nothing, theirs]) {
        const links = [good, { label: "bad", target }];
        const refused = await refusalOf(put(operator, "links/to", {}, { links }));
        expect(refused.codeName).to.equal("INVALID_ARGUMENT");
        expect(refused.fieldViolations.map(({ field }) => field)).to.deep.equal(["links[1].target"]);
        messages.add(refused.message);
      }
      expect(messages.size).to.equal(1);
      expect(await codeOf(put(operator, "links/to", {}, { links: [{ label: "", target: ours }] }))).to.equal(
        "INVALID_ARGUMENT",
      );
      expect(
        await codeOf(put(operator, "links/to", {}, { links: Array.from({ length: 64 }, () => good) })),
      ).to.equal("INVALID_ARGUMENT");
      expect(await codeOf(operator.canon.getRecord({ id: "links/to" }))).to.equal("NOT_FOUND");
    });
  });

  describe("reading", () => {
    it("gives a version by number, hash and ledger size, tombstones by number and hash too", async () => {
      const first = await put(operator, "read/one", { n: 1 });
      const ended = await end(operator, "read/one");
      const third = await put(operator, "read/one", { n: 3 });
      const at = async (place: Parameters<typeof operator.canon.getRecord>[0]["at"], id = "read/one") =>
        (await operator.canon.getRecord({ id, ...(place === undefined ? {} : { at: place }) })).record;
      expect(await at(undefined)).to.deep.equal({ record: third.record, version: 3n, tombstone: false });
      expect(await at({ $case: "version", value: 1n })).to.deep.include({
        record: first.record,
        version: 1n,
      });
      expect(await at({ $case: "version", value: 2n })).to.deep.include({ version: 2n, tombstone: true });
      const hash = recordIn(ended).hash;
      expect(await at({ $case: "hash", value: hash }, "")).to.deep.include({ version: 2n, tombstone: true });
      expect(await at({ $case: "hash", value: hash })).to.deep.include({ record: ended.record });
      const size = (written: { ledgerPosition: bigint }, more: bigint) =>
        ({ $case: "ledgerSize", value: written.ledgerPosition + more }) as const;
      expect(await at(size(first, 1n))).to.deep.include({ version: 1n });
      expect(await at(size(ended, 0n))).to.deep.include({ version: 1n });
      expect(await codeOf(at(size(first, 0n)))).to.equal("NOT_FOUND");
      expect(await codeOf(at(size(ended, 1n)))).to.equal("NOT_FOUND");
      expect(await codeOf(at({ $case: "version", value: 4n }))).to.equal("NOT_FOUND");
      expect(await codeOf(at({ $case: "version", value: 0n }))).to.equal("INVALID_ARGUMENT");
      expect(await codeOf(at({ $case: "hash", value: hash }, "read/two"))).to.equal("NOT_FOUND");
      expect(await codeOf(at({ $case: "hash", value: new Uint8Array(31) }))).to.equal("INVALID_ARGUMENT");
      expect(
        await codeOf(at({ $case: "ledgerSize", value: served.server.ledger.reader.size + 1n })),
      ).to.equal("OUT_OF_RANGE");
    });

    it("answers an envelope that holds the very record, and its hash", async () => {
      const { record } = await put(operator, "read/whole", { text: "whole" });
      const { statement } = decodeEnvelope(recordIn({ record }).envelope);
      const { body } = parseRecordStatement(statement);
      expect(body).to.include({ id: "read/whole", tenant: "acme", kind: "note", space: "user" });
      expect(body.payload).to.deep.equal(Object.assign(Object.create(null), { text: "whole" }));
    });

    it("shows another tenant's record to nobody but Root of system", async () => {
      const theirs = await put(stranger, "read/secret", { secret: true });
      const hash = { $case: "hash", value: recordIn(theirs).hash } as const;
      expect(await codeOf(operator.canon.getRecord({ id: "read/secret" }))).to.equal("NOT_FOUND");
      expect(await codeOf(operator.canon.getRecord({ at: hash }))).to.equal("NOT_FOUND");
      const mentor = served.as("mentor");
      const calls = [
        mentor.canon.getRecord({ id: "read/secret", tenant: "beta" }),
        mentor.canon.getRecord({ at: hash, tenant: "beta" }),
        mentor.canon.listRecords({ filter: { tenant: "beta" } }),
        mentor.canon.listHistory({ id: "read/secret", tenant: "beta" }),
        mentor.canon.streamRecords({ filter: { tenant: "beta" } }).next(),
        mentor.canon.watch({ filter: { tenant: "beta" } }).next(),
      ];
      const codes = await Promise.all(calls.map(codeOf));
      expect(codes).to.deep.equal(calls.map(() => "PERMISSION_DENIED"));
      const root = served.as("root");
      for (const request of [{ id: "read/secret" }, { at: hash }]) {
        const { record } = await root.canon.getRecord({ ...request, tenant: "beta" });
        expect(record?.record).to.deep.equal(theirs.record);
      }
      expect(await codeOf(root.canon.getRecord({ id: "read/secret" }))).to.equal("NOT_FOUND");
      const { records } = await root.canon.listHistory({ id: "read/secret", tenant: "beta" });
      expect(records.map(({ version }) => version)).to.deep.equal([1n]);
    });
  });
});
