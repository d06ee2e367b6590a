/** Stopping a principal or a key at once: who may, what it stops, and that a quorum alone takes it back. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { keyThumbprint, LevelOfAccess, Space, Verdict, type SigilConnection } from "@sigil/client";
import { parsePublicKey } from "../../src/core/bytes.ts";
import { enrolPrincipal } from "../../src/core/record/enrolment.ts";
import { put, recordIn } from "./canon-writes.ts";
import { json, newKey, rawKey, tombstone } from "./council.ts";
import { codeOf, refusalOf } from "./refusal.ts";
import { asks, hexOf, SuspendedWorld, thumbprintOf } from "./suspended-world.ts";

const suspended = { codeName: "UNAUTHENTICATED", reason: "PRINCIPAL_SUSPENDED" };
const keySuspended = { codeName: "UNAUTHENTICATED", reason: "KEY_SUSPENDED" };

describe("suspensions", function () {
  this.slow(5000);
  let world: SuspendedWorld;
  beforeEach(async () => {
    world = await SuspendedWorld.open();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  const size = (): bigint => world.council.served.server.ledger.reader.size;
  const root = (): SigilConnection => world.council.as("root");

  it("stop a principal at its next call, a remembered token too, until a quorum lifts them", async () => {
    const token = world.by("owen");
    expect((await asks(token)).level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR);
    const { suspension, auditId, alreadySuspended } = await world.suspend(root(), "owen");
    expect(suspension).to.include({
      recordId: "suspension/principal/owen",
      reason: "the laptop was stolen",
      by: "root",
      ledgerPosition: size() - 1n,
    });
    expect(alreadySuspended).to.equal(false);
    expect(await refusalOf(asks(token))).to.include(suspended);
    expect(await refusalOf(asks(world.by("owen")))).to.include(suspended);
    const { chain } = await root().audit.getFrozenChain({ auditId });
    expect(chain).to.include({
      action: "canon.suspend",
      target: "canon/suspension",
      session: "suspension/principal/owen",
    });
    const proposal = await world.council.propose({ id: "suspension/principal/owen", content: tombstone });
    await world.council.approve(proposal, "ann");
    expect(await refusalOf(asks(token))).to.include(suspended);
    await world.council.approve(proposal, "ben");
    expect((await asks(token)).level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR);
    expect((await world.show("owen")).suspension).to.equal(undefined);
  });

  it("are records with their reason, linked to the decision, that prove themselves and need no quorum", async () => {
    const { suspension, auditId } = await world.suspend(root(), "owen");
    const id = suspension?.recordId ?? "";
    const answer = await world.council.as("observer").canon.getSystemRecord({ id });
    const record = recordIn(answer.record ?? { record: undefined });
    expect(record).to.include({ kind: "suspension", tenant: "system", space: Space.SPACE_SYSTEM });
    expect(JSON.parse(record.payloadJson)).to.deep.equal({ reason: "the laptop was stolen", by: "root" });
    const decision = await root().canon.getRecord({
      id: auditId,
      space: Space.SPACE_USER,
      at: { $case: "hash", value: record.links[0]?.target ?? new Uint8Array() },
    });
    expect(record.links.map(({ label }) => label)).to.deep.equal(["decision"]);
    expect(recordIn(decision.record ?? { record: undefined }).id).to.equal(auditId);
  });

  it("stop one key and leave the principal its others", async () => {
    const [stolen, other] = [world.by("may", 0), world.by("may", 1)];
    await asks(stolen);
    const { suspension } = await world.suspend(root(), "may", world.key("may", 0));
    expect(suspension?.recordId).to.equal(`suspension/key/${hexOf(world.key("may", 0))}`);
    expect(await refusalOf(asks(stolen))).to.include(keySuspended);
    expect((await asks(other)).level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_MENTOR);
    const { keys, suspension: ofAll } = await world.show("may");
    expect(ofAll).to.equal(undefined);
    expect(keys.map(({ suspension: of }) => of?.by)).to.deep.equal(["root", undefined]);
    await world.lift(suspension?.recordId ?? "");
    expect(await codeOf(asks(stolen))).to.equal("OK");
  });

  it("stop whom no record id can name, by any spelling of its id", async () => {
    const key = newKey();
    const id = "ann+tag@example.org";
    const { id: recordId, payload } = enrolPrincipal(id, {
      publicKeys: [parsePublicKey(rawKey(key))],
      loa: "mentor",
      tenant: "acme",
      active: true,
    });
    const publicKeys = [Buffer.from(rawKey(key)).toString("base64")];
    const content = json({ ...payload, public_keys: publicKeys });
    await world.council.approve(await world.council.propose({ id: recordId, content }), "ann", "ben");
    const ann = world.council.served.by(id, key);
    expect(await codeOf(asks(ann))).to.equal("OK");
    const { suspension, principal } = await world.suspend(root(), "ann%2Btag@example.org");
    expect(suspension?.recordId).to.equal(`suspension/${recordId}`);
    expect(principal?.id).to.equal(id);
    expect(await refusalOf(asks(ann))).to.include(suspended);
    const { principals } = await root().principals.listPrincipals({ suspendedOnly: true });
    expect(principals.map((each) => each.id)).to.deep.equal([id]);
    await world.lift(`suspension/${recordId}`);
    expect(await codeOf(asks(ann))).to.equal("OK");
  });

  it("answer the one that stands when asked again, and write nothing", async () => {
    const first = await world.suspend(root(), "owen");
    const before = size();
    const again = await world.by("may").principals.suspendPrincipal({ principal: "owen", reason: "another" });
    expect(again).to.include({ alreadySuspended: true, auditId: "" });
    expect(again.suspension).to.deep.equal(first.suspension);
    expect(size()).to.equal(before);
    await world.lift("suspension/principal/owen");
    const anew = await world.suspend(root(), "owen");
    expect(anew.alreadySuspended).to.equal(false);
    expect(await refusalOf(asks(world.by("owen")))).to.include(suspended);
  });

  it("hold after a restart", async () => {
    await world.suspend(root(), "owen");
    await world.suspend(root(), "may", world.key("may", 0));
    await world.council.restart();
    expect(await refusalOf(asks(world.by("owen")))).to.include(suspended);
    expect(await refusalOf(asks(world.by("may")))).to.include(keySuspended);
    expect(await codeOf(asks(world.by("may", 1)))).to.equal("OK");
  });

  it("end watches and streams under way before anything more is given", async () => {
    const watching = world.by("owen").canon.watch({ heartbeatSeconds: 300 });
    await watching.next();
    const questions = Promise.withResolvers<void>();
    const requests = async function* () {
      yield { correlationId: "1", check: { action: "read", target: "public/docs" } };
      await questions.promise;
      yield { correlationId: "2", check: { action: "read", target: "public/docs" } };
    };
    const answers = world.by("owen").trust.streamChecks(requests());
    expect((await answers.next()).value?.outcome?.$case).to.equal("decision");
    await world.suspend(root(), "owen");
    await put(world.council.as("operator"), "notes/late", {});
    expect(await refusalOf(watching.next())).to.include(suspended);
    questions.resolve();
    const { value } = await answers.next();
    expect(value?.outcome?.$case === "error" ? value.outcome.value.message : value?.outcome).to.contain(
      "suspended",
    );
    await answers.return();
  });

  it("make a subject a Guest in other people's checks, and the record says why", async () => {
    const asked = { action: "write", target: "user/notes", subject: "owen" };
    const gateway = world.council.as("operator");
    expect((await gateway.trust.check(asked)).verdict).to.equal(Verdict.VERDICT_ALLOW);
    await world.suspend(root(), "owen");
    const one = await gateway.trust.check(asked);
    const { results } = await gateway.trust.batchCheck({ checks: [asked] });
    const inBatch = results[0]?.outcome?.$case === "decision" ? results[0].outcome.value : undefined;
    for (const answer of [one, inBatch]) {
      expect(answer).to.include({
        verdict: Verdict.VERDICT_DENY,
        reason: "LEVEL_TOO_LOW",
        level: LevelOfAccess.LEVEL_OF_ACCESS_GUEST,
      });
    }
    const { chain } = await gateway.audit.getFrozenChain({ auditId: one.auditId });
    const link = chain?.record?.links.find(({ label }) => label === "suspension");
    const { record } = await root().canon.getSystemRecord({ id: "suspension/principal/owen" });
    expect(link?.target).to.deep.equal(record?.record?.hash);
  });

  describe("who may", () => {
    const rows: readonly (readonly [by: string, whom: string, code: string, reason: string])[] = [
      ["root", "eve", "OK", ""],
      ["root", "may", "OK", ""],
      ["root", "olga", "OK", ""],
      ["root", "root", "OK", ""],
      ["may", "owen", "OK", ""],
      ["may", "observer", "OK", ""],
      ["may", "mentor", "PERMISSION_DENIED", "LEVEL_TOO_LOW"],
      ["may", "may", "PERMISSION_DENIED", "LEVEL_TOO_LOW"],
      ["may", "root", "NOT_FOUND", "NOT_FOUND"],
      ["may", "olga", "NOT_FOUND", "NOT_FOUND"],
      ["may", "nobody", "NOT_FOUND", "NOT_FOUND"],
      ["root", "nobody", "NOT_FOUND", "NOT_FOUND"],
      ["root", "witness/ann", "FAILED_PRECONDITION", "WITNESS"],
      ["owen", "observer", "PERMISSION_DENIED", "LEVEL_TOO_LOW"],
      ["owen", "owen", "PERMISSION_DENIED", "LEVEL_TOO_LOW"],
    ];
    for (const [by, whom, code, reason] of rows) {
      it(`lets ${by} suspend ${whom}: ${code}`, async () => {
        const connection = by === "root" ? root() : world.by(by);
        const before = size();
        if (code === "OK") {
          expect(await codeOf(world.suspend(connection, whom))).to.equal("OK");
          return;
        }
        expect(await refusalOf(world.suspend(connection, whom))).to.include({ codeName: code, reason });
        // What is wrong by itself leaves nothing behind, not even a decision.
        expect(size()).to.equal(before);
      });
    }

    it("refuses what is asked wrongly, and names the field", async () => {
      const { principals } = root();
      const asked = [
        [{ principal: "", reason: "x" }, "principal"],
        [{ principal: "a/../b", reason: "x" }, "principal"],
        [{ principal: "owen", reason: " " }, "reason"],
        [{ principal: "owen", reason: "x".repeat(1025) }, "reason"],
        [{ principal: "owen", reason: "x", keyThumbprint: new Uint8Array(31) }, "key_thumbprint"],
      ] as const;
      for (const [request, field] of asked) {
        const refused = await refusalOf(principals.suspendPrincipal(request));
        expect(refused.codeName).to.equal("INVALID_ARGUMENT");
        expect(refused.fieldViolations.map((violation) => violation.field)).to.deep.equal([field]);
      }
      expect(await codeOf(world.suspend(root(), "owen", newKey()))).to.equal("NOT_FOUND");
    });
  });

  describe("of a key that several have", () => {
    const enrolReader = (key = rawKey(world.key("hal"))) =>
      put(
        world.by("may"),
        "principal/reader",
        { public_keys: [Buffer.from(key).toString("base64")], loa: "guest", tenant: "acme", active: true },
        { kind: "principal" },
      );

    it("stop no Root whose public key a Mentor has enrolled for a Guest of its own", async () => {
      await enrolReader();
      await world.suspend(world.by("may"), "acme/reader", world.key("hal"));
      const reader = world.council.served.by("acme/reader", world.key("hal"));
      expect(await refusalOf(asks(reader))).to.include(keySuspended);
      expect(await codeOf(asks(world.by("hal")))).to.equal("OK");
      expect((await world.show("hal")).keys.map(({ suspension }) => suspension)).to.deep.equal([
        undefined,
        undefined,
      ]);
      // Root's own reaches everybody, in the place of the Mentor's.
      const wider = await world.suspend(root(), "hal", world.key("hal"));
      expect(wider).to.include({ alreadySuspended: false });
      expect(await refusalOf(asks(world.by("hal")))).to.include(keySuspended);
      expect(await refusalOf(asks(reader))).to.include(keySuspended);
    });

    it("stop nobody of another tenant, and take no other suspension's place there", async () => {
      const olga = world.key("olga");
      await enrolReader(rawKey(olga));
      await world.suspend(world.by("may"), "acme/reader", olga);
      expect(await codeOf(asks(world.by("olga")))).to.equal("OK");
      await world.lift(`suspension/key/${hexOf(olga)}`);
      await world.suspend(root(), "olga", olga);
      const again = await world.suspend(world.by("may"), "acme/reader", olga);
      expect(again).to.include({ alreadySuspended: true });
    });

    it("go on stopping somebody who is promoted later", async () => {
      const owen = world.key("owen");
      await world.suspend(world.by("may"), "owen", owen);
      const payload = {
        public_keys: [Buffer.from(rawKey(owen)).toString("base64")],
        loa: "mentor",
        tenant: "acme",
        active: true,
      };
      await world.council.approve(
        await world.council.propose({ id: "principal/owen", content: json(payload) }),
        "ann",
        "ben",
      );
      expect((await world.show("owen")).level).to.equal(LevelOfAccess.LEVEL_OF_ACCESS_MENTOR);
      expect(await refusalOf(asks(world.by("owen")))).to.include(keySuspended);
    });

    it("leave a witness its voice, also when the witness's key is a suspended principal's", async () => {
      const key = world.council.key("ann");
      const payload = {
        public_keys: [Buffer.from(rawKey(key)).toString("base64")],
        loa: "observer",
        tenant: "acme",
        active: true,
      };
      await put(world.by("may"), "principal/ann", payload, { kind: "principal" });
      await world.suspend(root(), "acme/ann", key);
      await world.suspend(root(), "acme/ann");
      expect(await refusalOf(asks(world.council.served.by("acme/ann", key)))).to.include(suspended);
      const asAnn = world.council.served.by("witness/ann", key);
      expect(await codeOf(asAnn.canon.listProposals({}))).to.equal("OK");
      await world.lift("suspension/principal/acme/ann");
    });
  });

  describe("are written by the server alone", () => {
    it("and nobody writes or proposes one, or has one that looks like it", async () => {
      const payload = { reason: "mine", by: "root" };
      const wrong = await refusalOf(
        put(world.by("may"), "suspension/principal/root", payload, { kind: "suspension" }),
      );
      expect(wrong.codeName).to.equal("INVALID_ARGUMENT");
      expect(wrong.message).to.contain("written by the server alone");
      await put(world.council.as("operator"), "suspension/principal/root", payload);
      expect(await codeOf(asks(root()))).to.equal("OK");
      const { propose } = world.council;
      for (const id of [
        "suspension/principal/root",
        "suspension/principal/owen",
        "suspension/key/ab",
        "suspension/x",
      ]) {
        const refused = await refusalOf(propose.call(world.council, { id, content: json(payload) }));
        expect(refused.codeName, id).to.equal("INVALID_ARGUMENT");
        expect(refused.message, id).to.contain("SuspendPrincipal");
        expect(await codeOf(propose.call(world.council, { id, content: tombstone })), id).to.equal(
          "NOT_FOUND",
        );
      }
      await world.suspend(root(), "owen");
      const standing = await refusalOf(
        propose.call(world.council, {
          id: "suspension/principal/owen",
          content: json({ reason: "less", by: "may" }),
        }),
      );
      expect(standing.codeName).to.equal("INVALID_ARGUMENT");
    });
  });

  it("keep a quorum from ending the last who could lift them, until another can", async () => {
    for (const id of ["eve", "hal", "may"]) await world.suspend(root(), id);
    const ending = { id: "principal/mentor", content: tombstone };
    expect(await refusalOf(world.council.propose(ending, root()))).to.include({ reason: "LAST_PROPOSER" });
    await world.lift("suspension/principal/may", root());
    await world.council.approve(await world.council.propose(ending, root()), "ann", "ben");
    expect(await codeOf(asks(world.council.as("mentor")))).to.equal("UNAUTHENTICATED");
  });

  it("are shown with their keys, reasons and places, and counted and logged", async () => {
    await world.suspend(root(), "owen", world.key("owen"));
    const shown = await world.show("owen");
    expect(shown).to.include({ id: "owen", tenant: "acme", active: true });
    expect(shown.keys.map(({ thumbprint }) => Buffer.from(thumbprint))).to.deep.equal([
      Buffer.from(thumbprintOf(world.key("owen"))),
    ]);
    expect(shown.keys[0]?.suspension).to.include({ by: "root", ledgerPosition: size() - 1n });
    const { logged, server } = world.council.served;
    expect(logged()).to.match(
      /"record":"suspension\/key\/[0-9a-f]{64}","principal":"owen","by":"root","msg":"key suspended"/,
    );
    const metrics = await (await fetch(`${server.operatorUrl}/metrics`)).text();
    expect(metrics).to.match(/^sigil_suspensions_total\{what="key"\} 1$/m);
    expect(keyThumbprint(world.key("owen"))).to.have.length(43);
  });
});
