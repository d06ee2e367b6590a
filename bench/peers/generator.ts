/**
 * The generator of load (loadgen/, Go) as functions: a plan goes to its standard input, a process a load, and what it
 * measured comes back. Source of the fields: loadgen/plan.go and drive.go.
 */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";

/** What is asked, and what each decision of every answer says. */
export type Question = {
  readonly kind: "grpc" | "http";
  /** host:port for gRPC, a URL for HTTP. */
  readonly address: string;
  /** package.Service/Method, for gRPC. */
  readonly method?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** A file of descriptors; without it the server is asked by gRPC reflection. */
  readonly descriptors?: string;
  readonly request: unknown;
  readonly expect?: readonly { readonly path: string; readonly value: string }[];
  /** In an answer. */
  readonly decisions?: number;
};

export type Load = {
  readonly connections: number;
  /** Calls at a time of a closed loop. */
  readonly inFlight: number;
  /** Calls a second, an open loop. */
  readonly perSecond?: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** The server's process. */
  readonly pid: number;
};

/** Totals of the measured time; `allCalls` has the first call and the warm-up as well. */
export type Driven = {
  readonly calls: number;
  readonly elapsedSeconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly serverCpuUs: number;
  readonly generatorCpuUs: number;
  /** Of every other process of the machine. */
  readonly othersCpuUs: number;
  readonly writtenBytes: number;
  readonly rssPeakBytes: number;
  readonly allCalls: number;
};

export type Generator = {
  /** One call. @returns its answer as proto3 JSON. @throws Error unless it is answered as expected. */
  readonly call: <Answer>(question: Question) => Promise<Answer>;
  /** @throws Error if a single call fails or is answered otherwise than expected. */
  readonly drive: (question: Question, load: Load) => Promise<Driven>;
};

export const openGenerator = (program: string, signal: AbortSignal): Generator => {
  const ask = async <Answer>(word: "call" | "drive", plan: object): Promise<Answer> => {
    const child = spawn(program, [word], { signal, stdio: ["pipe", "pipe", "pipe"] });
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("close", resolve);
    });
    // It may end before it has read everything; its exit code tells.
    child.stdin.on("error", () => {}).end(JSON.stringify(plan));
    const [code, printed, problem] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
    if (code !== 0) throw new Error(problem.trim() || `loadgen ended with ${String(code)}`);
    return JSON.parse(printed) as Answer;
  };
  return {
    call: (question) => ask("call", question),
    drive: (question, load) => ask("drive", { ...question, ...load }),
  };
};
