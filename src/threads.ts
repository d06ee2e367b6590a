/**
 * Threads that share one kind of work, each request answered by one of them. A thread that ends early, or an error of
 * its program, rejects its requests: what has not been answered was not done. Bound: callers limit how many requests
 * wait; a thread's heap is bounded by `heapMib`.
 */
import { availableParallelism } from "node:os";
import { parentPort, Worker } from "node:worker_threads";
import { assert } from "./errors.ts";

type Asked<Request> = { readonly number: number; readonly request: Request };
type Answered<Answer> = { readonly number: number } & (
  | { readonly answer: Answer }
  | { readonly failure: string }
);

/** What a program answers, with the buffers that are moved instead of copied. */
export type Reply<Answer> = { readonly answer: Answer; readonly moved: readonly ArrayBuffer[] };

export type ThreadOptions = {
  readonly name: string;
  /** The program, a file that calls `answerRequests`. */
  readonly program: URL;
  readonly data?: unknown;
  readonly env: NodeJS.Dict<string>;
  readonly heapMib: { readonly old: number; readonly young: number };
};

export class Thread<Request, Answer> {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  readonly #name: string;
  #next = 0;
  #end: Error | undefined;

  constructor({ name, program, data, env, heapMib: { old, young } }: ThreadOptions) {
    this.#name = name;
    this.#worker = new Worker(program, {
      name,
      workerData: data,
      env,
      resourceLimits: { maxOldGenerationSizeMb: old, maxYoungGenerationSizeMb: young },
    });
    this.#worker.on("message", (answered: Answered<Answer>) => this.#take(answered));
    this.#worker.on("error", (cause) => this.#fail(cause));
    this.#worker.on("exit", () => this.#fail(undefined));
    this.#worker.unref();
  }

  /** Number of requests without an answer. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whether it has ended: it answers nothing any more. */
  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** @throws Error if the program fails on the request, or the thread has ended. */
  ask(request: Request, moved: readonly ArrayBuffer[] = []): Promise<Answer> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    const number = this.#next++;
    const waiting = Promise.withResolvers<Answer>();
    this.#waiting.set(number, waiting);
    // Keeps the process alive while an answer is awaited.
    this.#worker.ref();
    this.#worker.postMessage({ number, request } satisfies Asked<Request>, [...moved]);
    return waiting.promise;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #take(answered: Answered<Answer>): void {
    const waiting = this.#waiting.get(answered.number);
    this.#waiting.delete(answered.number);
    if (this.#waiting.size === 0) this.#worker.unref();
    if ("failure" in answered) waiting?.reject(new Error(`${this.#name}: ${answered.failure}`));
    else waiting?.resolve(answered.answer);
  }

  #fail(cause: unknown): void {
    this.#end ??= new Error(`a thread of ${this.#name} ended`, { cause });
    for (const waiting of this.#waiting.values()) waiting.reject(this.#end);
    this.#waiting.clear();
  }
}

/** The thread with the fewest requests; undefined once all have ended. */
export const idlest = <Request, Answer>(
  threads: readonly Thread<Request, Answer>[],
): Thread<Request, Answer> | undefined => {
  let found: Thread<Request, Answer> | undefined;
  for (const thread of threads) {
    if (!thread.isOver && (found === undefined || thread.waiting < found.waiting)) found = thread;
  }
  return found;
};

/** One thread a core, within a bound. */
export const threadsFor = (threadsMax: number): number => Math.min(availableParallelism(), threadsMax);

/** For the program of a thread: answers its requests one after the other. */
export const answerRequests = <Request, Answer>(
  work: (request: Request) => Promise<Reply<Answer>> | Reply<Answer>,
): void => {
  const port = parentPort;
  assert(port !== null, "this program runs in a thread of its own");
  let last: Promise<void> = Promise.resolve();
  const answer = async ({ number, request }: Asked<Request>): Promise<void> => {
    try {
      const { answer: found, moved } = await work(request);
      port.postMessage({ number, answer: found } satisfies Answered<Answer>, [...moved]);
    } catch (error) {
      const failure = error instanceof Error ? error.message : "unknown";
      port.postMessage({ number, failure } satisfies Answered<Answer>);
    }
  };
  port.on("message", (asked: Asked<Request>) => {
    last = last.then(() => answer(asked));
  });
};
