/** A sandbox process with its compiled modules: runs one task at a time, and tells whether it can be reused. */
import { equalBytes, toHex } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import { moduleCompileCpuMsMax, moduleLoadMsMax, processCpuMsMax, runsPerProcessMax } from "../../limits.ts";
import { CompiledModules, compilationKey } from "./compiled.ts";
import { fromProcess, messageParts, readMessage, toProcess } from "./protocol.ts";
import type { LaunchOptions } from "./launch.ts";
import { SandboxProcess, Unanswered } from "./process.ts";
import { readLoaded } from "./reports.ts";
import type { RunExit, RunOutcome, RunRequest } from "./run.ts";
import type { LoadTask } from "./tasks.ts";
import { RunUnderWay } from "./execution.ts";

const nothingUsed = (request: RunRequest, exit: RunExit): RunOutcome => ({
  exit,
  output: new Uint8Array(),
  logTail: new Uint8Array(),
  usage: {
    wallMs: 0,
    cpuMs: 0,
    memoryBytesPeak: 0,
    outputBytes: 0,
    logBytes: 0,
    hostCalls: 0,
    inputBytes: request.input.length,
  },
});

export const cancelledBefore = (request: RunRequest): RunOutcome =>
  nothingUsed(request, { kind: "killed", limit: "cancelled" });

const digestOf = async (bytes: Uint8Array): Promise<Uint8Array> =>
  // In the thread pool: hashing a large module would block the event loop.
  new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(bytes)));

export type WorkerOptions = {
  readonly launch: LaunchOptions;
  /** CPU time limit of one compilation; default `moduleCompileCpuMsMax`. */
  readonly compileCpuMsMax?: number | undefined;
  readonly onFault: (cause: unknown) => void;
};

/** The rule for code that takes too long to compile. */
export const tooSlow = (cpuMsMax: number): string => `takes more than ${cpuMsMax} ms of CPU time to compile`;

export class SandboxWorker {
  readonly #process: SandboxProcess;
  readonly #compiled = new CompiledModules();
  readonly #onFault: (cause: unknown) => void;
  readonly #compileCpuMsMax: number;
  #underWay: RunUnderWay | null = null;
  #runs = 0;
  #cpuMs = 0;
  #isClean = true;
  #isCancelled = false;

  static async start(options: WorkerOptions): Promise<SandboxWorker> {
    return new SandboxWorker(await SandboxProcess.start(options.launch), options);
  }

  private constructor(process: SandboxProcess, options: WorkerOptions) {
    this.#process = process;
    this.#onFault = options.onFault;
    this.#compileCpuMsMax = options.compileCpuMsMax ?? moduleCompileCpuMsMax;
  }

  /** True if its last run exited normally and it has not reached its lifetime limit. */
  get isReusable(): boolean {
    const isWorn = this.#runs >= runsPerProcessMax || this.#cpuMs >= processCpuMsMax;
    return this.#isClean && !this.#process.isGone && !isWorn;
  }

  /** True if it died by itself, or was ended for a protocol error. */
  get hasFailed(): boolean {
    return this.#process.fault !== null;
  }

  get fault(): Error | null {
    return this.#process.fault;
  }

  get gone(): Promise<void> {
    return this.#process.gone;
  }

  has(key: string): boolean {
    return this.#compiled.has(key);
  }

  kill(): void {
    this.#isClean = false;
    this.#process.kill();
  }

  /** Cancels the current run. */
  cancel(): void {
    this.#isCancelled = true;
    if (this.#underWay === null) this.kill();
    else this.#underWay.cancel();
  }

  /** @throws what `request.bytes` throws. */
  async run(request: RunRequest): Promise<RunOutcome> {
    // Set first, so that any exception below leaves a process that is not reused.
    this.#isClean = false;
    const slot = await this.#slotOf(request);
    if (typeof slot !== "number") {
      this.#isClean = slot.exit.kind === "refused" && !this.#process.isGone;
      return slot;
    }
    // A signal that aborted between two steps triggers neither listener.
    if (request.signal.aborted || this.#isCancelled) return cancelledBefore(request);
    const run = new RunUnderWay(this.#process, request, this.#cpuMs, this.#onFault);
    this.#underWay = run;
    const outcome = await run.start(slot);
    this.#underWay = null;
    this.#runs += 1;
    this.#cpuMs = run.processCpuMs;
    this.#isClean = outcome.exit.kind === "exited";
    return outcome;
  }

  async #slotOf(request: RunRequest): Promise<number | RunOutcome> {
    const key = compilationKey(request);
    const known = this.#compiled.use(key);
    if (known !== undefined) return known;
    const bytes = await request.bytes();
    const digest = await digestOf(bytes);
    if (request.signal.aborted) return cancelledBefore(request);
    if (!equalBytes(digest, request.digest)) {
      const rule = `the bytes have the digest ${toHex(digest)}, approved is ${toHex(request.digest)}`;
      return nothingUsed(request, { kind: "refused", rule });
    }
    return this.#load(key, bytes, request);
  }

  async #load(key: string, bytes: Uint8Array, request: RunRequest): Promise<number | RunOutcome> {
    const { slot, dropped } = this.#compiled.add(key, bytes.length);
    for (const old of dropped) this.#process.send(toProcess.drop, ...messageParts({ slot: old }));
    const task: LoadTask = { slot, capabilities: request.capabilities, limits: request.limits };
    const onAbort = (): void => this.#process.kill();
    request.signal.addEventListener("abort", onAbort, { once: true });
    try {
      const parts = messageParts(task, bytes);
      const body = await this.#process.ask(toProcess.load, parts, fromProcess.loaded, {
        wallMsMax: moduleLoadMsMax,
        cpuMsMax: this.#compileCpuMsMax,
      });
      const rule = readLoaded(readMessage(body).header);
      if (rule === null) return slot;
      this.#compiled.remove(key);
      return nothingUsed(request, { kind: "refused", rule });
    } catch (cause) {
      if (request.signal.aborted || this.#isCancelled) return cancelledBefore(request);
      if (cause instanceof SigilFault) throw cause;
      if (cause instanceof Unanswered && cause.why === "cpuTime") {
        return nothingUsed(request, { kind: "refused", rule: tooSlow(this.#compileCpuMsMax) });
      }
      // The process is gone; the pool reports why.
      return nothingUsed(request, { kind: "crashed" });
    } finally {
      request.signal.removeEventListener("abort", onAbort);
    }
  }
}
