/**
 * Whether a failed call is repeated, and when: back-off with jitter, the server's own delay, and a budget that keeps a
 * connection from adding load to a server that is down. Pure. Source: gRFC A6, "Retry Backoff" and "Throttling".
 * Bound: `attemptsMax` calls of one question, all within its deadline.
 */
import { status as Code } from "@grpc/grpc-js";
import type { SigilError } from "../error.ts";

export type RetryOptions = {
  /** Calls of one question, the first included; default 5. */
  readonly attemptsMax?: number;
  /** Largest wait before the second call in milliseconds, doubled before each further one; default 100. */
  readonly firstDelayMs?: number;
  /** Where doubling ends, in milliseconds; default 2,000. */
  readonly delayMsMax?: number;
};

export const retryDefaults: Required<RetryOptions> = {
  attemptsMax: 5,
  firstDelayMs: 100,
  delayMsMax: 2_000,
};

/** @throws RangeError naming the option. */
export const parseRetry = (given: RetryOptions): Required<RetryOptions> => {
  const options = { ...retryDefaults, ...given };
  for (const [name, value] of Object.entries(options)) {
    if (!Number.isInteger(value) || value < 1)
      throw new RangeError(`retry.${name} must be a whole number from 1`);
  }
  return options;
};

/** Whether the same call may succeed later. A full server says when; one that does not, refuses for good. */
export const mayPass = ({ code, retryDelayMs }: Pick<SigilError, "code" | "retryDelayMs">): boolean =>
  code === Code.UNAVAILABLE || (code === Code.RESOURCE_EXHAUSTED && retryDelayMs !== undefined);

/**
 * @param doublings of the first delay. @param random in [0, 1).
 * @returns milliseconds: between half of the step and all of it, and never less than the server asked for.
 */
export const backOffMs = (
  { firstDelayMs, delayMsMax }: Pick<Required<RetryOptions>, "firstDelayMs" | "delayMsMax">,
  doublings: number,
  random: number,
  askedMs = 0,
): number => {
  const stepMs = Math.min(firstDelayMs * 2 ** doublings, delayMsMax);
  return Math.max(askedMs, stepMs * (0.5 + random / 2));
};

/** Of whoever waits for a server without an end, or a long one. */
export const awayBackOff = { firstDelayMs: 250, delayMsMax: 10_000 } as const;
/** Doublings after which the pause is the longest. */
export const failuresCounted = 16;

export type Attempt = {
  readonly error: SigilError;
  /** Calls made so far, from 1. */
  readonly made: number;
  /** What is left of the deadline. */
  readonly remainingMs: number;
  /** In [0, 1). */
  readonly random: number;
};

export type RetryPlan = { readonly kind: "giveUp" } | { readonly kind: "again"; readonly afterMs: number };

/** A wait that would outlive the deadline is not begun: its caller has the error now. */
export const planRetry = (options: Required<RetryOptions>, attempt: Attempt): RetryPlan => {
  const { error, made, remainingMs, random } = attempt;
  if (!mayPass(error) || made >= options.attemptsMax) return { kind: "giveUp" };
  const afterMs = backOffMs(options, made - 1, random, error.retryDelayMs);
  return afterMs < remainingMs ? { kind: "again", afterMs } : { kind: "giveUp" };
};

const tokensMax = 10;
const tokensPerSuccess = 0.1;

/** Of one connection: while most calls fail none is repeated, and each fails as fast as its server does. */
export class RetryBudget {
  #tokens = tokensMax;

  succeeded(): void {
    this.#tokens = Math.min(tokensMax, this.#tokens + tokensPerSuccess);
  }

  /** @returns whether a call that failed may be repeated. */
  failed(): boolean {
    this.#tokens = Math.max(0, this.#tokens - 1);
    return this.#tokens > tokensMax / 2;
  }
}
