/**
 * An order to erase a tenant and the report that it was done, as records of the system space say them; the digest of
 * positions that ties the two to the records. Pure. Source: docs/spec/ledger.md §7.
 */
import { sha256 } from "@sigil/core/hash";
import { concatBytes, toHex, u64be, type Hash } from "@sigil/core/bytes";
import { fail, type SigilError } from "../../errors.ts";
import { parseErased, parseErasure, systemTenant, type RecordBody } from "@sigil/core/record";

/** An order to erase a tenant, as the ledger holds it. */
export type Erasure = {
  readonly tenant: string;
  readonly position: bigint;
  readonly hash: Hash;
  /** Whether the ledger also holds the record that says what was erased. */
  readonly reported: boolean;
};

/** A record and where it stands. */
export type Placed = { readonly body: RecordBody; readonly hash: Hash; readonly position: bigint };

const isSystem = ({ tenant, space }: RecordBody): boolean => tenant === systemTenant && space === "system";

/** The order in a record, if it is one. */
export const orderIn = ({ body, hash, position }: Placed): Erasure | undefined => {
  if (!isSystem(body) || body.kind !== "erasure") return undefined;
  return { tenant: parseErasure(body.payload).tenant, position, hash, reported: false };
};

/** What a record says was erased, if it does. */
export const reportIn = ({ body }: Pick<Placed, "body">) =>
  isSystem(body) && body.kind === "erased" ? parseErased(body.payload) : undefined;

export const erasedError = ({ tenant, position, hash }: Erasure): SigilError => ({
  kind: "erased",
  tenant,
  erasure: toHex(hash),
  erasurePosition: position,
});

/** A digest over positions in ascending order, one at a time. Source: docs/spec/ledger.md §7. */
export const noPositions: Hash = new Uint8Array(32) as Hash;
export const addPosition = (digest: Hash, position: bigint): Hash =>
  sha256(concatBytes(digest, u64be(position)));

/** @throws erased. */
export const refuseErased = (erasure: Erasure | undefined): void => {
  if (erasure !== undefined) fail(erasedError(erasure));
};
