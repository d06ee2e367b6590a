/**
 * One writer a projection, by a lease in the database: held for as long as it is renewed, by the server's clock. A
 * killed writer's lease ends by itself. What is written does not rest on it: places are inserted and never overwritten,
 * and the cursor is moved only from where it was expected.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { MongoServerError } from "mongodb";
import { projectionLeaseMs, projectionLockMs } from "../../limits.ts";
import { failProjection } from "../fault.ts";
import type { MongoPlace } from "./names.ts";

const retryMs = 100;
/** How often it is renewed while it lasts. */
const renewals = 5;

/** A document of that key is there already. */
export const isDuplicate = (error: unknown): boolean =>
  error instanceof MongoServerError && error.code === 11_000;

const nowOf = async ({ db }: MongoPlace): Promise<number> => {
  const { localTime } = await db.command({ hello: 1 });
  return (localTime as Date).getTime();
};

/** Whether somebody writes it now. */
export const hasWriter = async (place: MongoPlace): Promise<boolean> =>
  (await place.writers.findOne({ _id: "writer", until: { $gt: new Date(await nowOf(place)) } })) !== null;

export class WriterLease implements AsyncDisposable {
  readonly #place: MongoPlace;
  readonly #leaseMs: number;
  readonly #holder = randomUUID();
  readonly #timer: NodeJS.Timeout;

  private constructor(place: MongoPlace, leaseMs: number) {
    this.#place = place;
    this.#leaseMs = leaseMs;
    // A renewal that fails is noticed by the next batch.
    this.#timer = setInterval(() => void this.#renew().catch(() => {}), leaseMs / renewals);
    this.#timer.unref();
  }

  /**
   * @param lockMs how long another one is waited for, which is longer than a killed one's lease.
   * @throws ProjectionFault: consumerRunning.
   */
  static async take(
    place: MongoPlace,
    {
      lockMs = projectionLockMs,
      leaseMs = projectionLeaseMs,
    }: { readonly lockMs?: number; readonly leaseMs?: number },
  ): Promise<WriterLease> {
    const lease = new WriterLease(place, leaseMs);
    try {
      const endMs = performance.now() + lockMs;
      while (!(await lease.#tryTake())) {
        if (performance.now() >= endMs) failProjection({ kind: "consumerRunning" });
        await pause(retryMs);
      }
      return lease;
    } catch (error) {
      clearInterval(lease.#timer);
      throw error;
    }
  }

  /** @throws ProjectionFault: consumerRunning, where another one took over meanwhile. */
  async require(): Promise<void> {
    if (!(await this.#renew())) failProjection({ kind: "consumerRunning" });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#place.writers.deleteOne({ _id: "writer", holder: this.#holder }).catch(() => {});
  }

  async #until(): Promise<Date> {
    return new Date((await nowOf(this.#place)) + this.#leaseMs);
  }

  async #renew(): Promise<boolean> {
    const until = await this.#until();
    const { matchedCount } = await this.#place.writers.updateOne(
      { _id: "writer", holder: this.#holder },
      { $set: { until } },
    );
    return matchedCount === 1;
  }

  async #tryTake(): Promise<boolean> {
    const until = await this.#until();
    try {
      await this.#place.writers.updateOne(
        { _id: "writer", until: { $lt: new Date(until.getTime() - this.#leaseMs) } },
        { $set: { holder: this.#holder, until } },
        { upsert: true },
      );
      return true;
    } catch (error) {
      if (isDuplicate(error)) return false;
      throw error;
    }
  }
}
