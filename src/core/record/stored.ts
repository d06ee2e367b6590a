/** A verified record from the ledger, from which services build replies. Pure. */
import type { Hash } from "../bytes.ts";
import type { Disclosures } from "./commitment.ts";
import type { RecordBody } from "./record.ts";

export type StoredRecord = {
  readonly position: bigint;
  readonly hash: Hash;
  readonly envelope: Uint8Array;
  readonly attestations: readonly Uint8Array[];
  readonly body: RecordBody;
  readonly statement: { readonly signature: Uint8Array };
  readonly signedBy: { readonly publicKey: Uint8Array };
  /** What was disclosed of it, checked against its body. */
  readonly disclosures: Disclosures;
};
