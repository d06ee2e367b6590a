/** Answers that carry their own proof: what is proved, by which checkpoint, and what is refused of a liar. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  CheckResponse,
  ProofError,
  RecordProof,
  Verdict,
  verifyDecision,
  walkKeys,
  type BatchCheckResponse,
  type DecisionToVerify,
  type KeyWalk,
  type WatchResponse,
} from "@sigil/client";
import { fromHex, parseHash, toHex, type Hash } from "../../src/core/bytes.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { parseCheckpoint } from "../../src/core/merkle/checkpoint.ts";
import { parseNote } from "../../src/core/merkle/note.ts";
import { readEvidenceFile } from "./read-evidence-file.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { httpAs, httpConfig } from "./http-caller.ts";
import { refusalOf } from "./refusal.ts";
import { writeOf } from "./canon-writes.ts";

const { RECORD_PROOF_INCLUSION: inclusion, RECORD_PROOF_EVIDENCE: evidence } = RecordProof;

const sizeOf = (checkpoint: string | undefined): bigint =>
  parseCheckpoint(parseNote(checkpoint ?? "").text).size;

describe("an answer that carries its own proof", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let genesis: Hash;
  const ask = { action: "write", target: "user/notes" };
  const operator = () => served.as("operator");
  const walk = (): Promise<KeyWalk> => walkKeys(served.as("guest"), genesis);

  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve({ config: httpConfig });
    const text = await readFile(join(deployment.directory, "deployment.json"), "utf8");
    genesis = parseHash(fromHex((JSON.parse(text) as { readonly genesis: string }).genesis));
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("is proved by the checkpoint of its own commit, whatever the verdict", async () => {
    for (const request of [ask, { action: "payment.refund", target: "payment/7" }]) {
      const decision = await operator().trust.check({ ...request, proof: inclusion });
      const record = await verifyDecision(await walk(), { request, decision });
      expect(record.id).to.equal(decision.auditId);
      expect(sizeOf(decision.proof?.checkpoint)).to.equal(decision.ledgerPosition + 1n);
      expect(decision.proof?.evidence).to.have.length(0);
    }
    const plain = await operator().trust.check(ask);
    expect(plain.proof).to.equal(undefined);
  });

  it("is proved for each of many callers whose decisions share a commit", async () => {
    const asked = Array.from({ length: 64 }, (_, index) => ({ ...ask, target: `user/notes/${index}` }));
    const caller = operator();
    const answers = await Promise.all(
      asked.map(async (request) => ({
        request,
        decision: await caller.trust.check({ ...request, proof: inclusion }),
      })),
    );
    const walked = await walk();
    for (const answer of answers) await verifyDecision(walked, answer);
    const sizes = new Set(answers.map(({ decision }) => sizeOf(decision.proof?.checkpoint)));
    expect(sizes.size).to.be.below(asked.length);
  });

  it("is the evidence file itself, with what the answer discloses and no more", async () => {
    const input = Buffer.from("some text");
    for (const disclose of [false, true]) {
      const request = { ...ask, input, keepInput: true, disclose, proof: evidence };
      const decision = await operator().trust.check(request);
      await verifyDecision(await walk(), { request, decision });
      const file = decision.proof?.evidence ?? new Uint8Array(0);
      const { verdict, disclosures } = await readEvidenceFile(file, genesis, verifyForeign);
      expect(verdict.holds, JSON.stringify(verdict.steps)).to.equal(true);
      expect(verdict.findings.record?.body.id).to.equal(decision.auditId);
      expect(disclosures).to.equal(disclose);
      expect(Buffer.from(file).includes(input)).to.equal(false);
    }
  });

  it("is given again with a stored answer, after a restart too", async () => {
    const request = { ...ask, idempotencyKey: "proved" };
    const first = await operator().trust.check(request);
    const again = await operator().trust.check({ ...request, proof: evidence });
    expect(again.replayed).to.equal(true);
    await operator().trust.check(ask);
    await served[Symbol.asyncDispose]();
    served = await deployment.serve({ config: httpConfig });
    const later = await operator().trust.check({ ...request, proof: inclusion });
    for (const decision of [again, later]) {
      expect(decision.auditId).to.equal(first.auditId);
      expect(sizeOf(decision.proof?.checkpoint)).to.equal(first.ledgerPosition + 1n);
      await verifyDecision(await walk(), { request, decision });
    }
  });

  const verifyBatch = async (
    checks: readonly DecisionToVerify["request"][],
    { results, sharedProof }: BatchCheckResponse,
  ): Promise<number> => {
    const walked = await walk();
    let proved = 0;
    for (const [index, { outcome }] of results.entries()) {
      if (outcome?.$case !== "decision" || outcome.value.proof === undefined) continue;
      const request = checks[index] ?? ask;
      await verifyDecision(walked, { request, decision: outcome.value, shared: sharedProof });
      proved += 1;
    }
    return proved;
  };

  it("is proved for each item of a batch that asks, with every hash sent once", async () => {
    const checks = Array.from({ length: 100 }, (_, index) => ({
      action: index === 7 ? "" : "write",
      target: `user/notes/${index}`,
      proof: index % 10 === 0 ? RecordProof.RECORD_PROOF_NONE : inclusion,
    }));
    const request = { checks, idempotencyKey: "batch" };
    const answer = await operator().trust.batchCheck(request);
    expect(await verifyBatch(checks, answer)).to.equal(89);
    const again = await operator().trust.batchCheck(request);
    expect(await verifyBatch(checks, again)).to.equal(89);
    expect(again.sharedProof).to.deep.equal(answer.sharedProof);
    const { hashes } = answer.sharedProof ?? { hashes: [] };
    expect(new Set(hashes.map((hash) => toHex(hash))).size).to.equal(hashes.length);
    const paths = answer.results.flatMap(({ outcome }) =>
      outcome?.$case === "decision" ? (outcome.value.proof?.sharedPath ?? []) : [],
    );
    expect(hashes.length).to.be.below(paths.length / 2);
  });

  it("leaves out of a batch what the caller's reply has no room for, and never a decision", async () => {
    const checks = Array.from({ length: 6 }, (_, index) => ({
      ...ask,
      target: `user/notes/${index}`,
      proof: evidence,
    }));
    const answer = await served
      .as("operator", { channelOptions: { "grpc.max_receive_message_length": 28 << 10 } })
      .trust.batchCheck({ checks });
    const lengths = answer.results.map(({ outcome }) =>
      outcome?.$case === "decision" ? (outcome.value.proof?.evidence.length ?? -1) : -2,
    );
    expect(lengths[0], lengths.join()).to.be.above(0);
    expect(lengths.at(-1), lengths.join()).to.be.oneOf([0, -1]);
    expect(lengths).to.not.include(-2);
    expect(await verifyBatch(checks, answer)).to.be.above(0);
  });

  it("is proved in a stream and over HTTP", async () => {
    const request = { ...ask, target: "user/streamed" };
    for await (const { outcome } of operator().trust.streamChecks([
      { correlationId: "a", check: { ...request, proof: inclusion } },
    ])) {
      if (outcome?.$case !== "decision") throw new Error("no decision");
      await verifyDecision(await walk(), { request, decision: outcome.value });
    }
    const body = { ...request, proof: "RECORD_PROOF_EVIDENCE" };
    const { status, json } = await httpAs(deployment, served)("operator")("POST", "/trust/check", body);
    expect(status).to.equal(200);
    const decision = CheckResponse.fromJSON(json);
    await verifyDecision(await walk(), { request, decision });
    expect(decision.proof?.evidence.length).to.be.above(1000);
  });

  it("proves a written record, and each record of a watch, by its own commit", async () => {
    const watched: WatchResponse[] = [];
    const signal = new AbortController();
    const watching = (async () => {
      const from = { fromPosition: served.server.ledger.reader.size, proof: evidence, allKinds: true };
      for await (const each of served.as("observer").canon.watch(from, { signal: signal.signal })) {
        if (each.event?.$case === "record") watched.push(each);
        if (watched.length === 2) return;
      }
    })();
    const write = writeOf("proved/1", { a: 1 });
    const written = await operator().canon.writeRecord({ ...write, idempotencyKey: "w", proof: evidence });
    const again = await operator().canon.writeRecord({ ...write, idempotencyKey: "w", proof: inclusion });
    for (const { record, proof, ledgerPosition: position } of [written, again]) {
      const { checkpoint = "", inclusionProof = [] } = proof ?? {};
      const { envelope = new Uint8Array(0) } = record ?? {};
      const verified = await (await walk()).verifyRecord({ position, envelope, checkpoint, inclusionProof });
      expect(verified.id).to.equal("proved/1");
      expect(sizeOf(checkpoint)).to.equal(position + 1n);
    }
    const files = [written.proof?.evidence];
    await watching;
    signal.abort();
    files.push(...watched.map(({ proof }) => proof?.evidence));
    expect(files).to.have.length(3);
    for (const file of files) {
      const { verdict, disclosures } = await readEvidenceFile(
        file ?? new Uint8Array(0),
        genesis,
        verifyForeign,
      );
      expect(verdict.holds, JSON.stringify(verdict.steps)).to.equal(true);
      expect(disclosures).to.equal(false);
    }
  });

  it("leaves the evidence out of a write's answer that has no room for it, and the answer arrives", async () => {
    const limit = 16 << 10;
    const small = served.as("operator", { channelOptions: { "grpc.max_receive_message_length": limit } });
    const write = writeOf("proved/3", "x".repeat(4500));
    const written = await small.canon.writeRecord({ ...write, proof: evidence });
    const { proof, record, ledgerPosition: position } = written;
    expect([proof?.evidence.length, record?.id]).to.deep.equal([0, "proved/3"]);
    const { checkpoint = "", inclusionProof = [] } = proof ?? {};
    const { envelope = new Uint8Array(0) } = record ?? {};
    const walked = await walk();
    expect((await walked.verifyRecord({ position, envelope, checkpoint, inclusionProof })).id).to.equal(
      "proved/3",
    );
    const { size } = served.server.ledger.reader;
    const tooLong = await refusalOf(
      small.canon.writeRecord({ ...writeOf("proved/4", "x".repeat(5500)), proof: inclusion }),
    );
    expect([tooLong.codeName, tooLong.fieldViolations[0]?.field]).to.deep.equal([
      "INVALID_ARGUMENT",
      "content",
    ]);
    expect(served.server.ledger.reader.size).to.equal(size);
  });

  it("is no evidence in a stream, whose answers may not be read", async () => {
    const { size } = served.server.ledger.reader;
    const check = { ...ask, proof: evidence };
    for await (const { outcome } of operator().trust.streamChecks([{ correlationId: "a", check }]))
      expect(outcome?.$case === "error" && outcome.value.code).to.equal(3);
    expect(served.server.ledger.reader.size).to.equal(size);
  });

  it("is refused before anything is recorded where the proof is none that the server knows", async () => {
    const { size } = served.server.ledger.reader;
    const unknown = 99 as RecordProof;
    const refusals = await Promise.all(
      [
        operator().trust.check({ ...ask, proof: unknown }),
        operator().trust.batchCheck({ checks: [ask, { ...ask, proof: unknown }] }),
        operator().canon.writeRecord({ ...writeOf("proved/2", 1), proof: unknown }),
        operator().canon.batchWriteRecords({ writes: [{ ...writeOf("proved/2", 1), proof: inclusion }] }),
      ].map((call) => refusalOf(call)),
    );
    expect(
      refusals.map(({ codeName, fieldViolations }) => [codeName, fieldViolations[0]?.field]),
    ).to.deep.equal([
      ["INVALID_ARGUMENT", "proof"],
      ["INVALID_ARGUMENT", "checks[1].proof"],
      ["INVALID_ARGUMENT", "proof"],
      ["INVALID_ARGUMENT", "writes[0].proof"],
    ]);
    expect(served.server.ledger.reader.size).to.equal(size);
  });

  it("is not taken from a server that proves something else", async () => {
    const denied = await served.as("guest").trust.check({ ...ask, proof: inclusion });
    expect(denied.allowed).to.equal(false);
    const decision = await operator().trust.check({ ...ask, proof: inclusion });
    const other = await operator().trust.check({ ...ask, target: "user/other", proof: inclusion });
    const walked = await walk();
    const lies: readonly (readonly [
      string,
      Partial<CheckResponse>,
      Partial<DecisionToVerify["request"]>,
      RegExp,
    ])[] = [
      ["without a proof", { proof: undefined }, {}, /no proof/],
      ["another verdict", { verdict: Verdict.VERDICT_DENY }, {}, /its verdict/],
      ["allowed beside a deny", { allowed: false }, {}, /its allowed/],
      ["another reason", { reason: "NONE" }, {}, /its reason/],
      ["another id", { auditId: other.auditId }, {}, /its audit id/],
      ["another number", { callerSeq: 1n }, {}, /its number/],
      ["another subject", { subject: "mentor" }, {}, /its subject/],
      ["another question's action", {}, { action: "read" }, /its action/],
      ["another question's target", {}, { target: "user/else" }, /its target/],
      ["another question's subject", {}, { subject: "mentor" }, /another subject/],
      ["another decision's proof", { proof: other.proof }, {}, /fails inclusion/],
      ["another position", { ledgerPosition: other.ledgerPosition }, {}, /./],
      [
        "another decision whole",
        { proof: other.proof, ledgerPosition: other.ledgerPosition, auditId: other.auditId },
        {},
        /its number|its target/,
      ],
    ];
    await verifyDecision(walked, { request: ask, decision });
    for (const [what, changed, asked, rule] of lies) {
      const told = await verifyDecision(walked, {
        request: { ...ask, ...asked },
        decision: { ...decision, ...changed },
      }).then(
        () => "taken",
        (error: unknown) => (error instanceof ProofError ? error.message : `thrown: ${String(error)}`),
      );
      expect(told, what)
        .to.match(rule)
        .and.not.match(/^(?:taken|thrown)/);
    }
    const asAllow = { ...denied, verdict: Verdict.VERDICT_ALLOW, allowed: true };
    const told = await verifyDecision(walked, { request: ask, decision: asAllow }).catch(String);
    expect(told).to.match(/its verdict/);
  });
});
