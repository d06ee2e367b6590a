/**
 * The sandbox: a pool of processes, one run each at a time, with a queue; inspections use a separate process. A process
 * is reused only after a run that exited; after any other outcome it is replaced. Source: docs/spec/sandbox.md,
 * docs/design/0013-sandbox.md.
 */
import { fail, invalidField, SigilFault } from "../../errors.ts";
import { processCpuMsMax, runMsMax } from "../../limits.ts";
import { compilationKey } from "./compiled.ts";
import type { Inspection } from "./inspect-module.ts";
import { Inspector } from "./inspector.ts";
import { whyNoLaunch, type LaunchOptions } from "./launch.ts";
import type { InspectionRequest, RunOutcome, RunRequest, Sandbox } from "./run.ts";
import { RunCount } from "./run-count.ts";
import { cancelledBefore, SandboxWorker } from "./worker.ts";

export type SandboxOptions = {
  /** Number of processes, hence of concurrent runs. */
  readonly processes: number;
  /** Idle processes kept ready; default all. */
  readonly processesWarm?: number;
  /** Running and waiting runs of all tenants; a multiple of `processes`. */
  readonly runsMax: number;
  /** Running and waiting runs of one tenant; default `runsMax`. */
  readonly runsPerTenantMax?: number;
  /** Upper limit for a run's memory; default 1024 pages (64 MiB). */
  readonly memoryPagesMax?: number;
  /** CPU time limit of one compilation, ms; for tests. */
  readonly compileCpuMsMax?: number;
  /** CPU lifetime limit and program of a process; for tests. */
  readonly launch?: Partial<Pick<LaunchOptions, "cpuSecondsMax" | "program" | "shell">>;
  /** Called for the log with a failed process's stderr tail, or an error thrown by a host call. */
  readonly onFault: (cause: unknown) => void;
};

const memoryPagesMaxDefault = 1024;
/** CPU limit: what a process may use before its last run, plus that run on all its threads. */
const cpuSecondsMaxDefault = Math.ceil((processCpuMsMax + 2 * runMsMax) / 1000);
/** Backoff before restarting a process that failed to start or died. */
const backOffMsMin = 50;
const backOffMsMax = 5000;
/** After this many consecutive failures waiting runs are refused; restarts continue. */
const failuresTolerated = 3;

type Waiter = {
  readonly key: string;
  readonly take: (worker: SandboxWorker) => void;
  readonly refuse: (cause: unknown) => void;
};

class ProcessPool implements Sandbox {
  readonly whyUnavailable: string | null;
  readonly #options: SandboxOptions;
  readonly #count: RunCount;
  readonly #inspector: Inspector;
  readonly #alive = new Set<SandboxWorker>();
  readonly #idle: SandboxWorker[] = [];
  readonly #waiting: Waiter[] = [];
  readonly #starting = new Set<Promise<void>>();
  #failures = 0;
  #restarts = 0;
  #backOff: NodeJS.Timeout | null = null;
  #lastFailure: unknown = null;
  /** Last logged of the consecutive failures. */
  #reported = "";
  #isClosed = false;

  constructor(options: SandboxOptions) {
    this.#options = options;
    this.whyUnavailable = whyNoLaunch(options.launch?.shell);
    this.#count = new RunCount(options.runsMax, options.runsPerTenantMax ?? options.runsMax);
    const { memoryPagesMax = memoryPagesMaxDefault } = options;
    this.#inspector = new Inspector({ ...options, launch: { memoryPagesMax, ...options.launch } });
    this.#fill();
  }

  get gauge(): Sandbox["gauge"] {
    const warm = this.#idle.length;
    return { running: this.#alive.size - warm, warm, restarts: this.#restarts };
  }

  async run(request: RunRequest): Promise<RunOutcome> {
    this.#check(request);
    const release = this.#count.enter(request.tenant ?? "");
    try {
      const worker = await this.#take(compilationKey(request), request.signal);
      if (worker === null) return cancelledBefore(request);
      return await this.#use(worker, () => worker.run(request));
    } finally {
      release();
    }
  }

  async inspect(request: InspectionRequest): Promise<Inspection> {
    this.#requireLaunch();
    return this.#inspector.inspect(request);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    if (this.#backOff !== null) clearTimeout(this.#backOff);
    for (const { refuse } of this.#waiting.splice(0)) refuse(closed());
    const inspector = this.#inspector[Symbol.asyncDispose]();
    const workers = [...this.#alive];
    for (const worker of workers) worker.cancel();
    // Processes still starting are ended once they are up.
    await Promise.all(this.#starting);
    await Promise.all([...workers, ...this.#alive].map((worker) => worker.gone));
    await inspector;
  }

  #requireLaunch(): void {
    if (this.whyUnavailable !== null) {
      fail({ kind: "notServing", rule: `modules cannot be run: ${this.whyUnavailable}` });
    }
  }

  #check({ input, limits }: RunRequest): void {
    if (this.#isClosed) throw closed();
    this.#requireLaunch();
    if (input.length > limits.inputBytes) {
      fail({ kind: "tooLarge", what: "input", bytes: input.length, limit: limits.inputBytes });
    }
    const pagesMax = this.#options.memoryPagesMax ?? memoryPagesMaxDefault;
    if (limits.memoryPages > pagesMax) {
      invalidField("limits.memory_pages", `must be at most ${pagesMax}`);
    }
    if (limits.wallMs > runMsMax) {
      invalidField("limits.wall_ms", `must be at most ${runMsMax}`);
    }
  }

  /** @returns null if the signal aborted first. @throws notServing. */
  #take(key: string, signal: AbortSignal | null): Promise<SandboxWorker | null> | SandboxWorker | null {
    if (signal?.aborted === true) return null;
    // Prefer a process that has the module; else (index −1 is the last) the most recently used one.
    const index = this.#idle.findIndex((worker) => worker.has(key));
    const worker = this.#idle.splice(index, 1)[0];
    if (worker !== undefined) return worker;
    if (this.#isHopeless) throw notStarting(this.#lastFailure);
    return this.#wait(key, signal);
  }

  #wait(key: string, signal: AbortSignal | null): Promise<SandboxWorker | null> {
    const { promise, resolve, reject } = Promise.withResolvers<SandboxWorker | null>();
    const leave = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      resolve(null);
    };
    const settled = (): void => signal?.removeEventListener("abort", leave);
    const waiter: Waiter = {
      key,
      take: (worker) => (settled(), resolve(worker)),
      refuse: (cause) => (settled(), reject(cause)),
    };
    signal?.addEventListener("abort", leave, { once: true });
    this.#waiting.push(waiter);
    this.#fill();
    return promise;
  }

  async #use<Value>(worker: SandboxWorker, act: () => Promise<Value>): Promise<Value> {
    try {
      return await act();
    } finally {
      this.#giveBack(worker);
    }
  }

  #giveBack(worker: SandboxWorker): void {
    if (this.#isClosed || !worker.isReusable) {
      worker.kill();
      return;
    }
    this.#failures = 0;
    this.#reported = "";
    this.#hand(worker);
  }

  /** Gives the process to the longest-waiting run; else it becomes idle. */
  #hand(worker: SandboxWorker): void {
    const first = this.#waiting.shift();
    if (first === undefined) this.#idle.push(worker);
    else first.take(worker);
  }

  /** Starts missing processes. */
  #fill(): void {
    if (this.#isClosed || this.#backOff !== null || this.whyUnavailable !== null) return;
    const { processes, processesWarm = processes } = this.#options;
    const wanted = Math.min(processes, Math.max(processesWarm, this.gauge.running + this.#waiting.length));
    while (this.#alive.size + this.#starting.size < wanted) {
      const start = this.#start().finally(() => this.#starting.delete(start));
      this.#starting.add(start);
    }
  }

  /** True if no process is alive and restarts keep failing. */
  get #isHopeless(): boolean {
    return this.#failures >= failuresTolerated && this.#alive.size === 0;
  }

  /** Never rejects. */
  async #start(): Promise<void> {
    const { onFault, compileCpuMsMax, memoryPagesMax = memoryPagesMaxDefault } = this.#options;
    const launch = { memoryPagesMax, cpuSecondsMax: cpuSecondsMaxDefault, ...this.#options.launch };
    try {
      const worker = await SandboxWorker.start({ launch, compileCpuMsMax, onFault });
      this.#alive.add(worker);
      void worker.gone.then(() => this.#lose(worker));
      if (this.#isClosed) worker.kill();
      else this.#hand(worker);
    } catch (cause) {
      this.#fail(cause);
    }
  }

  /** Called when a process is gone, killed or by itself: replaces it. */
  #lose(worker: SandboxWorker): void {
    this.#alive.delete(worker);
    const index = this.#idle.indexOf(worker);
    if (index >= 0) this.#idle.splice(index, 1);
    if (this.#isClosed) return;
    this.#restarts += 1;
    if (worker.hasFailed) this.#fail(worker.fault);
    else this.#fill();
  }

  /** Logs a failure; after `failuresTolerated` in a row only one that differs from the last. */
  #report(cause: unknown): void {
    const said = String(cause);
    if (this.#failures > failuresTolerated && said === this.#reported) return;
    this.#reported = said;
    this.#options.onFault(cause);
  }

  #fail(cause: unknown): void {
    if (this.#isClosed) return;
    this.#failures += 1;
    this.#lastFailure = cause;
    this.#report(cause);
    if (this.#isHopeless) for (const { refuse } of this.#waiting.splice(0)) refuse(notStarting(cause));
    const delayMs = Math.min(backOffMsMax, backOffMsMin * 2 ** (this.#failures - 1));
    this.#backOff ??= setTimeout(() => {
      this.#backOff = null;
      this.#fill();
    }, delayMs);
  }
}

const closed = (): SigilFault => new SigilFault({ kind: "notServing", rule: "the sandbox is closed" });

const notStarting = (cause: unknown): SigilFault =>
  new SigilFault({ kind: "notServing", rule: "no sandbox process can be started" }, { cause });

/** Starts processes in the background; the first run waits for one. @throws invalidField. */
export const createSandbox = (options: SandboxOptions): Promise<Sandbox> => {
  if (!Number.isInteger(options.processes) || options.processes < 1) {
    invalidField("processes", "must be at least 1");
  }
  return Promise.resolve(new ProcessPool(options));
};
