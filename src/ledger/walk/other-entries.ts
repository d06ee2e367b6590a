/**
 * Fsck of entries that are neither records nor derived from them (idempotency keys, seal counts, keys of unknown
 * families), and of the anchor.
 */
import { equalBytes, readU64be, toHex, type Hash } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import { verifyCheckpoint } from "@sigil/core/merkle";
import { type KeyRing, verifyOwn } from "@sigil/core/keys";
import type { Store } from "../../storage/store.ts";
import type { Anchor } from "../append/anchor.ts";
import { checkpointKeyOf } from "../read/examine.ts";
import type { Findings } from "./findings.ts";
import { blindOf, parseEntry } from "../append/idempotency.ts";
import type { BlindTags } from "../layout/indexes.ts";
import { expiryKey, familyRange, families, idempotencyKey, sealCountKey } from "../layout/keyspace.ts";
import { claimedSize } from "../append/state.ts";
import { unlessDamaged } from "../layout/damaged.ts";
import type { WalkedDecision, WalkedRecord } from "./walk.ts";

export type UpkeepContext = {
  readonly store: Store;
  readonly findings: Findings;
  readonly tags: BlindTags;
};

const idempotencyStep = "idempotency";

/** Checks that every entry is undamaged and has its expiry, and every expiry its entry. */
export const checkIdempotency = async (
  { store, findings, tags }: UpkeepContext,
  isTenant: (tenant: string) => boolean,
): Promise<void> => {
  const wrong = (blind: Uint8Array, rule: string): void =>
    findings.add(null, idempotencyStep, `${rule} (${toHex(blind)})`);
  for await (const [key, value] of store.range(familyRange("k"))) {
    const blind = key.subarray(1);
    const entry = await unlessDamaged(() => parseEntry(tags, blind, value, isTenant));
    if (entry === undefined) wrong(blind, "the entry is damaged");
    else if ((await store.get(expiryKey(entry.expires, blind))) === undefined) {
      wrong(blind, "the entry would never expire");
    }
  }
  for await (const [key] of store.range(familyRange("e"))) {
    const blind = blindOf(key);
    if ((await store.get(idempotencyKey(blind))) === undefined) wrong(blind, "an expiry without its entry");
  }
};

/** Seals seen per tenant and data key version. */
export type SealCounts = Map<string, { readonly tenant: string; readonly version: number; seals: number }>;

export const countSeal = (seals: SealCounts, { body, keyVersion }: WalkedRecord | WalkedDecision): void => {
  const name = `${body.tenant}/${keyVersion}`;
  const counted = seals.get(name);
  if (counted === undefined) seals.set(name, { tenant: body.tenant, version: keyVersion, seals: 1 });
  else counted.seals += 1;
};

/** Checks that no key has made more seals than counted, or it could be used past its bound. */
export const checkSealCounts = async (
  { store, findings }: UpkeepContext,
  counts: SealCounts,
): Promise<void> => {
  for (const { tenant, version, seals } of counts.values()) {
    const bytes = await store.get(sealCountKey(tenant, version));
    const counted = bytes?.length === 8 || bytes?.length === 16 ? readU64be(bytes) : 0n;
    if (counted >= BigInt(seals)) continue;
    const rule = `${seals} seals of tenant "${tenant}" with key version ${version}, ${counted} are counted`;
    findings.add(null, "seal count", rule);
  }
};

/** Reports keys of unknown families. */
export const checkUnknownKeys = async ({ store, findings }: UpkeepContext): Promise<void> => {
  const starts = families.map((family) => familyRange(family));
  const gaps = [
    { gte: Uint8Array.of(0), lt: starts[0]?.gte ?? Uint8Array.of(0xff) },
    ...starts.map(({ lt }, index) => ({ gte: lt, lt: starts[index + 1]?.gte ?? Uint8Array.of(0xff, 0xff) })),
  ];
  for (const gap of gaps) {
    for await (const [key] of store.range(gap)) {
      findings.add(null, "stranger", `a key of no known family (${toHex(key.subarray(0, 16))})`);
    }
  }
  for await (const [key] of store.range(familyRange("x"))) {
    const rule = key.length === 1 ? "a rebuild of the indexes was interrupted" : "a key is malformed";
    findings.add(null, "rebuild", rule);
  }
};

/** The anchor's note, and the ledger's state at its size. */
export type AnchorWatch = {
  readonly note: string | undefined;
  /** The size the note claims. */
  readonly size: bigint;
  /** Root of the group that ends at that size. */
  root: Hash | undefined;
};

export const openAnchorWatch = async (anchor: Anchor): Promise<AnchorWatch> => {
  const note = await anchor.read();
  return { note, size: note === undefined ? 0n : claimedSize(note), root: undefined };
};

type AnchorContext = {
  readonly findings: Findings;
  readonly origin: string;
  readonly ring: KeyRing | undefined;
};

export const checkAnchored = async (
  watch: AnchorWatch,
  size: bigint,
  treeWhole: boolean,
  { findings, origin, ring }: AnchorContext,
): Promise<void> => {
  const wrong = (rule: string): void => findings.add(null, "anchor", rule);
  if (watch.note === undefined) return wrong("the anchor file is missing");
  if (ring === undefined) return;
  try {
    const { publicKey } = checkpointKeyOf(ring, watch.size);
    const anchored = await verifyCheckpoint(watch.note, { origin, publicKey, verify: verifyOwn });
    if (anchored.size > size) wrong(`the ledger has ${size} records, its anchor saw ${anchored.size}`);
    else if (watch.root === undefined && treeWhole)
      wrong(`no group ends at the anchor's size ${anchored.size}`);
    else if (watch.root !== undefined && !equalBytes(watch.root, anchored.root)) {
      wrong(`the tree at size ${anchored.size} is not the one the anchor saw`);
    }
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    wrong("rule" in error.error ? error.error.rule : error.message);
  }
};
