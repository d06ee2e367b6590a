/**
 * The key ring, derived from the ledger: the genesis record names the first keys and is known by its hash; every
 * later key is announced by a record that the key before it signed. Walked from position 0 upwards, so each
 * announcement is verified with the ring that its predecessors gave.
 */
import { equalBytes, toHex, type Hash } from "../record/bytes.ts";
import { parseStatement, toBeSigned, coseKeyThumbprint } from "../record/cose.ts";
import { fail } from "../record/errors.ts";
import { parseGenesis, parseSigningKey, type GenesisPayload } from "../record/kinds.ts";
import { decodeBody, decodeEnvelope, hashRecord, type RecordBody } from "../record/record.ts";
import type { Sha256 } from "../record/hash.ts";
import { addKey, emptyRing, findSigner, type KeyRing } from "../keys/ring.ts";
import { verifyOwn } from "../keys/verify.ts";
import type { Store } from "../storage/store.ts";
import { parseHead } from "./indexes.ts";
import { headPrefix, prefixRange, recordKey } from "./keyspace.ts";
import type { Sealer } from "./sealer.ts";

export type RingContext = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly genesis: Hash;
  readonly sha256: Sha256;
};

/** Ids of the records that announce keys begin so, in the system space. */
export const signingKeyPrefix = "signing_key/";

const corrupt = (position: bigint, rule: string): never => fail({ kind: "ledgerCorrupt", position, rule });

const readStatement = async (position: bigint, { store, sealer }: RingContext) => {
  const stored = await store.get(recordKey(position));
  if (stored === undefined) return corrupt(position, "the record is missing");
  const { envelope } = await sealer.open(stored, position);
  return parseStatement(decodeEnvelope(envelope).statement);
};

/** The ring as the genesis record alone gives it. */
export const ringOfGenesis = (payload: GenesisPayload, sha256: Sha256): KeyRing => {
  const { record, checkpoint } = payload.keys;
  const first = addKey(emptyRing, {
    role: "record",
    publicKey: record,
    thumbprint: coseKeyThumbprint(record, sha256),
    validFrom: 0n,
  });
  return addKey(first, {
    role: "checkpoint",
    publicKey: checkpoint,
    thumbprint: coseKeyThumbprint(checkpoint, sha256),
    validFrom: 0n,
  });
};

const verified = async (position: bigint, ring: KeyRing, context: RingContext): Promise<RecordBody> => {
  const statement = await readStatement(position, context);
  const signer = findSigner(ring, "record", statement.kid, position);
  if (signer.kind === "refused") return corrupt(position, signer.rule);
  const message = toBeSigned(statement.protectedBytes, statement.payload);
  if (!(await verifyOwn(signer.entry.publicKey, message, statement.signature))) {
    return corrupt(position, "the signature does not verify");
  }
  return decodeBody(statement.payload);
};

/** @throws ledgerCorrupt when the genesis record is not the expected one or an announcement does not hold. */
export const loadRing = async (context: RingContext): Promise<KeyRing> => {
  const statement = await readStatement(0n, context);
  if (!equalBytes(hashRecord(statement.payload, context.sha256), context.genesis)) {
    return corrupt(0n, `the genesis record is not the expected ${toHex(context.genesis)}`);
  }
  let ring = ringOfGenesis(parseGenesis(decodeBody(statement.payload).payload), context.sha256);
  await verified(0n, ring, context);
  const announced: bigint[] = [];
  const range = prefixRange(headPrefix("system", "system", signingKeyPrefix));
  for await (const [, value] of context.store.range(range)) announced.push(parseHead(value).position);
  announced.sort((a, b) => (a < b ? -1 : 1));
  for (const position of announced) {
    const key = parseSigningKey((await verified(position, ring, context)).payload);
    ring = addKey(ring, {
      role: key.role,
      publicKey: key.publicKey,
      thumbprint: coseKeyThumbprint(key.publicKey, context.sha256),
      validFrom: key.validFrom,
    });
  }
  return ring;
};
