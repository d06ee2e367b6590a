/**
 * Reads from the store which tenants are erased: for each the order, and whether a report says that it was carried out.
 * Records are found by id and verified with the key ring, like key records. An unreadable one could concern any tenant,
 * so the ledger does not serve without it. Source: docs/spec/ledger.md §7.
 */
import { verifySigned } from "@sigil/core/verify";
import { equalBytes } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";
import { erasedPrefix, erasurePrefix, systemTenant } from "@sigil/core/record";
import { type KeyRing, verifyOwn } from "@sigil/core/keys";
import type { Store } from "../../storage/store.ts";
import { noPositions, orderIn, reportIn, type Erasure, type Placed } from "../layout/erasure.ts";
import { parseHead } from "../layout/indexes.ts";
import { headPrefix, prefixRange, recordKey } from "../layout/keyspace.ts";
import type { Sealer } from "../sealing/sealer.ts";

type Context = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly ring: KeyRing;
  readonly origin: string;
};

const damaged = (position: bigint, cause?: unknown): never => {
  const rule = "a record about an erasure does not hold";
  return fail({ kind: "ledgerCorrupt", position, rule }, { cause });
};

/** @throws storeFailed, ledgerCorrupt. */
const readSigned = async (position: bigint, context: Context): Promise<Placed> => {
  const { store, sealer, ring, origin } = context;
  try {
    const stored = await store.get(recordKey(position));
    if (stored === undefined) return damaged(position);
    const { tenant, envelope } = await sealer.open(stored, position);
    const { body, hash } = await verifySigned(position, envelope, {
      ring,
      origin,
      tenant,
      verify: verifyOwn,
    });
    return { body, hash, position };
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind !== "storeFailed") return damaged(position, error);
    throw error;
  }
};

const newestOf = async function* (prefix: string, context: Context): AsyncGenerator<Placed> {
  const range = prefixRange(headPrefix(systemTenant, "system", prefix));
  for await (const [, value] of context.store.range(range)) {
    yield await readSigned(parseHead(value).position, context);
  }
};

/** By tenant. @throws storeFailed, ledgerCorrupt for a record or index entry that does not verify. */
export const readErasures = async (context: Context): Promise<ReadonlyMap<string, Erasure>> => {
  const erasures = new Map<string, Erasure>();
  for await (const record of newestOf(erasurePrefix, context)) {
    const order = orderIn(record);
    if (order !== undefined) erasures.set(order.tenant, order);
  }
  for await (const record of newestOf(erasedPrefix, context)) {
    const report = reportIn(record);
    const order = report && erasures.get(report.tenant);
    if (order !== undefined && equalBytes(report?.order ?? noPositions, order.hash)) {
      erasures.set(order.tenant, { ...order, reported: true });
    }
  }
  return erasures;
};
