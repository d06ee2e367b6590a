/** The newest number of a caller's decisions, read from the ledger. Source: docs/spec/record.md §6. */
import { readDecision } from "@sigil/core/record";
import { unlessDamaged } from "../layout/damaged.ts";
import type { LedgerReader } from "./reading.ts";

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
      const decision = await unlessDamaged(async () => readDecision(await reader.peekAt(position)));
      if (decision === undefined) unreadable += 1;
      // Another caller's is in the index by damage; a decision older than numbers has none.
      else if (decision.request.caller === caller && decision.callerSeq !== undefined)
        return decision.callerSeq + unreadable;
    }
  }
  return unreadable;
};
