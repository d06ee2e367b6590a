/**
 * Positions of a tenant's decisions read from its index without its keys, hence unauthenticated: the caller opens and
 * verifies each record.
 */
import { decisionRowsMax } from "../../limits.ts";
import type { Store } from "../../storage/store.ts";
import { decisionPartPrefix, decisionParts, prefixRange } from "../layout/keyspace.ts";
import { macBytes } from "./authentic.ts";
import { parseRows, parseTail } from "./rows.ts";

/** Ascending, below `end`. @throws ledgerCorrupt. */
export async function* storedPositions(
  tenant: string,
  end: bigint,
  store: Store,
): AsyncGenerator<bigint, void, undefined> {
  let last = -1;
  const { rows, tail } = decisionParts;
  for (const part of [rows, tail]) {
    for await (const [, value] of store.range(prefixRange(decisionPartPrefix(tenant, part)))) {
      const content = value.subarray(macBytes);
      const parsed = part === rows ? parseRows(content) : undefined;
      const positions =
        parsed === undefined
          ? parseTail(content).map(({ position }) => position)
          : Array.from({ length: decisionRowsMax }, (_, index) => parsed.positionAt(index));
      for (const position of positions) {
        // A tail value may overlap the rows.
        if (position <= last) continue;
        if (BigInt(position) >= end) return;
        last = position;
        yield BigInt(position);
      }
    }
  }
}
