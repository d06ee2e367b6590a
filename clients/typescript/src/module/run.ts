/**
 * Runs a module: the trust model is asked first, and the run is recorded before its output is answered. It is never
 * repeated by itself, since nobody could tell whether the first one took place.
 */
import { RunResponse, type RunRequest } from "@sigil/proto/sigil/module/v1/module";
import type { CallOptions } from "../call.ts";
import type { ModuleClient } from "../services/operation.ts";

/** What to run, on what. */
export type RunQuestion = {
  readonly name: string;
  /** A value for a module that reads JSON, or its bytes; none is empty. */
  readonly input?: unknown;
  /** Run only this version. */
  readonly version?: bigint;
  /** Run only this code: SHA-256, 32 bytes. */
  readonly digest?: Uint8Array;
  /** Lowers the wall time of this run, in milliseconds. */
  readonly wallMs?: number;
};

/** What came of a run. The module may have failed: `exitCode` says so. */
export class ModuleRun {
  /** What it gave to proc_exit; 0 when it came to its end. */
  readonly exitCode: number;
  /** What it wrote to its standard output. */
  readonly output: Uint8Array;
  /** The end of what it wrote to its standard error. */
  readonly log: string;
  /** Names the decision that allowed it. */
  readonly auditId: string;
  /** Names its record. */
  readonly runId: string;
  /** The code that ran: its version, and SHA-256. */
  readonly version: bigint;
  readonly digest: Uint8Array;
  /** The answer as the server gave it. */
  readonly response: RunResponse;

  constructor(response: RunResponse) {
    const { exitCode, output, logTail, auditId, runId, version, digest } = response;
    this.exitCode = exitCode;
    this.output = output;
    this.log = logTail;
    this.auditId = auditId;
    this.runId = runId;
    this.version = version;
    this.digest = digest;
    this.response = response;
    Object.freeze(this);
  }

  /** The output as a value. @throws SyntaxError unless it is JSON. */
  value(): unknown {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(this.output)) as unknown;
  }

  /** In proto3 JSON. */
  toJSON(): unknown {
    return RunResponse.toJSON(this.response);
  }
}

export type Run = (question: RunQuestion, options?: CallOptions) => Promise<ModuleRun>;

const inputOf = ({ input }: RunQuestion): Pick<RunRequest, "input"> => {
  if (input === undefined) return { input: undefined };
  if (input instanceof Uint8Array) return { input: { $case: "inputBytes", value: input } };
  const value: string | undefined = JSON.stringify(input);
  if (value === undefined) throw new TypeError("input must be bytes, or a value that JSON has");
  return { input: { $case: "inputJson", value } };
};

/** @throws SigilError: PERMISSION_DENIED, with the reason, where the run is not allowed; TypeError for no input. */
export const runBy =
  ({ run }: Pick<ModuleClient, "run">): Run =>
  async (question, options) => {
    const { name, version = 0n, digest = new Uint8Array(0), wallMs = 0 } = question;
    return new ModuleRun(await run({ name, version, digest, wallMs, ...inputOf(question) }, options));
  };
