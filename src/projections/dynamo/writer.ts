/**
 * One writer a projection, by a lease in the control table that is renewed by counting. No two clocks are compared:
 * whoever waits for it takes it over once the count has stood still for `leaseMs` of its own time. What is written does
 * not rest on it: every transaction is conditional on the holder that the cursor names.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { projectionLeaseMs, projectionLockMs } from "../../limits.ts";
import { failProjection } from "../fault.ts";
import { failedCondition } from "./client.ts";
import type { Item } from "./item.ts";
import { writerKey, type DynamoPlace } from "./tables.ts";

/** How often it is renewed while it lasts. */
const renewals = 5;

type Seen = { readonly holder: unknown; readonly count: unknown };

const isSame = (one: Seen, two: Seen): boolean => one.holder === two.holder && one.count === two.count;

const read = async ({ dynamo, name }: DynamoPlace): Promise<Seen | undefined> => {
  const item = await dynamo.get(name, writerKey);
  return item === undefined ? undefined : { holder: item["holder"], count: item["count"] };
};

/** Whether somebody writes it now: looks for as long as a writer may be silent, where there was one. */
export const hasWriter = async (
  place: DynamoPlace,
  leaseMs: number = projectionLeaseMs,
): Promise<boolean> => {
  const seen = await read(place);
  if (seen === undefined) return false;
  const endMs = performance.now() + leaseMs;
  while (performance.now() < endMs) {
    await pause(leaseMs / renewals);
    const now = await read(place);
    if (now === undefined) return false;
    if (!isSame(seen, now)) return true;
  }
  return false;
};

export class WriterLease implements AsyncDisposable {
  readonly holder = randomUUID();
  readonly #place: DynamoPlace;
  readonly #timer: NodeJS.Timeout;
  #count = 0;

  private constructor(place: DynamoPlace, leaseMs: number) {
    this.#place = place;
    // A renewal that fails is made up for by the next; a lease that was lost, noticed by the next write.
    this.#timer = setInterval(() => void this.#renew().catch(() => {}), leaseMs / renewals);
    this.#timer.unref();
  }

  /**
   * @param lockMs how long another one is waited for, which is longer than a killed one's lease.
   * @throws ProjectionFault: consumerRunning.
   */
  static async take(
    place: DynamoPlace,
    {
      lockMs = projectionLockMs,
      leaseMs = projectionLeaseMs,
    }: { readonly lockMs?: number; readonly leaseMs?: number },
  ): Promise<WriterLease> {
    const lease = new WriterLease(place, leaseMs);
    try {
      const endMs = performance.now() + lockMs;
      let seen = await read(place);
      let sinceMs = performance.now();
      for (;;) {
        const isFree = seen === undefined || performance.now() - sinceMs >= leaseMs;
        if (isFree && (await lease.#put(seen))) return lease;
        if (performance.now() >= endMs) failProjection({ kind: "consumerRunning" });
        await pause(Math.min(lockMs, leaseMs) / renewals);
        const now = await read(place);
        if (now === undefined || seen === undefined || !isSame(now, seen)) sinceMs = performance.now();
        seen = now;
      }
    } catch (error) {
      clearInterval(lease.#timer);
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    const { dynamo, name } = this.#place;
    await dynamo
      .write([{ Delete: { TableName: name, Key: writerKey, ...this.#onlyOver({ holder: this.holder }) } }])
      .catch(() => {});
  }

  async #renew(): Promise<void> {
    await this.#put({ holder: this.holder });
  }

  /** @returns whether it is ours. */
  async #put(before: Partial<Seen> | undefined): Promise<boolean> {
    const { dynamo, name } = this.#place;
    this.#count += 1;
    const item: Item = { ...writerKey, holder: this.holder, count: this.#count };
    try {
      await dynamo.write([{ Put: { TableName: name, Item: item, ...this.#onlyOver(before) } }]);
      return true;
    } catch (error) {
      if (failedCondition(error) < 0) throw error;
      return false;
    }
  }

  #onlyOver(before: Partial<Seen> | undefined) {
    if (before === undefined) return { ConditionExpression: "attribute_not_exists(pk)" };
    const known = Object.entries(before);
    return {
      ConditionExpression: known.map(([field]) => `#${field} = :${field}`).join(" AND "),
      ExpressionAttributeNames: Object.fromEntries(known.map(([field]) => [`#${field}`, field])),
      ExpressionAttributeValues: Object.fromEntries(known.map(([field, value]) => [`:${field}`, value])),
    };
  }
}
