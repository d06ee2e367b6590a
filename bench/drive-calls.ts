/**
 * A load generator process: keeps a number of calls in flight and counts the answers. Uses the plain generated stub
 * with one token, so that the client's cost is small and the same for both servers.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Metadata, type ServiceError } from "@grpc/grpc-js";
import {
  BatchCheckRequest,
  CheckRequest,
  CheckResponse,
  connect,
  createTokenSigner,
  RecordProof,
  RunRequest,
  type RunResponse,
} from "@sigil/client";
import { actorInput, answerParent } from "./actor.ts";
import { batchItems, question, type Scratch } from "./scratch.ts";
import { quantileOf } from "./statistics.ts";

export type DriveInput = { readonly scratch: Scratch; readonly target: string };

export type Drive = {
  readonly rpc: "check" | "inclusion" | "evidence" | "batch" | "run";
  readonly inFlight: number;
  /** Stops after this time, or after this many decisions. */
  readonly runMs?: number;
  readonly decisions?: number;
  /** Calls a second at most; those that are late are made up for. */
  readonly perSecond?: number;
};

export type Driven = {
  readonly decisions: number;
  readonly elapsedMs: number;
  readonly medianMs: number;
  readonly p99Ms: number;
};

const deadlineMs = 30_000;

const { scratch, target } = actorInput<DriveInput>();
const signer = createTokenSigner(scratch);
const connection = connect({ target, tls: "insecure", signer });
const { trust: stub, modules } = connection.stubs;
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${signer.token()}`);

const checkRequest = CheckRequest.fromPartial(question);
const batchRequest = BatchCheckRequest.fromPartial({
  checks: Array.from({ length: batchItems }, () => question),
});

const runRequest = RunRequest.fromPartial({
  name: "hello",
  input: { $case: "inputJson", value: '{"name":"Ada"}' },
});

type Ended<Reply> = (error: ServiceError | null, reply: Reply) => void;

const promised = <Reply>(start: (ended: Ended<Reply>) => unknown): Promise<Reply> =>
  new Promise((resolve, reject) => {
    start((error, reply) => (error === null ? resolve(reply) : reject(error)));
  });

const options = () => ({ deadline: Date.now() + deadlineMs });

const check = (request = checkRequest): Promise<CheckResponse> =>
  promised((ended) => stub.check(request, metadata, options(), ended));

/** Checks whose answers carry a proof. */
const provenCheck = async (proof: RecordProof): Promise<number> => {
  const answer = await check({ ...checkRequest, proof });
  if (answer.proof === undefined) throw new Error("a check came without its proof");
  return 1;
};

const callOf = {
  check: async (): Promise<number> => {
    await check();
    return 1;
  },
  inclusion: () => provenCheck(RecordProof.RECORD_PROOF_INCLUSION),
  evidence: () => provenCheck(RecordProof.RECORD_PROOF_EVIDENCE),
  batch: async (): Promise<number> => {
    const { results } = await promised<{ results: { outcome?: { $case: string } | undefined }[] }>((ended) =>
      stub.batchCheck(batchRequest, metadata, options(), ended),
    );
    const failed = results.find(({ outcome }) => outcome?.$case !== "decision");
    if (failed !== undefined) throw new Error(`an item of a batch failed: ${JSON.stringify(failed)}`);
    return results.length;
  },
  run: async (): Promise<number> => {
    const { exitCode, outputJson } = await promised<RunResponse>((ended) =>
      modules.run(runRequest, metadata, options(), ended),
    );
    if (exitCode === 0 && outputJson === '{"greeting":"hello, Ada"}') return 1;
    throw new Error(`a run gave exit code ${exitCode} and ${outputJson}`);
  },
} as const;

const drive = async ({ rpc, inFlight, runMs, decisions, perSecond }: Drive): Promise<Driven> => {
  const latenciesMs: number[] = [];
  const startMs = performance.now();
  let done = 0;
  let asked = 0;
  let calls = 0;
  const paced = async (): Promise<void> => {
    if (perSecond === undefined) return;
    const dueMs = startMs + (calls * 1000) / perSecond;
    calls += 1;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await delay(waitMs);
  };
  const goesOn = (): boolean =>
    (runMs === undefined || performance.now() - startMs < runMs) &&
    (decisions === undefined || asked < decisions);
  const worker = async (): Promise<void> => {
    while (goesOn()) {
      asked += rpc === "batch" ? batchItems : 1;
      await paced();
      const callMs = performance.now();
      const answered = await callOf[rpc]();
      done += answered;
      latenciesMs.push(performance.now() - callMs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return {
    decisions: done,
    elapsedMs: performance.now() - startMs,
    medianMs: quantileOf(latenciesMs, 0.5),
    p99Ms: quantileOf(latenciesMs, 0.99),
  };
};

answerParent({ drive, sample: async () => CheckResponse.toJSON(await check()) }, async () =>
  connection.close(),
);
