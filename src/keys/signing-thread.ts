/**
 * A thread that does nothing but sign: what one turn of the event loop asks for goes over as one message and comes back
 * as one, so that a burst costs the event loop a single hand-over. One thread serves all keys of the process; it starts
 * with the first signature and keeps no process alive. Until it is ready, where its binary is missing, and for what it
 * held when it died, OpenSSL signs in libuv's pool instead: slower, and the same bytes, as Ed25519 is deterministic.
 * Source: docs/design/0009-signing-thread.md.
 */
import { sign as opensslSign, type KeyObject } from "node:crypto";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { parseSignature, type Signature } from "../record/bytes.ts";
import { SigilFault } from "../record/errors.ts";
import { seedBytes, signatureBytes, type SigningAnswer, type SigningRequest } from "./signing-messages.ts";

type Job = {
  readonly message: Uint8Array;
  readonly resolve: (signature: Signature) => void;
  readonly reject: (error: SigilFault) => void;
};

const signInPool = (key: KeyObject, { message, resolve, reject }: Job): void => {
  opensslSign(null, message, key, (error, signature) => {
    if (error === null) resolve(parseSignature(signature));
    else reject(new SigilFault({ kind: "keyUnavailable", rule: "Ed25519 signing failed" }, { cause: error }));
  });
};

/** The raw private key stands at the end of its PKCS #8 document. Source: RFC 8410 §7. */
const seedOf = (key: KeyObject): Uint8Array<ArrayBuffer> => {
  const der = key.export({ format: "der", type: "pkcs8" });
  const seed = new Uint8Array(new ArrayBuffer(seedBytes));
  seed.set(der.subarray(-seedBytes));
  der.fill(0);
  return seed;
};

/** What one turn of the event loop asked of one key. */
type Batch = { readonly key: KeyObject; readonly jobs: Job[] };

class SigningThread {
  readonly #worker: Worker;
  readonly #keys = new Map<KeyObject, number>();
  #nextKey = 0;
  readonly #sent = new Map<number, Batch>();
  #waiting = new Map<KeyObject, Batch>();
  #nextRequest = 0;
  #isReady = false;
  readonly #started = Promise.withResolvers<boolean>();
  /** Whether it can sign, once that is known. */
  readonly started = this.#started.promise;

  constructor(onDeath: (wasReady: boolean) => void) {
    // The sources run as they are, the built package as JavaScript.
    const program = new URL(`signing-worker${extname(import.meta.url)}`, import.meta.url);
    this.#worker = new Worker(program, { name: "signing", env: {} });
    this.#worker.on("message", (answer: SigningAnswer) => this.#answer(answer));
    // An error is followed by the exit.
    this.#worker.on("error", () => {});
    this.#worker.on("exit", () => {
      this.#started.resolve(false);
      onDeath(this.#isReady);
      this.#die();
    });
    this.#worker.unref();
  }

  sign(key: KeyObject, job: Job): void {
    if (this.#waiting.size === 0) queueMicrotask(() => this.#sendAll());
    const batch = this.#waiting.get(key);
    if (batch === undefined) this.#waiting.set(key, { key, jobs: [job] });
    else batch.jobs.push(job);
  }

  forget(key: KeyObject): void {
    const number = this.#keys.get(key);
    if (number === undefined) return;
    this.#keys.delete(key);
    this.#post({ kind: "forget", key: number });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #sendAll(): void {
    const waiting = this.#waiting;
    this.#waiting = new Map();
    for (const batch of waiting.values()) {
      if (this.#isReady) this.#send(batch);
      else this.#standIn(batch);
    }
  }

  #send(batch: Batch): void {
    const lengths = Uint32Array.from(batch.jobs, ({ message }) => message.length);
    const bytes = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
    let offset = 0;
    for (const { message } of batch.jobs) {
      bytes.set(message, offset);
      offset += message.length;
    }
    const request = this.#nextRequest++;
    const key = this.#keyNumber(batch.key);
    this.#sent.set(request, batch);
    // While something is asked for, the process waits for the answer.
    this.#worker.ref();
    this.#post({ kind: "sign", request, key, lengths, bytes }, [lengths.buffer, bytes.buffer]);
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
  }

  #answer(answer: SigningAnswer): void {
    if (answer.kind === "ready") {
      this.#isReady = true;
      this.#started.resolve(true);
      return;
    }
    const { request, signatures } = answer;
    const batch = this.#sent.get(request);
    if (batch === undefined) return;
    this.#sent.delete(request);
    if (this.#sent.size === 0) this.#worker.unref();
    if (signatures.length !== batch.jobs.length * signatureBytes) return this.#standIn(batch);
    for (const [index, job] of batch.jobs.entries()) {
      job.resolve(parseSignature(signatures.subarray(index * signatureBytes, (index + 1) * signatureBytes)));
    }
  }

  #die(): void {
    this.#isReady = false;
    const held = [...this.#sent.values()];
    this.#sent.clear();
    for (const batch of held) this.#standIn(batch);
  }

  #standIn({ key, jobs }: Batch): void {
    for (const job of jobs) signInPool(key, job);
  }
}

let thread: SigningThread | undefined;
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
  const job = { message: message.slice(), resolve, reject };
  if (isMissing) signInPool(key, job);
  else (thread ??= startThread()).sign(key, job);
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
