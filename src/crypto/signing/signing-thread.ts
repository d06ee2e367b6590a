/**
 * The signing worker thread. Messages and signatures pass through shared memory, in order, at little cost to the event
 * loop: one wake-up per turn. One thread serves all keys of the process; it starts with the first signature and does
 * not keep the process alive. Until it is ready, if its binary is missing, for messages too long for the ring, and for
 * messages pending when it died, OpenSSL signs in libuv's thread pool instead: slower, but the same bytes, as Ed25519
 * is deterministic. Source: docs/design/0009-signing-thread.md.
 */
import { sign as opensslSign, type KeyObject } from "node:crypto";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { parseSignature, type Signature } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import { threadEnvironment } from "./thread-environment.ts";
import { seedBytes, type SigningAnswer, type SigningRequest } from "./signing-messages.ts";
import { ringMessageBytesMax, SigningRing } from "./signing-ring.ts";

type Job = {
  readonly key: KeyObject;
  readonly message: Uint8Array;
  readonly resolve: (signature: Signature) => void;
  readonly reject: (error: SigilFault) => void;
};

const signInPool = ({ key, message, resolve, reject }: Job): void => {
  opensslSign(null, message, key, (error, signature) => {
    if (error === null) resolve(parseSignature(signature));
    else reject(new SigilFault({ kind: "keyUnavailable", rule: "Ed25519 signing failed" }, { cause: error }));
  });
};

const copied = (job: Job): Job => ({ ...job, message: job.message.slice() });

/** The raw private key is at the end of its PKCS #8 document. Source: RFC 8410 §7. */
export const seedOf = (key: KeyObject): Uint8Array<ArrayBuffer> => {
  const der = key.export({ format: "der", type: "pkcs8" });
  const seed = new Uint8Array(new ArrayBuffer(seedBytes));
  seed.set(der.subarray(-seedBytes));
  der.fill(0);
  return seed;
};

class SigningThread {
  readonly #worker: Worker;
  readonly #ring = new SigningRing();
  readonly #keys = new Map<KeyObject, number>();
  #nextKey = 0;
  /** Jobs in the ring, in order. */
  #held: Job[] = [];
  /** Jobs waiting for room in the ring. */
  #waiting: Job[] = [];
  #isReady = false;
  #isTaking = false;
  #isWaking = false;
  readonly #started = Promise.withResolvers<boolean>();
  /** Resolves to whether the thread can sign. */
  readonly started = this.#started.promise;

  constructor(onDeath: (wasReady: boolean) => void) {
    // `.ts` when run from sources, `.js` in the built package.
    const program = new URL(`signing-worker${extname(import.meta.url)}`, import.meta.url);
    this.#worker = new Worker(program, {
      name: "signing",
      env: threadEnvironment(),
      workerData: this.#ring.memory,
    });
    this.#worker.on("message", (answer: SigningAnswer) => {
      this.#isReady = answer === "ready";
      this.#started.resolve(this.#isReady);
    });
    // Ignored: an error is always followed by the exit event.
    this.#worker.on("error", () => {});
    this.#worker.on("exit", () => {
      this.#started.resolve(false);
      onDeath(this.#isReady);
      this.#die();
    });
    this.#worker.unref();
  }

  /** The message is copied before the call returns. */
  sign(job: Job): void {
    if (!this.#isReady || job.message.length > ringMessageBytesMax) signInPool(copied(job));
    else if (this.#waiting.length > 0 || !this.#put(job)) this.#waiting.push(copied(job));
  }

  /** Lets the thread leave its loop: terminating a blocked thread may hang, and the process with it. */
  stop(): void {
    this.#ring.stop();
  }

  forget(key: KeyObject): void {
    const number = this.#keys.get(key);
    if (number === undefined) return;
    this.#keys.delete(key);
    this.#post({ kind: "forget", key: number });
  }

  async end(): Promise<void> {
    this.stop();
    await this.#worker.terminate();
  }

  #put(job: Job): boolean {
    if (!this.#ring.put(this.#keyNumber(job.key), job.message)) return false;
    this.#held.push(job);
    this.#wake();
    if (!this.#isTaking) void this.#take();
    return true;
  }

  #keyNumber(key: KeyObject): number {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const number = this.#nextKey++;
    this.#keys.set(key, number);
    const seed = seedOf(key);
    this.#post({ kind: "key", key: number, seed }, [seed.buffer]);
    return number;
  }

  #post(request: SigningRequest, transferred: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transferred);
    this.#wake();
  }

  /** One wake-up for all messages of a turn of the event loop: waking costs more than `put`. */
  #wake(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    queueMicrotask(() => {
      this.#isWaking = false;
      this.#ring.wake();
    });
  }

  /** Delivers signatures to their callers while any are pending. */
  async #take(): Promise<void> {
    this.#isTaking = true;
    // Keeps the process alive while signatures are pending.
    this.#worker.ref();
    while (this.#held.length > 0) {
      await this.#ring.more();
      this.#answer();
    }
    this.#worker.unref();
    this.#isTaking = false;
  }

  #answer(): void {
    let answered = 0;
    this.#ring.take((signature) => {
      this.#held[answered]?.resolve(parseSignature(signature));
      answered += 1;
    });
    this.#held = this.#held.slice(answered);
    let put = 0;
    for (const job of this.#waiting) {
      if (!this.#put(job)) break;
      put += 1;
    }
    if (put > 0) this.#waiting = this.#waiting.slice(put);
  }

  #die(): void {
    this.#isReady = false;
    this.#ring.take((signature) => this.#held.shift()?.resolve(parseSignature(signature)));
    // Uses the ring's copies: callers may have reused their buffers.
    const messages = this.#ring.untaken();
    const held = this.#held.map((job, index) => ({ ...job, message: messages[index] ?? job.message }));
    const left = [...held, ...this.#waiting];
    this.#held = [];
    this.#waiting = [];
    for (const job of left) signInPool(job);
  }
}

let thread: SigningThread | undefined;
process.on("exit", () => thread?.stop());
/** Set if a thread never became ready: a new one would not either. */
let isMissing = false;

const startThread = (): SigningThread => {
  const started: SigningThread = new SigningThread((wasReady) => {
    if (thread === started) thread = undefined;
    isMissing ||= !wasReady;
  });
  return started;
};

/** The message is copied before the call returns. @throws keyUnavailable if OpenSSL refuses. */
export const signInThread = (key: KeyObject, message: Uint8Array): Promise<Signature> => {
  const { promise, resolve, reject } = Promise.withResolvers<Signature>();
  const job = { key, message, resolve, reject };
  if (isMissing) signInPool(copied(job));
  else (thread ??= startThread()).sign(job);
  return promise;
};

/** Starts the thread before the first signature. @returns whether it signs from now on. */
export const startSigningThread = (): Promise<boolean> =>
  isMissing ? Promise.resolve(false) : (thread ??= startThread()).started;

/** Zeroes the thread's copy of a key. */
export const forgetInThread = (key: KeyObject): void => thread?.forget(key);

/** Ends the thread; the next request starts another. */
export const endSigningThread = async (): Promise<void> => {
  const ending = thread;
  thread = undefined;
  await ending?.end();
};
