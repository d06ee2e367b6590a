/**
 * A connection that verifies decisions, before a server that lies: everything it is answered passes through a proxy
 * that changes it. And evidence, verified with no server at all.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Metadata, Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  connect,
  DeniedError,
  keyV1,
  ProofError,
  readEvidence,
  RecordProof,
  SigilError,
  trustV1,
  verify,
  type CheckResponse,
  type SigilConnection,
} from "@sigil/client";
import { fromHex, toHex } from "../../src/core/bytes.ts";
import { recordOldAllow } from "../faulty/world.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

type Lie = (answer: CheckResponse) => CheckResponse | Promise<CheckResponse>;

/** What changes answers on their way; identity when it is honest. */
type Liar = AsyncDisposable & {
  readonly target: string;
  lie: Lie;
  keys: (page: keyV1.ListKeyRecordsResponse) => keyV1.ListKeyRecordsResponse;
};

type Unary = (
  call: { request: never; metadata: Metadata },
  answer: (error: unknown, reply?: unknown) => void,
) => void;

const only = (service: ServiceDefinition, handlers: Readonly<Record<string, unknown>>) => {
  const none: Unary = (_call, answer) => answer({ code: 12, details: "not in this test" });
  return Object.fromEntries(Object.keys(service).map((name) => [name, handlers[name] ?? none])) as never;
};

const startLiar = async ({ stubs }: SigilConnection): Promise<Liar> => {
  const server = new Server();
  const forward = (stub: object, name: string, change: (reply: never) => unknown): Unary => {
    const method = Reflect.get(stub, name) as (...given: readonly unknown[]) => void;
    const replyTo = (request: never, own: Metadata): Promise<never> =>
      new Promise((resolve, reject) => {
        method.call(stub, request, own, (error: Error | null, reply: never) =>
          error === null ? resolve(reply) : reject(error),
        );
      });
    return ({ request, metadata }, answer) => {
      const own = new Metadata();
      own.set("authorization", String(metadata.get("authorization")[0]));
      const changed = async (): Promise<unknown> => change(await replyTo(request, own));
      changed().then((reply) => answer(null, reply), answer);
    };
  };
  const liar: { lie: Lie; keys: Liar["keys"] } = { lie: (answer) => answer, keys: (page) => page };
  const lieIn = async (outcome: trustV1.BatchCheckResult["outcome"]): Promise<void> => {
    if (outcome?.$case === "decision") outcome.value = await liar.lie(outcome.value);
  };
  const handlers = {
    check: forward(stubs.trust, "check", (reply) => liar.lie(reply)),
    batchCheck: forward(stubs.trust, "batchCheck", async (reply: trustV1.BatchCheckResponse) => {
      for (const { outcome } of reply.results) await lieIn(outcome);
      return reply;
    }),
    streamChecks: (
      call: import("@grpc/grpc-js").ServerDuplexStream<
        trustV1.StreamChecksRequest,
        trustV1.StreamChecksResponse
      >,
    ) => {
      const own = new Metadata();
      own.set("authorization", String(call.metadata.get("authorization")[0]));
      const behind = stubs.trust.streamChecks(own);
      call.on("data", (request: trustV1.StreamChecksRequest) => behind.write(request));
      call.on("end", () => behind.end());
      let sent = Promise.resolve();
      behind.on("data", (reply: trustV1.StreamChecksResponse) => {
        sent = Promise.all([sent, lieIn(reply.outcome)]).then(() => void call.write(reply));
      });
      behind.on("end", () => void sent.then(() => call.end()));
      behind.on("error", () => call.end());
    },
  };
  server.addService(trustV1.TrustServiceService, only(trustV1.TrustServiceService, handlers));
  const listKeyRecords = forward(stubs.keys, "listKeyRecords", (page: keyV1.ListKeyRecordsResponse) =>
    liar.keys(page),
  );
  server.addService(keyV1.KeyServiceService, only(keyV1.KeyServiceService, { listKeyRecords }));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const dispose = async (): Promise<void> => server.forceShutdown();
  return Object.assign(liar, { target: `127.0.0.1:${port}`, [Symbol.asyncDispose]: dispose });
};

const question = { action: "write", target: "user/notes" };
const input = Buffer.from("an input");

const genesisOf = async ({ directory }: Deployment): Promise<string> =>
  (JSON.parse(await readFile(join(directory, "deployment.json"), "utf8")) as { readonly genesis: string })
    .genesis;

/** The reason why each way to ask gave no allow. */
const refusalsOf = async (sigil: SigilConnection, asked: object = question): Promise<readonly string[]> => {
  const checked = { ...question, ...asked };
  const reasons: string[] = [];
  const caught = (thrown: unknown): void => {
    if (!(thrown instanceof SigilError)) throw thrown;
    reasons.push(thrown.reason);
  };
  const item = (outcome: trustV1.BatchCheckResult["outcome"]): void => {
    if (outcome?.$case === "error") caught(SigilError.fromStatus(outcome.value));
    else reasons.push(outcome?.value.allowed === true ? "ALLOWED" : (outcome?.value.reason ?? ""));
  };
  await sigil.require(checked).then(
    () => reasons.push("ALLOWED"),
    (error: unknown) => {
      expect(error).to.be.instanceOf(DeniedError);
      caught(error);
    },
  );
  await sigil
    .check(checked)
    .then(({ allowed, reason }) => reasons.push(allowed ? "ALLOWED" : reason), caught);
  await sigil.trust
    .check(checked)
    .then(({ allowed, reason }) => reasons.push(allowed ? "ALLOWED" : reason), caught);
  for (const { outcome } of (await sigil.trust.batchCheck({ checks: [checked] })).results) item(outcome);
  for await (const { outcome } of sigil.trust.streamChecks([{ correlationId: "1", check: checked }]))
    item(outcome);
  return reasons;
};

const ways = 5;
const every = (reason: string): readonly string[] => Array.from({ length: ways }, () => reason);

describe("a connection that verifies decisions", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let other: Deployment;
  let genesis: string;
  let hourOld: CheckResponse;
  before(async () => {
    [deployment, other] = [await makeDeployment(), await makeDeployment()];
    hourOld = await recordOldAllow(deployment);
    served = await deployment.serve();
    genesis = await genesisOf(deployment);
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
    await other[Symbol.asyncDispose]();
  });

  const lying = async (
    work: (liar: Liar, open: (trusted?: string | Uint8Array) => SigilConnection) => Promise<void>,
  ) => {
    await using liar = await startLiar(served.as("guest"));
    const opened: SigilConnection[] = [];
    const open = (trusted: string | Uint8Array = genesis): SigilConnection => {
      const signer = deployment.signer("operator");
      const verifyDecisions = { genesis: trusted };
      const sigil = connect({ target: liar.target, tls: "insecure", retry: "none", signer, verifyDecisions });
      opened.push(sigil);
      return sigil;
    };
    try {
      await work(liar, open);
    } finally {
      for (const each of opened) each.close();
    }
  };

  it("allows what is proved, by every way to ask, with an input and by a hash as bytes", async () => {
    await lying(async (_liar, open) => {
      expect(await refusalsOf(open())).to.deep.equal(every("ALLOWED"));
      expect(await refusalsOf(open(fromHex(genesis)), { input })).to.deep.equal(every("ALLOWED"));
      expect(await refusalsOf(open(), { action: "no-such-action" })).to.deep.equal(every("UNKNOWN_ACTION"));
      const sigil = open();
      const checks = Array.from({ length: 40 }, (_, at) => ({ ...question, target: `user/notes/${at}` }));
      const { results } = await sigil.trust.batchCheck({ checks });
      expect(results.every(({ outcome }) => outcome?.$case === "decision" && outcome.value.allowed)).to.equal(
        true,
      );
      const many = await Promise.all(checks.map((check) => sigil.require(check)));
      expect(new Set(many.map(({ auditId }) => auditId)).size).to.equal(checks.length);
    });
  });

  it("keeps up with a rotation of keys", async () => {
    await lying(async (_liar, open) => {
      const sigil = open();
      await sigil.require(question);
      await served.as("root").keys.rotateKey({ role: keyV1.KeyRole.KEY_ROLE_RECORD });
      await sigil.require(question);
      await served.as("root").keys.rotateKey({ role: keyV1.KeyRole.KEY_ROLE_CHECKPOINT });
      expect(await refusalsOf(sigil)).to.deep.equal(every("ALLOWED"));
    });
  });

  const flip = (bytes: Uint8Array, at: number): Uint8Array =>
    bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  const inProof =
    (change: (proof: NonNullable<CheckResponse["proof"]>) => object): Lie =>
    (answer) => {
      const { proof } = answer;
      return proof === undefined ? answer : { ...answer, proof: { ...proof, ...change(proof) } };
    };
  const broken: readonly (readonly [string, Lie, object?])[] = [
    ["no proof", (answer) => ({ ...answer, proof: undefined })],
    [
      "a record whose signature is broken",
      inProof(({ envelope }) => ({ envelope: flip(envelope, envelope.length - 1) })),
    ],
    ["a record that is cut", inProof(({ envelope }) => ({ envelope: envelope.subarray(0, -1) }))],
    ["no record", inProof(() => ({ envelope: new Uint8Array(0) }))],
    ["another position", (answer) => ({ ...answer, ledgerPosition: answer.ledgerPosition + 1n })],
    ["another audit id", (answer) => ({ ...answer, auditId: "0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11" })],
    ["another subject than the record's", (answer) => ({ ...answer, subject: "mentor" })],
    ["another number", (answer) => ({ ...answer, callerSeq: answer.callerSeq + 1n })],
    ["another reason", (answer) => ({ ...answer, reason: "OTHER" })],
    [
      "an input that it does not disclose",
      (answer) => ({ ...answer, disclosures: new Uint8Array(0) }),
      { input },
    ],
    [
      "disclosures that are none",
      (answer) => ({ ...answer, disclosures: flip(answer.disclosures, 5) }),
      { input },
    ],
  ];
  for (const [what, lie, asked] of broken) {
    it(`allows nothing by ${what}`, async () => {
      await lying(async (liar, open) => {
        const sigil = open();
        await sigil.require({ ...question, ...asked });
        liar.lie = lie;
        expect(await refusalsOf(sigil, asked)).to.deep.equal(every("DECISION_NOT_PROVED"));
      });
    });
  }

  it("allows nothing by a deny that was made an allow, with the proof of the deny", async () => {
    await lying(async (liar, open) => {
      liar.lie = (answer) => ({
        ...answer,
        verdict: 1,
        allowed: true,
        reason: "SCORE_AT_OR_ABOVE_THRESHOLD",
        score: undefined,
        z: undefined,
        contributions: [],
      });
      expect(await refusalsOf(open(), { action: "no-such-action" })).to.deep.equal(
        every("DECISION_NOT_PROVED"),
      );
    });
  });

  it("allows nothing by an allow of the same question from before, though it is proved", async () => {
    await lying(async (liar, open) => {
      let old: CheckResponse | undefined;
      liar.lie = (answer) => (old ??= answer);
      const sigil = open();
      await sigil.require(question);
      // The newest tree that was verified has the old record in it.
      expect(new Set(await refusalsOf(sigil))).to.deep.equal(new Set(["DECISION_NOT_PROVED"]));
    });
  });

  it("allows nothing by an hour-old allow of the same question that is the first answer of all", async () => {
    await lying(async (liar, open) => {
      liar.lie = () => hourOld;
      const sigil = open();
      const error = await sigil.require(question).catch((thrown: unknown) => thrown);
      expect(String(error)).to.match(
        /its record is 36\d\d s older than the question: a stored answer, or clocks/,
      );
      // No answer was proved, so that each of these is a first one too.
      expect(await refusalsOf(sigil)).to.deep.equal(every("DECISION_NOT_PROVED"));
      // What the caller repeats by its own key has the first record, however old.
      await sigil.require({ ...question, idempotencyKey: "chosen by the caller" });
    });
  });

  it("allows one of two questions under way by one record", async () => {
    await lying(async (liar, open) => {
      const answers: CheckResponse[] = [];
      let release = (): void => {};
      const both = new Promise<void>((resolve) => (release = resolve));
      liar.lie = async (answer) => {
        answers.push(answer);
        if (answers.length === 2) release();
        await both;
        return answers[0] ?? answer;
      };
      const sigil = open();
      const outcomes = await Promise.allSettled([sigil.require(question), sigil.require(question)]);
      expect(outcomes.map(({ status }) => status).sort()).to.deep.equal(["fulfilled", "rejected"]);
    });
  });

  it("allows nothing by the allow of another target, action or input, though it is proved", async () => {
    await lying(async (liar, open) => {
      const caller = served.as("operator");
      const ask = { proof: RecordProof.RECORD_PROOF_INCLUSION, disclose: true };
      for (const instead of [{ target: "user/other" }, { action: "read" }, { input: Buffer.from("other") }]) {
        liar.lie = async () => {
          const answer = await caller.trust.check({ ...question, input, ...instead, ...ask });
          return { ...answer, inputDigest: new Uint8Array(0) };
        };
        expect(await refusalsOf(open(), { input })).to.deep.equal(every("DECISION_NOT_PROVED"));
      }
    });
  });

  it("allows nothing by the ledger of another genesis, nor by keys that lead nowhere", async () => {
    await lying(async (liar, open) => {
      const refused = async (sigil: SigilConnection): Promise<void> => {
        const error = await sigil.require(question).catch((thrown: unknown) => thrown);
        expect(error).to.be.instanceOf(DeniedError).and.include({ reason: "DECISION_NOT_PROVED" });
      };
      await refused(open(await genesisOf(other)));
      liar.keys = (page) => ({
        ...page,
        records: page.records.map((record) => ({ ...record, envelope: flip(record.envelope, 200) })),
      });
      await refused(open());
      liar.keys = (page) => ({ ...page, records: [] });
      await refused(open());
      // The keys are asked for again by the next question.
      liar.keys = (page) => page;
      await open().require(question);
    });
  });

  it("is not opened by what is no hash", () => {
    for (const wrong of ["", genesis.slice(1), `${genesis}0`, "z".repeat(64), new Uint8Array(31)])
      expect(() =>
        connect({ target: "localhost:1", tls: "insecure", verifyDecisions: { genesis: wrong } }),
      ).to.throw(TypeError, "genesis must be");
  });

  it("verifies a file, and a record, with no server", async () => {
    const operator = served.as("operator");
    const { auditId, response } = await operator.check({
      ...question,
      proof: RecordProof.RECORD_PROOF_INCLUSION,
    });
    const file = await readEvidence(served.as("observer"), { auditId });
    const verified = await verify(file, { genesis });
    expect(verified.record.body.id).to.equal(auditId);
    expect(verified.steps.every(({ outcome }) => outcome !== "failed")).to.equal(true);
    const { records: keys } = await served.as("guest").keys.listKeyRecords({});
    const { envelope, checkpoint, inclusionProof } = response.proof ?? expect.fail("no proof");
    const record = { position: response.ledgerPosition, envelope, checkpoint, inclusionProof, keys };
    expect((await verify(record, { genesis })).id).to.equal(auditId);

    const refused = async (work: Promise<unknown>, rule: string | RegExp): Promise<void> => {
      const error = await work.catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(ProofError);
      expect((error as ProofError).message).to.match(new RegExp(rule));
    };
    await refused(verify(file, { genesis: await genesisOf(other) }), "^genesis: ");
    await refused(verify(flip(file, file.length - 20), { genesis }), ": ");
    await refused(verify(file.subarray(1), { genesis }), "^file: ");
    await refused(verify({ ...record, position: record.position + 1n }, { genesis }), "");
    await refused(verify(record, { genesis: await genesisOf(other) }), "");
    for (const trust of [{}, { policy: undefined as never }])
      expect(await verify(file, trust).catch((thrown: unknown) => thrown)).to.be.instanceOf(TypeError);
    expect(toHex(verified.genesis)).to.equal(genesis);
  });
});
