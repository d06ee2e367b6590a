/**
 * Runs JSON Schemas off the event loop, since compiling one or validating a payload may take seconds. A thread handles
 * one request at a time, limited to `jsonSchemaCpuMsMax` of processor time; a request over the limit is ended with its
 * thread, and the next request starts another. Round-robin among tenants, at most `jsonSchemaWaitingMax` waiting
 * requests each.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { threadEnvironment } from "../../crypto/signing/thread-environment.ts";
import { FairQueue } from "../../identity/fair-queue.ts";
import { fail } from "../../errors.ts";
import {
  jsonSchemaCpuMsMax,
  jsonSchemaHeapMibMax,
  jsonSchemaWaitingMax,
  jsonSchemaYoungHeapMibMax,
} from "../../limits.ts";
import type { SchemaAnswer, SchemaReady, SchemaRequest } from "./schema-messages.ts";

/** A thread's answer, or a timeout. */
export type SchemaOutcome = SchemaAnswer | { readonly kind: "tookTooLong" };

type Waiting = {
  readonly request: SchemaRequest;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (outcome: SchemaOutcome) => void;
  readonly reject: (error: unknown) => void;
};

/** Interval of processor time checks; a request may exceed its limit by this much. */
const watchMs = 100;

export class SchemaThread implements Disposable {
  readonly #name: string;
  readonly #cpuMsMax: number;
  #worker: Worker | undefined;
  #isReady = false;
  #current: Waiting | undefined;
  #watch: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** Waiting requests by tenant. */
  readonly #waiting = new FairQueue<string, Waiting>();

  constructor(name: string, cpuMsMax: number = jsonSchemaCpuMsMax) {
    this.#name = name;
    this.#cpuMsMax = cpuMsMax;
  }

  /** @param tenant for fair queueing. @throws queueFull, and the reason of the signal. */
  ask(tenant: string, request: SchemaRequest, signal?: AbortSignal): Promise<SchemaOutcome> {
    const { promise, resolve, reject } = Promise.withResolvers<SchemaOutcome>();
    if (this.#waiting.countOf(tenant) >= jsonSchemaWaitingMax)
      return fail({
        kind: "queueFull",
        what: "the tenant's queue of payloads and schemas to check",
        limit: jsonSchemaWaitingMax,
      });
    this.#waiting.add(tenant, { request, signal, resolve, reject });
    this.#next();
    return promise;
  }

  /** Takes the next request, skipping cancelled ones. */
  #take(): Waiting | undefined {
    for (;;) {
      const next = this.#waiting.take();
      if (next?.signal?.aborted !== true) return next;
      next.reject(next.signal.reason);
    }
  }

  #next(): void {
    if (this.#current !== undefined || this.#isClosed) return;
    const next = this.#take();
    if (next === undefined) {
      // An idle thread does not keep the process alive.
      this.#worker?.unref();
      return;
    }
    this.#current = next;
    this.#worker ??= this.#start();
    this.#worker.ref();
    if (this.#isReady) void this.#post(this.#worker, next);
  }

  /** Limits processor time instead of wall time, so that a busy machine does not fail a valid schema. */
  async #post(worker: Worker, waiting: Waiting): Promise<void> {
    const before = await worker.cpuUsage().catch(() => undefined);
    if (worker !== this.#worker) return;
    this.#watch = setInterval(() => {
      worker.cpuUsage(before).then(
        ({ user, system }) => {
          if (waiting !== this.#current || (user + system) / 1000 < this.#cpuMsMax) return;
          this.#discard();
          this.#settle({ kind: "tookTooLong" });
        },
        // Ignored: the exit event reports it.
        () => {},
      );
    }, watchMs);
    worker.postMessage(waiting.request, []);
  }

  #start(): Worker {
    // `.ts` when run from sources, `.js` in the built package.
    const program = new URL(`schema-worker${extname(import.meta.url)}`, import.meta.url);
    const worker = new Worker(program, {
      name: this.#name,
      env: threadEnvironment(),
      resourceLimits: {
        maxOldGenerationSizeMb: jsonSchemaHeapMibMax,
        maxYoungGenerationSizeMb: jsonSchemaYoungHeapMibMax,
      },
    });
    worker.on("message", (said: SchemaAnswer | SchemaReady) => {
      if (worker !== this.#worker) return;
      if (said.kind !== "ready") return this.#settle(said);
      this.#isReady = true;
      if (this.#current !== undefined) void this.#post(worker, this.#current);
    });
    const onEnd = (rule: string): void => {
      if (worker !== this.#worker) return;
      this.#forget();
      this.#settle({ kind: "failed", rule });
    };
    worker.on("error", (error) => onEnd(error instanceof Error ? error.message : "unknown"));
    worker.on("exit", () => onEnd("the thread ended"));
    return worker;
  }

  #settle(outcome: SchemaOutcome): void {
    clearInterval(this.#watch);
    const current = this.#current;
    this.#current = undefined;
    current?.resolve(outcome);
    this.#next();
  }

  #forget(): void {
    this.#worker = undefined;
    this.#isReady = false;
  }

  #discard(): void {
    const worker = this.#worker;
    this.#forget();
    void worker?.terminate();
  }

  /** Ends the thread; waiting requests fail with UNAVAILABLE. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#discard();
    this.#settle({ kind: "failed", rule: "the server stops" });
    for (const { resolve } of this.#waiting.clear()) resolve({ kind: "failed", rule: "the server stops" });
  }
}
