/** The newest number of a caller's decisions, read from the ledger. Source: docs/spec/record.md §6. */
import type { CborMap } from "@sigil/core/cbor";
import type { RecordBody } from "@sigil/core/record";
import { unlessDamaged } from "../layout/damaged.ts";
import type { LedgerReader } from "./reading.ts";

type Chain = CborMap & { readonly request: { readonly caller: string }; readonly caller_seq?: number };

/** The number that a decision took; undefined if it is another caller's, or older than numbers. */
const numberIn = ({ payload }: RecordBody, caller: string): number | undefined => {
  const { request, caller_seq: number } = payload as Chain;
  return request.caller === caller ? number : undefined;
};

/**
 * 0 if the caller has none. A decision that cannot be read counts as one number, as the index lists it. @throws erased,
 * ledgerCorrupt, storeFailed.
 */
export const newestNumber = async (
  reader: Pick<LedgerReader, "size" | "decisions" | "peekAt">,
  tenant: string,
  caller: string,
): Promise<number> => {
  let unreadable = 0;
  const filter = { numberedBy: caller };
  for await (const { positions } of reader.decisions({
    tenant,
    filter,
    order: "newestFirst",
    size: reader.size,
  })) {
    for (const position of positions) {
      const body = await unlessDamaged(() => reader.peekAt(position));
      if (body === undefined) {
        unreadable += 1;
        continue;
      }
      const number = numberIn(body, caller);
      if (number !== undefined) return number + unreadable;
    }
  }
  return unreadable;
};
