/** Settles the items of a batch: each fails alone, synchronously if possible. */
import { SigilFault, type SigilError } from "../errors.ts";

export type Settled<T> = { readonly value: T } | { readonly error: SigilError };

/** A SigilFault fails only its item. Any other error is rethrown and fails the batch. */
export const settle = <T extends object>(run: () => T | Promise<T>): Settled<T> | Promise<Settled<T>> => {
  const refused = (error: unknown): Settled<T> => {
    if (error instanceof SigilFault) return { error: error.error };
    throw error;
  };
  try {
    const value = run();
    return value instanceof Promise ? value.then((late) => ({ value: late }), refused) : { value };
  } catch (error) {
    return refused(error);
  }
};

/** Avoids a promise per item, which would cost as much as deciding it. */
export const all = <T extends object>(
  items: readonly (T | Promise<T>)[],
): readonly T[] | Promise<readonly T[]> =>
  items.some((item) => item instanceof Promise)
    ? Promise.all(items.map((item) => Promise.resolve(item)))
    : (items as readonly T[]);
