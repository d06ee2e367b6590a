/**
 * Derives the key ring from the genesis record's hash alone: each key record is verified with the ring of its
 * predecessors. Pure. Source: docs/spec/keys.md. Used by the opening ledger and by clients that know only the genesis
 * hash.
 */
import { equalBytes, toHex, type Hash } from "../bytes.ts";
import { fail } from "../errors.ts";
import { applyKeyRecord, isKeyRecord, ringOfGenesis } from "../keys/key-records.ts";
import type { KeyRing } from "../keys/ring.ts";
import { parseGenesis } from "../record/kinds.ts";
import {
  inStep,
  openRecord,
  readRecord,
  requireSignature,
  signerOf,
  verifySigned,
  type VerifySignature,
} from "./record.ts";

/** A record as stored in the ledger. */
export type KeyRecord = { readonly position: bigint; readonly envelope: Uint8Array };

/** The result of walking a ledger's key records. */
export type WalkedKeys = { readonly ring: KeyRing; readonly origin: string };

/** The ring and origin from the genesis record, which is signed by the key it names. */
const beginWalk = async (
  genesis: Hash,
  envelope: Uint8Array,
  verify: VerifySignature,
): Promise<WalkedKeys> => {
  const opened = openRecord(0n, envelope);
  if (!equalBytes(opened.hash, genesis)) {
    const rule = `the genesis record is not the expected ${toHex(genesis)}`;
    return fail({ kind: "recordCorrupt", position: 0n, step: "genesis", rule });
  }
  const body = readRecord(opened, {});
  const ring = inStep(0n, "schema", () => ringOfGenesis(parseGenesis(body.payload)));
  await requireSignature(opened, signerOf(opened, ring), verify);
  return { ring, origin: opened.statement.origin };
};

/**
 * @param records genesis first, then every announcement and retirement, in ledger order.
 * @throws recordCorrupt naming the position and the step.
 */
export const walkKeys = async (
  genesis: Hash,
  records: readonly KeyRecord[],
  { verify }: { readonly verify: VerifySignature },
): Promise<WalkedKeys> => {
  const refuse = (position: bigint, step: string, rule: string): never =>
    fail({ kind: "recordCorrupt", position, step, rule });
  const [first, ...later] = records;
  if (first?.position !== 0n) return refuse(0n, "genesis", "the walk begins with the genesis record");
  const begun = await beginWalk(genesis, first.envelope, verify);
  const { origin } = begun;
  let { ring } = begun;
  let last = 0n;
  for (const { position, envelope } of later) {
    if (position <= last) return refuse(position, "sequence", "the records are not in ledger order");
    last = position;
    const before = ring;
    const { body } = await verifySigned(position, envelope, { ring: before, verify, origin });
    if (!isKeyRecord(body)) refuse(position, "schema", `a ${body.kind} record says nothing about keys`);
    ring = inStep(position, "schema", () => applyKeyRecord(before, position, body));
  }
  return { ring, origin };
};
