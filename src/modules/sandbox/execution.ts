/**
 * One run in progress in a sandbox process, seen from the server: enforces output limits independently of the process,
 * runs the wall clock, and authorizes host calls.
 */
import { SigilFault, type SigilError } from "../../errors.ts";
import { hostAnswerBytesMax, runLogTailBytesMax } from "../../limits.ts";
import { concatBytes, toHex } from "@sigil/core/bytes";
import { randomBytes } from "../../crypto/random.ts";
import { fromProcess, messageParts, readMessage, toProcess, type Frame } from "./protocol.ts";
import { isGranted } from "./grants.ts";
import type { SandboxProcess } from "./process.ts";
import { readCall, readEnded } from "./reports.ts";
import type { HostRequest, KillingLimit, RunExit, RunOutcome, RunRequest } from "./run.ts";
import type { AnswerTask, EndedReport, RunTask } from "./tasks.ts";
import { hostErrorCodes } from "../wasm/host-functions.ts";

/** Error codes of refused host calls; any other error is "unavailable". */
const CODES: Partial<Record<SigilError["kind"], number>> = {
  notFound: hostErrorCodes.notFound,
  denied: hostErrorCodes.denied,
  levelTooLow: hostErrorCodes.denied,
  tenantForbidden: hostErrorCodes.denied,
  unauthenticated: hostErrorCodes.denied,
  invalidField: hostErrorCodes.invalid,
  tooLarge: hostErrorCodes.tooLarge,
};

const codeOf = (cause: unknown): number =>
  (cause instanceof SigilFault ? CODES[cause.error.kind] : undefined) ?? hostErrorCodes.unavailable;

const tokenBytes = 16;

type Measured = { readonly cpuMs: number; readonly memoryBytes: number };

export class RunUnderWay {
  readonly #process: SandboxProcess;
  readonly #request: RunRequest;
  readonly #onFault: (cause: unknown) => void;
  readonly #token = toHex(randomBytes(tokenBytes));
  readonly #startedMs = performance.now();
  readonly #processCpuMsBefore: number;
  readonly #done = Promise.withResolvers<RunOutcome>();
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort = (): void => this.cancel();
  readonly #output: Uint8Array[] = [];
  #tail = new Uint8Array();
  #outputBytes = 0;
  #logBytes = 0;
  #hostCalls = 0;
  #isAsking = false;
  #isOver = false;
  /** Set when it is killed: the reason, and the resources used by then. */
  #killed: { readonly exit: RunExit; readonly measured: Measured } | null = null;
  #processCpuUs = 0;

  /** @param processCpuMs CPU time of the process so far. */
  constructor(
    process: SandboxProcess,
    request: RunRequest,
    processCpuMs: number,
    onFault: (cause: unknown) => void,
  ) {
    this.#process = process;
    this.#request = request;
    this.#onFault = onFault;
    this.#processCpuMsBefore = processCpuMs;
    this.#timer = setTimeout(() => this.#kill("wall_time"), request.limits.wallMs);
    request.signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** @param slot of the module in the process. Never rejects. */
  start(slot: number): Promise<RunOutcome> {
    const { name, capabilities, limits, input, onOutput, onLog } = this.#request;
    const isStreamed = onOutput !== undefined || onLog !== undefined;
    const task: RunTask = { token: this.#token, slot, name, capabilities, limits, isStreamed };
    this.#process.converse({
      onFrame: (frame) => this.#hear(frame),
      onGone: () => this.#lose(),
    });
    this.#process.send(toProcess.run, ...messageParts(task, input));
    return this.#done.promise;
  }

  cancel(): void {
    this.#kill("cancelled");
  }

  /** CPU time of the process since its start, as reported at the end of this run. */
  get processCpuMs(): number {
    return this.#processCpuUs / 1000;
  }

  #hear({ kind, body }: Frame): void {
    if (this.#killed !== null) return;
    if (kind === fromProcess.output) this.#hearOutput(body);
    else if (kind === fromProcess.log) this.#hearLog(body);
    else if (kind === fromProcess.call) this.#hearCall(readCall(readMessage(body).header));
    else if (kind === fromProcess.ended) this.#hearEnd(readEnded(readMessage(body).header, this.#token));
    else throw new Error(`a frame of kind ${kind} in a run`);
  }

  #hearOutput(chunk: Uint8Array): void {
    const fitting = chunk.subarray(0, this.#request.limits.outputBytes - this.#outputBytes);
    this.#outputBytes += fitting.length;
    this.#output.push(fitting);
    this.#tell(this.#request.onOutput, fitting);
    if (fitting.length < chunk.length) this.#kill("output");
  }

  #hearLog(chunk: Uint8Array): void {
    const fitting = chunk.subarray(0, this.#request.limits.logBytes - this.#logBytes);
    this.#logBytes += fitting.length;
    this.#tail = new Uint8Array(concatBytes(this.#tail, fitting.slice(-runLogTailBytesMax))).slice(
      -runLogTailBytesMax,
    );
    this.#tell(this.#request.onLog, fitting);
    if (fitting.length < chunk.length) this.#kill("log");
  }

  /** A failing listener ends the run; it is not the module's fault. */
  #tell(listener: ((chunk: Uint8Array) => void) | undefined, chunk: Uint8Array): void {
    try {
      listener?.(chunk);
    } catch (cause) {
      this.#onFault(cause);
      this.cancel();
    }
  }

  #hearCall(request: HostRequest): void {
    if (this.#isAsking) throw new Error("a second host call before the first was answered");
    this.#isAsking = true;
    this.#hostCalls += 1;
    if (this.#hostCalls > this.#request.limits.hostCalls) this.#kill("host_calls");
    else void this.#answer(request);
  }

  /** Never rejects: errors become codes for the module. */
  async #answer(request: HostRequest): Promise<void> {
    const { header, bytes } = await this.#decide(request);
    if (this.#isOver) return;
    this.#isAsking = false;
    this.#process.send(toProcess.answer, ...messageParts(header, bytes));
  }

  async #decide(request: HostRequest): Promise<{ readonly header: AnswerTask; readonly bytes: Uint8Array }> {
    const refused = (code: number) => ({ header: { code }, bytes: new Uint8Array() });
    if (!isGranted(request, this.#request.capabilities)) return refused(hostErrorCodes.denied);
    try {
      const bytes = await this.#request.host(request);
      return bytes.length > hostAnswerBytesMax
        ? refused(hostErrorCodes.tooLarge)
        : { header: { code: 0 }, bytes };
    } catch (cause) {
      if (!(cause instanceof SigilFault)) this.#onFault(cause);
      return refused(codeOf(cause));
    }
  }

  #hearEnd({ exit, cpuUs, processCpuUs, memoryBytes }: EndedReport): void {
    if (this.#isAsking) throw new Error("an end in the middle of a host call");
    this.#processCpuUs = processCpuUs;
    this.#process.settle();
    this.#finish(exit, { cpuMs: cpuUs / 1000, memoryBytes });
  }

  #kill(limit: KillingLimit): void {
    if (this.#isOver || this.#killed !== null) return;
    this.#killed = { exit: { kind: "killed", limit }, measured: this.#measure() };
    this.#process.kill();
  }

  /** As measured by the kernel: CPU time since the previous run, and memory growth since the process was warm. */
  #measure(): Measured {
    const { cpuMs, residentBytes } = this.#process.measure();
    return {
      cpuMs: Math.max(0, cpuMs - this.#processCpuMsBefore),
      memoryBytes: Math.max(0, residentBytes - this.#process.residentBytesWarm),
    };
  }

  /** Called when the process is gone, killed or by itself. */
  #lose(): void {
    const { exit, measured } = this.#killed ?? {
      exit: { kind: "crashed" } as const,
      measured: { cpuMs: 0, memoryBytes: 0 },
    };
    this.#finish(exit, measured);
  }

  #finish(exit: RunExit, { cpuMs, memoryBytes }: Measured): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#request.signal.removeEventListener("abort", this.#onAbort);
    this.#done.resolve({
      exit,
      output: concatBytes(...this.#output),
      logTail: this.#tail,
      usage: {
        wallMs: performance.now() - this.#startedMs,
        cpuMs,
        memoryBytesPeak: memoryBytes,
        outputBytes: this.#outputBytes,
        logBytes: this.#logBytes,
        hostCalls: Math.min(this.#hostCalls, this.#request.limits.hostCalls),
        inputBytes: this.#request.input.length,
      },
    });
  }
}
