/**
 * `commit_policy = "cosigned"`: an answer is given once a quorum of witnesses has cosigned its record, and not before;
 * what is not answered is recorded, and given to a repeat with the same idempotency key.
 */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { readEvidence } from "@sigil/client";
import type { Values } from "../../src/config/keys.ts";
import { utf8Encode } from "../../src/core/bytes.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { parsePolicy } from "../../src/core/merkle/index.ts";
import { verifyEvidence } from "../../src/core/verify/evidence.ts";
import { SigilFault } from "../../src/errors.ts";
import { asked, CosignedWorld, isPending, notCosigned, patientMs, policyOf } from "./cosigned-world.ts";
import { liesOf, logKeyOf, until, type Place } from "./log-witnesses.ts";
import { refusalOf } from "./refusal.ts";

describe("answers that wait for cosignatures", function () {
  this.slow(10_000);
  let world: CosignedWorld;
  beforeEach(async () => {
    world = await CosignedWorld.open();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  it("are held back until the quorum has cosigned the record, which their evidence then shows", async () => {
    const gate = await world.gate(1);
    await world.stop(2);
    await world.serve();
    await world.check();
    gate.shut();
    const size = world.reader.size;
    const waiting = world.check();
    await until(() => world.reader.size > size);
    expect(await isPending(waiting)).to.equal(true);
    // It is recorded, and the ledger shows it to whoever may read it: that is no answer.
    const recorded = await world.newest();
    expect(await world.cosignedSize()).to.equal(size);
    expect(await world.metric("sigil_cosigned_waiting")).to.equal(1);
    gate.release();
    const { allowed, auditId, ledgerPosition, replayed } = await waiting;
    expect([allowed, auditId, replayed]).to.deep.equal([true, recorded.auditId, false]);
    expect((await world.cosignedSize()) > ledgerPosition).to.equal(true);
    expect(await world.metric("sigil_cosigned_waiting")).to.equal(0);
    const file = await readEvidence(world.operator, { auditId, cosigned: true });
    const policy = parsePolicy(utf8Encode(policyOf(world.places, `log ${logKeyOf(world.reader)}`)));
    const verdict = await verifyEvidence(file, { policy }, { verify: verifyForeign });
    expect(verdict.holds, JSON.stringify(verdict.steps)).to.equal(true);
  });

  it("are refused within the bound where one cosignature is missing, and given to a repeat once it is there", async () => {
    const waitMs = 400;
    await world.serve({ cosigned_timeout_ms: waitMs });
    await until(async () => (await world.operatorPort("/readyz")) === "ready\n");
    await world.stop(1, 2);
    const startMs = performance.now();
    const refused = await refusalOf(world.check("a key"));
    expect(performance.now() - startMs).to.be.within(waitMs - 5, 5000);
    expect(refused).to.include({ ...notCosigned, retryDelayMs: 1000 });
    expect(refused.facts).to.deep.equal({ missing: "1", wait_ms: String(waitMs) });
    expect(refused.message).to.match(/commit_policy cosigned: .* 1 more cosignature is needed after 400 ms/);
    const recorded = await world.newest();
    expect(await refusalOf(world.check("a key"))).to.include(notCosigned);
    expect(await world.operatorPort("/readyz")).to.equal(
      "ready\nwitnesses that do not answer: w2, w3\n" +
        "commit_policy cosigned: no decision is answered, cosignatures missing: 1\n",
    );
    expect(await world.operatorPort("/metrics")).to.match(
      /sigil_cosigned_wait_seconds_count\{covered="false"\} 2/,
    );
    await world.start(1);
    await until(async () => (await world.check("a key").catch(() => undefined)) !== undefined);
    const given = await world.check("a key");
    expect(given).to.include({ allowed: true, auditId: recorded.auditId, replayed: true });
    // What is covered is given at once, whoever is there.
    await world.stop(0, 1);
    expect((await world.check("a key")).auditId).to.equal(recorded.auditId);
    expect(await refusalOf(world.check("another key"))).to.include(notCosigned);
  });

  it("count a cosignature only if it verifies over the checkpoint that was sent", async () => {
    await world.stop(2);
    const { 1: other } = world.places;
    const lies = liesOf(other as Place, world.places[0]?.name ?? "");
    let told = 0;
    const liar = await world.liar(1, (text) => {
      const lie = lies[told % lies.length];
      told += 1;
      return lie?.(text) ?? "";
    });
    await other?.stop();
    await world.serve({ cosigned_timeout_ms: 100 });
    while (told < lies.length) expect(await refusalOf(world.check())).to.include(notCosigned);
    const { length } = (await world.council.as("observer").audit.listFrozenChains({ pageSize: 1000 })).chains;
    expect(length).to.be.greaterThan(0);
    await liar.close();
    // The same place, once it tells the truth.
    await other?.start(world.reader, Number(new URL(liar.url).port));
    await world.serve();
    expect((await world.check()).allowed).to.equal(true);
  });

  it("do not wait for a witness that hangs, where the others are enough", async () => {
    const gate = await world.gate(2);
    const waitMs = 4000;
    await world.serve({ cosigned_timeout_ms: waitMs });
    await world.check();
    gate.shut();
    const checkQuickly = async (): Promise<void> => {
      const startMs = performance.now();
      expect((await world.check()).allowed).to.equal(true);
      expect(performance.now() - startMs).to.be.lessThan(waitMs / 2);
    };
    for (let decision = 0; decision < 10; decision += 1) await checkQuickly();
    expect(gate.submitted).to.be.lessThan(5);
    // It is given up and asked again, alone, while nothing else happens.
    const before = gate.submitted;
    await until(() => gate.submitted > before);
    await checkQuickly();
  });

  it("survive a restart between the record and the repeat", async () => {
    await world.serve();
    await world.check("before");
    await world.stop(0, 1, 2);
    await world.serve({ cosigned_timeout_ms: 200 });
    expect(await refusalOf(world.check("a key"))).to.include(notCosigned);
    const recorded = await world.newest();
    await world.serve({ cosigned_timeout_ms: 200 });
    // Nobody has shown this process that they are covered.
    for (const key of ["a key", "before"]) expect(await refusalOf(world.check(key))).to.include(notCosigned);
    await world.start(0, 2);
    await world.serve();
    expect(await world.check("a key")).to.include({
      allowed: true,
      auditId: recorded.auditId,
      replayed: true,
    });
    expect((await world.newest()).auditId).to.equal(recorded.auditId);
  });

  it("end with their own deadline or cancellation, and leave nothing behind", async () => {
    await world.serve();
    await world.check();
    await world.stop(1, 2);
    const startMs = performance.now();
    const late = await refusalOf(world.operator.trust.check(asked, { deadlineMs: 300 }));
    expect(late.codeName).to.equal("DEADLINE_EXCEEDED");
    const abort = new AbortController();
    const waiting = world.operator.trust.check(asked, { signal: abort.signal });
    const cancelled = refusalOf(waiting);
    await until(async () => (await world.metric("sigil_cosigned_waiting")) === 1);
    abort.abort();
    expect((await cancelled).codeName).to.equal("CANCELLED");
    await until(async () => (await world.metric("sigil_cosigned_waiting")) === 0);
    expect(performance.now() - startMs).to.be.lessThan(patientMs / 2);
  });

  it("are given while the server stops, if they are covered in time", async () => {
    const gate = await world.gate(1);
    await world.stop(2);
    await world.serve();
    await world.check();
    gate.shut();
    const waiting = world.check();
    await until(async () => (await world.metric("sigil_cosigned_waiting")) === 1);
    const closed = world.council.served.server.close();
    await until(() => world.council.served.logged().includes('"draining"'));
    expect(await isPending(waiting)).to.equal(true);
    gate.release();
    expect((await waiting).allowed).to.equal(true);
    await closed;
  });

  it("share rounds: many callers wait for one", async () => {
    const gate = await world.gate(0);
    await world.serve({ witness_interval_ms: 50 });
    await world.check();
    const [rounds, submitted] = [await world.metric("sigil_witness_rounds_total"), gate.submitted];
    const [flight, each] = [64, 4];
    const answers = await Promise.all(
      Array.from({ length: flight }, async () => {
        const given: boolean[] = [];
        for (let call = 0; call < each; call += 1) given.push((await world.check()).allowed);
        return given;
      }),
    );
    expect(answers.flat().filter(Boolean)).to.have.length(flight * each);
    const asking = (await world.metric("sigil_witness_rounds_total")) - rounds;
    expect(asking).to.be.within(each / 2, (flight * each) / 8);
    expect(gate.submitted - submitted).to.be.at.most(asking + 1);
  });

  it("have a round begin at once where the witnesses had nothing to do", async () => {
    const intervalMs = 4000;
    await world.serve({ witness_interval_ms: intervalMs });
    await until(async () => (await world.cosignedSize().catch(() => 0n)) === world.reader.size);
    await new Promise((resolve) => setTimeout(resolve, intervalMs + 200));
    const startMs = performance.now();
    expect((await world.check()).allowed).to.equal(true);
    expect(performance.now() - startMs).to.be.lessThan(intervalMs / 2);
  });

  describe("at the start", () => {
    const ruleOf = async (more: Partial<Values>): Promise<string> => {
      try {
        await world.serve(more);
      } catch (error) {
        if (error instanceof SigilFault) return error.message;
        throw error;
      }
      throw new Error("it started");
    };

    it("are refused without a quorum that could be waited for, by the field", async () => {
      const rules = [await ruleOf({ witness_policy: "" }), await ruleOf({ deadline_default_ms: patientMs })];
      const lines = policyOf(world.places);
      await world.write(lines.replace("quorum enough", "quorum none"));
      rules.push(await ruleOf({}));
      await world.write(lines.replaceAll(/ http:\S*(?=\nwitness)/g, ""));
      rules.push(await ruleOf({}));
      for (const [index, rule] of [
        /^config commit_policy: cosigned needs witness_policy$/,
        /^config cosigned_timeout_ms: must be less than deadline_default_ms$/,
        /^config witness_policy: .* says quorum none: commit_policy cosigned would wait for nobody$/,
        /^config witness_policy: .* has a quorum that its witnesses with a URL do not make/,
      ].entries())
        expect(rules[index]).to.match(rule);
      await world.council.restart();
    });
  });
});
