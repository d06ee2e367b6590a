/** What was erased, and what the ledger says of it: for `withheldBy`. */
import type { Collection } from "mongodb";
import { countErasures, type Erasures } from "../withheld.ts";
import type { TextDocument } from "./names.ts";

/** @param below an id: what stands there and above is of nobody yet. */
export const erasuresOf = async (versions: Collection<TextDocument>, below: string): Promise<Erasures> => {
  const filter = { _id: { $lt: below }, kind: { $in: ["erasure", "erased"] }, space: "system" };
  const found = await versions.find(filter, { projection: { kind: 1, payload: 1 } }).toArray();
  const payloadsOf = (kind: string): readonly unknown[] =>
    found.filter((document) => document["kind"] === kind).map((document) => document["payload"] as unknown);
  const erased = await versions.countDocuments({ _id: { $lt: below }, erased: true });
  return countErasures({
    erased: BigInt(erased),
    orders: payloadsOf("erasure"),
    reports: payloadsOf("erased"),
  });
};
