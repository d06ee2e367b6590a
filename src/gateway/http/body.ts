/**
 * Bodies of requests, bounded as gRPC's messages are: in bytes, in time, and together with them in what long ones take
 * of a connection and of the server. Whoever waits for room is not read on.
 */
import { invalidField, SigilFault } from "../../errors.ts";
import { intakeFreeBytes } from "../../limits.ts";
import type { Permit } from "../../rpc/bounds/byte-budget.ts";
import type { Intake } from "../../rpc/bounds/intake.ts";
import type { HttpRequest } from "./call.ts";
import { Refused } from "./problem.ts";

export type BodyBounds = {
  readonly bytesMax: number;
  /** From the first to the last byte, waiting for room included. */
  readonly msMax: number;
  readonly intake: Pick<Intake, "budget">;
  /** Whose share of the room a long body takes. */
  readonly connection: object;
};

export type Body = {
  readonly text: string;
  /** Gives back the room of a long one. */
  readonly release: () => void;
};

/** What is left of the body is not read, so its connection cannot go on. */
const ending = { connection: "close" } as const;

const tooLarge = (bytesMax: number): Refused =>
  new Refused("BODY_TOO_LARGE", `the body must be at most ${bytesMax} bytes`, ending);

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const textOf = (bytes: Uint8Array): string => {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    return invalidField("", "the body must be UTF-8", { cause });
  }
};

/** One body on its way. */
class Reading {
  readonly #request: HttpRequest;
  readonly #bounds: BodyBounds;
  readonly #ended = new AbortController();
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #permit: Permit | undefined;
  #isTaking = false;

  constructor(request: HttpRequest, bounds: BodyBounds) {
    this.#request = request;
    this.#bounds = bounds;
  }

  async read(declaredBytes: number): Promise<Body> {
    const request = this.#request;
    const { msMax } = this.#bounds;
    const late = (): void =>
      this.#ended.abort(new Refused("BODY_TOO_SLOW", `a body must come within ${msMax} ms`, ending));
    const timer = setTimeout(late, msMax);
    const leave = (): void => {
      // A whole request closes as well.
      if (!request.readableEnded) this.#ended.abort(new SigilFault({ kind: "cancelled" }));
    };
    const hear = (chunk: Buffer): void => this.#hear(chunk);
    try {
      request.once("close", leave);
      // One that breaks off says so too.
      request.on("error", leave);
      if (declaredBytes > intakeFreeBytes) await this.#take(declaredBytes);
      await new Promise<void>((resolve, reject) => {
        const { signal } = this.#ended;
        signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
        if (signal.aborted) reject(signal.reason as Error);
        request.once("end", resolve);
        request.on("data", hear);
      });
      this.#permit?.shrink(this.#bytes);
      const text = textOf(Buffer.concat(this.#chunks));
      return { text, release: () => this.#permit?.release() };
    } catch (error) {
      this.#permit?.release();
      throw error;
    } finally {
      clearTimeout(timer);
      request.off("close", leave);
      request.off("data", hear);
    }
  }

  #hear(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#bounds.bytesMax) {
      this.#ended.abort(tooLarge(this.#bounds.bytesMax));
      return;
    }
    this.#chunks.push(chunk);
    // Of a body that did not say how long it is.
    if (this.#bytes > intakeFreeBytes && this.#permit === undefined && !this.#isTaking)
      void this.#readOnWithRoom();
  }

  async #readOnWithRoom(): Promise<void> {
    this.#request.pause();
    try {
      await this.#take(this.#bounds.bytesMax);
      this.#request.resume();
    } catch (error) {
      this.#ended.abort(error);
    }
  }

  async #take(bytes: number): Promise<void> {
    this.#isTaking = true;
    const { intake, connection } = this.#bounds;
    const permit = await intake.budget.take(connection, bytes, this.#ended.signal);
    if (this.#ended.signal.aborted) permit.release();
    else this.#permit = permit;
  }
}

/** @throws Refused; overQuota; cancelled when its sender has gone. */
export const readBody = async (request: HttpRequest, bounds: BodyBounds): Promise<Body> => {
  const declaredBytes = Number(request.headers["content-length"] ?? 0);
  if (declaredBytes > bounds.bytesMax) throw tooLarge(bounds.bytesMax);
  return new Reading(request, bounds).read(declaredBytes);
};
