/**
 * Records of the system space that order a tenant's erasure and report its completion, and the digest of positions that
 * ties both to the erased records. Pure. Source: docs/spec/ledger.md §7.
 */
import { sha256 } from "@sigil/core/hash";
import { concatBytes, toHex, u64be, type Hash } from "@sigil/core/bytes";
import { fail, type SigilError } from "../../errors.ts";
import { parseErased, parseErasure, systemTenant, type RecordBody } from "@sigil/core/record";

/** An order to erase a tenant. */
export type Erasure = {
  readonly tenant: string;
  readonly position: bigint;
  readonly hash: Hash;
  /** Whether the ledger also holds the report. */
  readonly reported: boolean;
};

/** A record with its hash and position. */
export type Placed = { readonly body: RecordBody; readonly hash: Hash; readonly position: bigint };

const isSystem = ({ tenant, space }: RecordBody): boolean => tenant === systemTenant && space === "system";

/** Parses an erasure order; undefined if the record is none. */
export const orderIn = ({ body, hash, position }: Placed): Erasure | undefined => {
  if (!isSystem(body) || body.kind !== "erasure") return undefined;
  return { tenant: parseErasure(body.payload).tenant, position, hash, reported: false };
};

/** Parses an erasure report; undefined if the record is none. */
export const reportIn = ({ body }: Pick<Placed, "body">) =>
  isSystem(body) && body.kind === "erased" ? parseErased(body.payload) : undefined;

export const erasedError = ({ tenant, position, hash }: Erasure): SigilError => ({
  kind: "erased",
  tenant,
  erasure: toHex(hash),
  erasurePosition: position,
});

/** Initial value of an incremental digest over ascending positions. Source: docs/spec/ledger.md §7. */
export const noPositions: Hash = new Uint8Array(32) as Hash;
export const addPosition = (digest: Hash, position: bigint): Hash =>
  sha256(concatBytes(digest, u64be(position)));

/** @throws erased. */
export const refuseErased = (erasure: Erasure | undefined): void => {
  if (erasure !== undefined) fail(erasedError(erasure));
};
