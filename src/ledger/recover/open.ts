/**
 * From an opened store to a ledger that may serve: reads and checks its key ring and state, with nothing cached from
 * before. After a store error this runs again, and everything acknowledged must also be present. Source:
 * docs/spec/ledger.md, docs/operating/recovery.md.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { equalBytes } from "@sigil/core/bytes";
import { fail, SigilFault, type SigilError } from "../../errors.ts";
import type { KeyRing } from "@sigil/core/keys";
import { systemTenant } from "@sigil/core/record";
import { damagedFilesRule, type Store } from "../../storage/store.ts";
import { checkVersions } from "../read/completeness.ts";
import { checkpointKeyOf } from "../read/examine.ts";
import type { Erasure } from "../layout/erasure.ts";
import { readErasures } from "../erase/erasure-records.ts";
import { readKeyRecords } from "../read/keyring.ts";
import type { SummaryKey } from "../layout/multiset.ts";
import type { LedgerOptions } from "../append/options.ts";
import { Sealer } from "../sealing/sealer.ts";
import { openSigners, type Signers } from "../append/signers.ts";
import {
  checkWhole,
  loadState,
  rootAt,
  sizeOf,
  type LedgerState,
  type StateContext,
} from "../append/state.ts";
import { Summary } from "../layout/summary.ts";
import { summaryContext } from "../walk/summary-replay.ts";
import { TreeReader } from "../layout/tree.ts";

export type OpenedLedger = {
  readonly store: Store;
  readonly ring: KeyRing;
  readonly signers: Signers;
  readonly state: LedgerState;
  /** By tenant. */
  readonly erasures: ReadonlyMap<string, Erasure>;
  readonly summary: Summary;
  readonly summaryKey: SummaryKey;
};

/** @throws ledgerBehindAnchor, ledgerCorrupt if the store lost or changed acknowledged records. */
const checkNothingLost = async (
  state: LedgerState,
  context: StateContext,
  acknowledged: LedgerState,
): Promise<void> => {
  const size = sizeOf(acknowledged);
  if (sizeOf(state) < size) fail({ kind: "ledgerBehindAnchor", size: sizeOf(state), anchorSize: size });
  if (!equalBytes(await rootAt(state, size, context), acknowledged.root)) {
    fail({ kind: "ledgerCorrupt", position: size, rule: "the tree is not the one that was acknowledged" });
  }
};

/**
 * @param acknowledged the state acknowledged before the store failed.
 * @throws ledgerCorrupt, ledgerBehindAnchor, recordCorrupt, keyUnavailable: it must not serve; storeFailed: it could
 * not be read.
 */
export const openLedger = async (
  options: LedgerOptions,
  store: Store,
  acknowledged?: LedgerState,
): Promise<OpenedLedger> => {
  const { origin, anchor, dataKeys } = options;
  await checkWhole(store, anchor);
  let erasures: ReadonlyMap<string, Erasure> = new Map();
  const erasureOf = (tenant: string): Erasure | undefined => erasures.get(tenant);
  const sealer = new Sealer({ origin, keys: dataKeys, store: () => store, erasureOf });
  const { ring } = await readKeyRecords({ store, sealer, genesis: options.genesis });
  erasures = await readErasures({ store, sealer, ring, origin });
  const reader = new TreeReader(() => store);
  const checkpointKey = (size: bigint) => checkpointKeyOf(ring, size).publicKey;
  const context = { store, reader, anchor, origin, sealer, checkpointKey };
  const state = await loadState(context);
  if (acknowledged !== undefined) await checkNothingLost(state, context, acknowledged);
  const { key } = await summaryContext(options);
  const summary = await Summary.load({ key, origin, store, size: sizeOf(state), root: state.root });
  // Authorization rests on these: principals, models, the registry, erasures and the keys read above.
  await checkVersions({ store, at: {} }, key, systemTenant, summary.tallyOf(systemTenant));
  // Checks that the signing keys match the ring.
  const signers = await openSigners(options.signingKeys, ring, options.mldsa44 === true);
  return { store, ring, signers, state, erasures, summary, summaryKey: key };
};

/** Whether the database reports its own files damaged. */
export const isDamagedFiles = (error: unknown): boolean =>
  error instanceof SigilFault && error.error.kind === "storeFailed" && error.error.rule === damagedFilesRule;

/** Whether the error is a finding about the data, which reopening does not change. */
const isVerdict = ({ error }: SigilFault): boolean =>
  error.kind === "ledgerBehindAnchor" || error.kind === "ledgerCorrupt" || error.kind === "recordCorrupt";

const firstRetryMs = 100;
const lastRetryMs = 5000;

/**
 * Retries opening with backoff until it succeeds or `signal` aborts.
 * @returns the error that needs an operator, or undefined.
 */
export const retryOpening = async (
  reopen: () => Promise<void>,
  signal: AbortSignal,
): Promise<SigilError | undefined> => {
  for (let delayMs = firstRetryMs; ; delayMs = Math.min(2 * delayMs, lastRetryMs)) {
    try {
      await sleep(delayMs, undefined, { signal });
    } catch {
      return undefined;
    }
    try {
      await reopen();
      return undefined;
    } catch (error) {
      if (error instanceof SigilFault && (isVerdict(error) || isDamagedFiles(error))) return error.error;
    }
  }
};
