/**
 * The plan's seven tests, by plain fetch: what each promises over gRPC holds for a caller that has nothing but HTTP.
 */
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import type { Proposal } from "@sigil/client";
import { recordKey } from "../../src/ledger/layout/keyspace.ts";
import { openLevelStore } from "../../src/storage/level.ts";
import type { Store } from "../../src/storage/store.ts";
import { evaluate } from "../../src/core/model/model.ts";
import type { Evaluate } from "../../src/trust/evaluator.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { Council } from "./council.ts";
import { approve, codeOf, codePath } from "./modules.ts";
import {
  asking,
  httpAs,
  httpConfig,
  problem,
  urlOf,
  type Answered,
  type Ask,
  type Seen,
} from "./http-caller.ts";
import { attest } from "./witness.ts";

const text = Buffer.from("Please add a note that the meeting with the design team moved to Thursday at ten.");
const low = { action: "write", target: "user/notes", input: text.toString("base64") };
const risky = { action: "delete", target: "user/profile" };
const bytes = (base64: unknown): Uint8Array => Buffer.from(String(base64), "base64");

/** What an attestation is made from. */
const proposalOf = ({ id, body, origin, epoch }: Record<"id" | "body" | "origin" | "epoch", unknown>) =>
  ({ id, origin, body: bytes(body), epoch: BigInt(String(epoch)) }) as Proposal;

describe("over HTTP alone", () => {
  let council: Council;
  let store: Store;
  let broken: Evaluate | undefined;
  let guest: Ask;
  let observer: Ask;
  let operator: Ask;
  let mentor: Ask;

  before(async () => {
    const evaluator: Evaluate = (model, features, signal) => (broken ?? evaluate)(model, features, signal);
    council = await Council.open({}, (directory) => ({
      config: httpConfig,
      overrides: {
        evaluate: evaluator,
        openStore: async () => (store = await openLevelStore(join(directory, "ledger"))),
      },
    }));
    const as = httpAs(council.deployment, council.served);
    [guest, observer, operator, mentor] = [as("guest"), as("observer"), as("operator"), as("mentor")];
  });
  after(() => council[Symbol.asyncDispose]());

  const score = (decision: Seen): number => {
    expect(decision.score).to.equal(1 / (1 + Math.exp(-decision.z)));
    return Number(decision.score);
  };

  const expectProved = async (decision: Seen, ask: Ask): Promise<void> => {
    const { json: proof } = await ask("GET", `/audit/${decision.auditId}/verification`);
    expect(proof).to.deep.include({ verified: true, ledgerPosition: decision.ledgerPosition });
    const { json } = await ask("GET", `/audit/${decision.auditId}`);
    const { verdict, z, modelHash } = json.chain;
    expect([verdict, z, modelHash]).to.deep.equal([decision.verdict, decision.z, decision.modelHash]);
  };

  it("e2e_allow: a low risk has a high score, allows, and is proved", async () => {
    const { status, json } = await operator("POST", "/trust/check", low);
    expect(status).to.equal(200);
    expect(json).to.include({ verdict: "VERDICT_ALLOW", allowed: true, subject: "operator" });
    expect(score(json)).to.be.above(Number(json.threshold));
    const { json: harmless } = await operator("POST", "/trust/check", {
      action: "read",
      target: "public/docs",
    });
    expect(score(harmless)).to.be.above(0.8);
    await expectProved(json, operator);
  });

  it("e2e_deny: a high risk has a low score, denies, and is proved", async () => {
    const { status, json } = await observer("POST", "/trust/check", {
      action: "write",
      target: "user/notes",
    });
    expect(status).to.equal(200);
    expect(json).to.include({ verdict: "VERDICT_DENY", allowed: false, reason: "SCORE_BELOW_THRESHOLD" });
    expect(score(json)).to.be.below(Number(json.threshold)).and.below(0.4);
    const { json: denied } = await guest("POST", "/trust/check", risky);
    expect(denied).to.include({ verdict: "VERDICT_DENY", allowed: false });
    await expectProved(json, observer);
    await expectProved(denied, guest);
  });

  it("e2e_error_default_deny: no fault on the way becomes an allow", async () => {
    const faults: readonly Evaluate[] = [
      () => {
        throw new Error("broken");
      },
      () => new Promise(() => {}),
      (() => "allow") as unknown as Evaluate,
    ];
    for (const fault of faults) {
      broken = fault;
      const { status, json } = await operator("POST", "/trust/check", low);
      expect(status).to.equal(200);
      expect(json).to.include({ allowed: false, verdict: "VERDICT_DENY", reason: "EVALUATOR_ERROR" });
      expect((await operator("POST", "/trust/guard", low)).status).to.equal(403);
      broken = undefined;
      await expectProved(json, operator);
    }
    const malformed = ["", "{", "[]", '{"allowed":true}', JSON.stringify({ ...low, keepInput: "false" })];
    for (const body of malformed) {
      const { status, json } = await operator("POST", "/trust/check", body, {
        "content-type": "application/json",
      });
      expect([status, json.allowed], body).to.deep.equal([400, false]);
    }
    expect((await operator("POST", "/trust/check", low)).json.allowed).to.equal(true);
  });

  it("e2e_tamper_audit: a changed byte is DATA_LOSS, never an answer", async () => {
    const { json } = await operator("POST", "/trust/check", low);
    const key = recordKey(BigInt(json.ledgerPosition));
    const whole = (await store.get(key)) ?? expect.fail("nothing is stored there");
    const put = (value: Uint8Array): Promise<void> => store.commit([{ kind: "put", key, value }]);
    for (let index = 0; index < whole.length; index += 7) {
      const damaged = Uint8Array.from(whole);
      damaged[index] = (damaged[index] ?? 0) ^ 1;
      await put(damaged);
      const answer = await operator("GET", `/audit/${json.auditId}`);
      expect([answer.status, answer.json.code, answer.json.chain], `byte ${index}`).to.deep.equal([
        500,
        "DATA_LOSS",
        undefined,
      ]);
    }
    await put(whole);
    expect((await operator("GET", `/audit/${json.auditId}`)).status).to.equal(200);
  });

  it("e2e_quorum_pass_fail: one approval is not enough, and the k-th commits what was proposed", async () => {
    const payloadJson = JSON.stringify({ ...defaultModelPayload, bias: 1.25 });
    const proposed = await mentor("POST", "/canon/system/propose", { id: "trust_model/active", payloadJson });
    expect(proposed.status, JSON.stringify(proposed.json)).to.equal(200);
    const { proposal } = proposed.json;
    expect(proposal).to.include({ state: "PROPOSAL_STATE_OPEN", approvalsNeeded: 2 });
    const statement = (witness: string): string =>
      Buffer.from(attest(proposalOf(proposal), council.key(witness))).toString("base64");
    const send = (signed: string): Promise<Answered> =>
      guest("POST", "/canon/system/attest", { id: proposal.id, statement: signed });
    const commit = (): Promise<Answered> => mentor("POST", "/canon/system/commit", { id: proposal.id });
    expect(problem(await commit())).to.deep.equal([403, "QUORUM_SHORT"]);
    const first = await send(statement("ann"));
    expect(first.json.proposal).to.deep.include({ approvedBy: ["ann"], approvalsNeeded: 1 });
    expect(problem(await commit())).to.deep.equal([403, "QUORUM_SHORT"]);
    const forged = bytes(statement("ben"));
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    expect(problem(await send(Buffer.from(forged).toString("base64")))).to.deep.equal([403, "BAD_SIGNATURE"]);
    const { json: still } = await observer("GET", "/canon/system/records/trust_model/active");
    expect(still.record.version).to.equal("1");
    const second = await send(statement("ben"));
    expect(second.json.proposal).to.include({ state: "PROPOSAL_STATE_COMMITTED", approvalsNeeded: 0 });
    const { json: read } = await observer("GET", "/canon/system/records/trust_model/active");
    expect(read.record.version).to.equal("2");
    expect(read).to.deep.include({ attestedBy: ["ann", "ben"] });
    expect(JSON.parse(read.record.record.payloadJson)).to.include({ bias: 1.25 });
    // Its id has a slash.
    const { json: ended } = await observer("GET", `/canon/system/proposals/${proposal.id}`);
    expect(ended.proposal).to.include({ id: proposal.id, state: "PROPOSAL_STATE_COMMITTED" });
    expect(
      (await observer("GET", "/canon/system/proposals?state=PROPOSAL_STATE_OPEN")).json.proposals,
    ).to.deep.equal([]);
  });

  it("e2e_canon_iter_decrypt: records come back whole and in order, and lie encrypted on disk", async () => {
    const mark = "a payload that nobody sees on the disk";
    const wrote = Array.from({ length: 60 }, (_, count) => `iterated/${String(count).padStart(3, "0")}`);
    const writes = wrote.map((id) => ({ id, kind: "note", payload: { text: `${mark} ${id}` } }));
    const batch = await operator("POST", "/canon/user/write:batch", { writes });
    expect(batch.status, JSON.stringify(batch.json)).to.equal(200);
    const ids: string[] = [];
    let pageToken = "";
    do {
      const page = `&page_size=25&page_token=${encodeURIComponent(pageToken)}`;
      const { json } = await operator(
        "GET",
        `/canon/user?filter.id_prefix=iterated/&view=RECORD_VIEW_FULL${page}`,
      );
      for (const { record } of json.records as unknown as readonly Seen[]) {
        expect(JSON.parse(record.payloadJson).text).to.equal(`${mark} ${record.id}`);
        ids.push(record.id);
      }
      pageToken = json.nextPageToken;
    } while (pageToken !== "");
    expect(ids).to.deep.equal(wrote);
    const authorization = `Bearer ${await council.deployment.signer("operator").token()}`;
    const target = `${urlOf(council.served)}/canon/user:stream?filter.id_prefix=iterated/`;
    const streamed = await (await fetch(target, { headers: { authorization } })).text();
    expect(streamed.trim().split("\n")).to.have.length(wrote.length + 1);
    const files = await readdir(council.deployment.directory, { recursive: true, withFileTypes: true });
    for (const file of files.filter((each) => each.isFile()))
      expect((await readFile(join(file.parentPath, file.name))).includes(mark), file.name).to.equal(false);
    const stranger = asking(urlOf(council.served));
    expect((await stranger("GET", `/canon/user/${wrote[0]}`)).status).to.equal(403);
  });

  it("e2e_module_gate: who may runs it, who may not does not, and altered code runs for nobody", async () => {
    const run = (ask: Ask, name: string, body: object): Promise<Answered> =>
      ask("POST", `/module/${name}/run`, body);
    const done = await run(operator, "hello", { inputJson: '{"name":"Ada"}' });
    expect(done.json.outputJson).to.equal('{"greeting":"hello, Ada"}');
    await expectProved(await decisionOf(done.json.auditId), operator);
    const denied = await run(guest, "hello", { inputJson: '{"name":"Ada"}' });
    expect(problem(denied)).to.deep.equal([403, "DENIED"]);
    expect(denied.json.facts).to.include({ verdict: "deny", decision_reason: "LEVEL_TOO_LOW" });
    const digest = await approve(council, "brittle", codeOf({ body: "nop" }));
    expect((await run(operator, "brittle", {})).status).to.equal(200);
    await using file = await open(codePath(council, digest), "r+");
    await file.write(Uint8Array.of(0xff), 0, 1, 20);
    const altered = await run(operator, "brittle", {});
    expect(problem(altered)).to.deep.equal([500, "MODULE_ALTERED"]);
  });

  const decisionOf = async (auditId: string): Promise<Seen> => {
    const { json } = await operator("GET", `/audit/${auditId}`);
    return { ...json.chain, auditId, ledgerPosition: json.chain.record.position };
  };
});
