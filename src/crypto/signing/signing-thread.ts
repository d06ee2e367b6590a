/**
 * A thread that does nothing but sign. What it is to sign lies in memory that both sides see, in order, and its
 * signatures come back the same way: a hand-over costs the event loop next to nothing, and waking the thread once a
 * turn. One thread serves all keys of the process; it starts with the first signature and keeps no process alive. Until
 * it is ready, where its binary is missing, for what is too long for the ring, and for what it held when it died,
 * OpenSSL signs in libuv's pool instead: slower, and the same bytes, as Ed25519 is deterministic. Source:
 * docs/design/0009-signing-thread.md.
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

/** The raw private key stands at the end of its PKCS #8 document. Source: RFC 8410 §7. */
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
  /** In the ring, in its order. */
  #held: Job[] = [];
  /** For whom the ring has no room yet. */
  #waiting: Job[] = [];
  #isReady = false;
  #isTaking = false;
  #isWaking = false;
  readonly #started = Promise.withResolvers<boolean>();
  /** Whether it can sign, once that is known. */
  readonly started = this.#started.promise;

  constructor(onDeath: (wasReady: boolean) => void) {
    // The sources run as they are, the built package as JavaScript.
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
    // An error is followed by the exit.
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

  /** It leaves its loop: one that is only told to terminate while it blocks may never end, and the process with it. */
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

  /** Once for everything that a turn of the event loop asks for: waking costs more than putting. */
  #wake(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    queueMicrotask(() => {
      this.#isWaking = false;
      this.#ring.wake();
    });
  }

  /** Hands signatures to who asked for them, as long as any are to come. */
  async #take(): Promise<void> {
    this.#isTaking = true;
    // While something is asked for, the process waits for the answer.
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
    // The ring's copies: the callers' own memory is theirs again.
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
/** A thread that never became ready will not the next time either. */
let isMissing = false;

const startThread = (): SigningThread => {
  const started: SigningThread = new SigningThread((wasReady) => {
    if (thread === started) thread = undefined;
    isMissing ||= !wasReady;
  });
  return started;
};

/** The message is copied before the call returns. @throws keyUnavailable when OpenSSL refuses. */
export const signInThread = (key: KeyObject, message: Uint8Array): Promise<Signature> => {
  const { promise, resolve, reject } = Promise.withResolvers<Signature>();
  const job = { key, message, resolve, reject };
  if (isMissing) signInPool(copied(job));
  else (thread ??= startThread()).sign(job);
  return promise;
};

/** Starts the thread ahead of the first signature. @returns whether it signs from now on. */
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
