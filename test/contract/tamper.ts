/**
 * Someone with the disk in their hands and no key: what stands at a position is read, replaced, and flipped byte by
 * byte. Works on any store of a ledger that nobody has open.
 */
import { recordKey } from "../../src/ledger/layout/keyspace.ts";
import type { Store } from "../../src/storage/store.ts";

/** `u8 length ‖ tenant ‖ sealed envelope`. @throws when nothing stands there. */
export const readStored = async (store: Store, position: bigint): Promise<Uint8Array> => {
  const stored = await store.get(recordKey(position));
  if (stored === undefined) throw new Error(`no record is stored at position ${position}`);
  return stored;
};

export const replaceStored = (store: Store, position: bigint, stored: Uint8Array): Promise<void> =>
  store.commit([{ kind: "put", key: recordKey(position), value: stored }]);

export const removeStored = (store: Store, position: bigint): Promise<void> =>
  store.commit([{ kind: "delete", key: recordKey(position) }]);

/** Exchanges what stands at two positions. */
export const swapStored = async (store: Store, a: bigint, b: bigint): Promise<void> => {
  const [atA, atB] = [await readStored(store, a), await readStored(store, b)];
  await store.commit([
    { kind: "put", key: recordKey(a), value: atB },
    { kind: "put", key: recordKey(b), value: atA },
  ]);
};

export type Flip = { readonly offset: number; readonly bytes: Uint8Array };

/** The value with each byte changed in turn, by one bit; which bit goes round with the offset. */
export function* flipsOf(stored: Uint8Array): Generator<Flip> {
  for (let offset = 0; offset < stored.length; offset += 1) {
    const bytes = Uint8Array.from(stored);
    bytes[offset] = (bytes[offset] ?? 0) ^ (1 << (offset % 8));
    yield { offset, bytes };
  }
}

/** The value under another tenant's name, everything else as it was. */
export const renameTenant = (stored: Uint8Array, tenant: string): Uint8Array => {
  const name = new TextEncoder().encode(tenant);
  const sealed = stored.subarray(1 + (stored[0] ?? 0));
  return Uint8Array.of(name.length, ...name, ...sealed);
};
