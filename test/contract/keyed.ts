/** Keyed calls as services make them, with nothing but a position for an answer. */
import type { CborValue } from "../../src/core/cbor/cbor.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import type { Appended } from "../../src/ledger/append/commit.ts";
import type { IdempotencyScope } from "../../src/ledger/append/idempotency.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";

export const firstPosition = ([first]: readonly Appended[]): CborValue => first?.position ?? null;

/** The first commits the records and is answered with `outcome`; a repeat gets the same. */
export const appendKeyed = (
  ledger: Ledger,
  scope: IdempotencyScope,
  asked: Uint8Array,
  bodies: readonly RecordBody[],
  outcome: (appended: readonly Appended[]) => CborValue = firstPosition,
): Promise<CborValue> =>
  ledger.once(
    scope,
    () => asked,
    async (append) => outcome(await append(bodies, { outcome })),
    async (stored) => stored,
  );

/** What a repeat would be answered; undefined when the key is free. */
export const keptAnswer = async (
  ledger: Ledger,
  scope: IdempotencyScope,
  asked: Uint8Array,
): Promise<CborValue | undefined> => {
  const free = new Error("the key is free");
  try {
    return await ledger.once<CborValue>(
      scope,
      () => asked,
      () => Promise.reject(free),
      async (stored) => stored,
    );
  } catch (error) {
    if (error === free) return undefined;
    throw error;
  }
};
