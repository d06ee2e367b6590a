/**
 * Reads the key ring from the store: key records are found by their ids and replayed in ledger order, each verified
 * with the ring of its predecessors; the genesis record is verified by its hash.
 */
import { walkKeys, type KeyRecord } from "@sigil/core/verify";
import type { Hash } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";
import { type KeyRing, verifyOwn } from "@sigil/core/keys";
import { keyRetirementPrefix, signingKeyPrefix, systemTenant } from "@sigil/core/record";
import type { Store } from "../../storage/store.ts";
import { parseHead } from "../layout/indexes.ts";
import { headPrefix, prefixRange, recordKey } from "../layout/keyspace.ts";
import type { Sealer } from "../sealing/sealer.ts";

export type RingContext = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly genesis: Hash;
};

const readRecord = async (position: bigint, { store, sealer }: RingContext): Promise<KeyRecord> => {
  const stored = await store.get(recordKey(position));
  if (stored === undefined) {
    return fail({ kind: "ledgerCorrupt", position, rule: "the record is missing" });
  }
  return { position, envelope: (await sealer.open(stored, position)).envelope };
};

/**
 * The genesis record and every key record, in ledger order, with the resulting ring. If a key was retired twice, only
 * the last retirement: it takes effect earliest, and the key signed nothing between the two.
 * @throws ledgerCorrupt if the genesis record is not the expected one or a key record does not verify.
 */
export const readKeyRecords = async (
  context: RingContext,
): Promise<{ readonly records: readonly KeyRecord[]; readonly ring: KeyRing }> => {
  const positions: bigint[] = [];
  for (const prefix of [signingKeyPrefix, keyRetirementPrefix]) {
    const range = prefixRange(headPrefix(systemTenant, "system", prefix));
    for await (const [, value] of context.store.range(range)) positions.push(parseHead(value).position);
  }
  positions.sort((a, b) => (a < b ? -1 : 1));
  const records: KeyRecord[] = [];
  for (const position of [0n, ...positions]) records.push(await readRecord(position, context));
  try {
    const { ring } = await walkKeys(context.genesis, records, { verify: verifyOwn });
    return { records, ring };
  } catch (cause) {
    if (!(cause instanceof SigilFault) || cause.error.kind !== "recordCorrupt") throw cause;
    const { position, rule } = cause.error;
    return fail({ kind: "ledgerCorrupt", position, rule }, { cause });
  }
};
