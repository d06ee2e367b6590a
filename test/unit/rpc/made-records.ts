/** Made-up records for the handlers' tests: what the ledger would have verified. */
import type { VersionedRecord } from "../../../src/canon/domain.ts";
import { parseHash } from "../../../src/core/bytes.ts";
import type { CborValue } from "../../../src/core/cbor/cbor.ts";

export const hashOf = (byte: number) => parseHash(new Uint8Array(32).fill(byte));

/** A record whose position is also its version. */
export const recordAt = (
  position: bigint,
  payload: CborValue = { n: Number(position) },
  envelope: Uint8Array = new Uint8Array([1, 2, 3]),
): VersionedRecord => ({
  record: {
    position,
    hash: hashOf(Number(position % 256n)),
    envelope,
    attestations: [new Uint8Array([9])],
    body: {
      kind: "note",
      schemaVersion: 1,
      id: `note/${position}`,
      tenant: "acme",
      ts: 1_700_000_000_123,
      space: "user",
      payload,
      links: [{ label: "decision", target: hashOf(7) }],
      prev: null,
    },
    statement: { signature: new Uint8Array(64) },
    signedBy: { publicKey: new Uint8Array(32) },
    disclosures: {},
  },
  version: position,
  tombstone: false,
});
