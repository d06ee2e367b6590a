/**
 * Parses and compiles unapproved code, each in a separate process that runs nothing and then exits. One at a time, to
 * bound the resources used by proposals; runs use other processes. Source: docs/spec/module.md §1.
 */
import { fail, SigilFault } from "../../errors.ts";
import { moduleBytesMax, moduleCompileCpuMsMax, moduleLoadMsMax } from "../../limits.ts";
import { fromProcess, messageParts, readMessage, toProcess } from "./protocol.ts";
import type { Inspection } from "./inspect-module.ts";
import type { LaunchOptions } from "./launch.ts";
import { SandboxProcess, Unanswered } from "./process.ts";
import { readInspected } from "./reports.ts";
import type { InspectionRequest } from "./run.ts";
import { requireWanted, TenantQueue } from "./tenant-queue.ts";
import { tooSlow } from "./worker.ts";

export type InspectorOptions = {
  readonly launch: Omit<LaunchOptions, "cpuSecondsMax"> & Partial<LaunchOptions>;
  readonly compileCpuMsMax?: number | undefined;
  readonly onFault: (cause: unknown) => void;
};

/** CPU time allowed for the start of a process, ms. */
const startCpuMs = 5000;

const closed = (): SigilFault => new SigilFault({ kind: "notServing", rule: "the sandbox is closed" });

const malformed = (rule: string, cause: unknown): never =>
  fail({ kind: "malformedModule", offset: 0, rule }, { cause });

export class Inspector implements AsyncDisposable {
  readonly #options: InspectorOptions;
  readonly #cpuMsMax: number;
  readonly #turns = new TenantQueue("queue of code to inspect");
  #process: SandboxProcess | null = null;
  #underWay: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** Last logged start failure, to log each only once. */
  #reported = "";

  constructor(options: InspectorOptions) {
    this.#options = options;
    this.#cpuMsMax = options.compileCpuMsMax ?? moduleCompileCpuMsMax;
  }

  async inspect({ bytes, tenant, signal }: InspectionRequest): Promise<Inspection> {
    if (this.#isClosed) throw closed();
    return this.#turns.inTurn(tenant, signal, async () => {
      const code = await bytes();
      this.#requireOpen(signal);
      if (code.length > moduleBytesMax) {
        fail({ kind: "tooLarge", what: "module", bytes: code.length, limit: moduleBytesMax });
      }
      const inspecting = this.#inspectIn(code, signal);
      this.#underWay = inspecting.catch(() => {});
      return inspecting;
    });
  }

  /** Ends the inspection in progress. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#turns.refuseAll(closed());
    this.#process?.kill();
    await this.#underWay;
  }

  async #inspectIn(code: Uint8Array, signal: AbortSignal): Promise<Inspection> {
    const process = await this.#start();
    this.#process = process;
    const onAbort = (): void => process.kill();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      this.#requireOpen(signal);
      return await this.#ask(process, code);
    } catch (cause) {
      this.#requireOpen(signal);
      return this.#refuse(process, cause);
    } finally {
      signal.removeEventListener("abort", onAbort);
      process.kill();
      // The next one starts only when this one's memory is released.
      await process.gone;
      this.#process = null;
    }
  }

  async #start(): Promise<SandboxProcess> {
    // A limit enforced by the system, for when the server has died or CPU time cannot be read.
    const cpuSecondsMax = Math.ceil((this.#cpuMsMax + startCpuMs) / 1000);
    try {
      const process = await SandboxProcess.start({ cpuSecondsMax, ...this.#options.launch });
      this.#reported = "";
      return process;
    } catch (cause) {
      const said = String(cause);
      if (said !== this.#reported) this.#options.onFault(cause);
      this.#reported = said;
      return fail({ kind: "notServing", rule: "no sandbox process can be started" }, { cause });
    }
  }

  async #ask(process: SandboxProcess, code: Uint8Array): Promise<Inspection> {
    const limits = { wallMsMax: moduleLoadMsMax, cpuMsMax: this.#cpuMsMax };
    const body = await process.ask(toProcess.inspect, messageParts({}, code), fromProcess.inspected, limits);
    const inspected = readInspected(readMessage(body).header);
    if ("error" in inspected) throw new SigilFault(inspected.error);
    return inspected;
  }

  #requireOpen(signal: AbortSignal): void {
    requireWanted(signal);
    if (this.#isClosed) throw closed();
  }

  #refuse(process: SandboxProcess, cause: unknown): never {
    if (cause instanceof SigilFault) throw cause;
    const why = cause instanceof Unanswered ? cause.why : "ended";
    if (why === "cpuTime") return malformed(tooSlow(this.#cpuMsMax), cause);
    this.#options.onFault(process.fault ?? cause);
    if (why === "ended") return malformed("is more than the engine can compile", cause);
    return fail(
      { kind: "notServing", rule: "the code was not inspected in time; propose it again" },
      { cause },
    );
  }
}
