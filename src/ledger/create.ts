/** Writes the first group of a new ledger, the genesis record at position 0 and further records, in one batch. */
import type { Hash } from "@sigil/core/bytes";
import { randomBytes } from "../crypto/random.ts";
import { assert, SigilFault } from "../errors.ts";
import { parseGenesis, type RecordBody } from "@sigil/core/record";
import { ringOfGenesis } from "@sigil/core/keys";
import type { Store } from "../storage/store.ts";
import { prepareCommit } from "./append/commit.ts";
import { DecisionIndex } from "./decisions/decision-index.ts";
import { BlindTags } from "./layout/indexes.ts";
import type { LedgerOptions } from "./ledger.ts";
import { prepareRecord, signRecord } from "./append/prepare.ts";
import { Sealer } from "./sealing/sealer.ts";
import { openSigners } from "./append/signers.ts";
import { emptyState } from "./append/state.ts";
import { Summary } from "./layout/summary.ts";
import { summaryContext } from "./walk/summary-replay.ts";

/**
 * @param bodies the genesis record first; every later one is linked to it here.
 * @returns the hash of the genesis record.
 */
export const createLedger = async (
  bodies: readonly RecordBody[],
  options: LedgerOptions,
  store: Store,
): Promise<Hash> => {
  const { origin, signingKeys } = options;
  const [first, ...others] = bodies;
  assert(first?.kind === "genesis", "a ledger begins with its genesis record");
  const { record: signer, checkpoint: checkpointSigner } = await openSigners(
    signingKeys,
    ringOfGenesis(parseGenesis(first.payload)),
    false,
  );
  const genesis = prepareRecord(first);
  const links = [{ label: "genesis", target: genesis.hash }];
  const prepared = [genesis, ...others.map((body) => prepareRecord({ ...body, links }))];
  const records = await Promise.all(prepared.map((record) => signRecord(record, { signer, origin })));
  const sealer = new Sealer({ origin, keys: options.dataKeys, store: () => store });
  // Creates the system tenant's first data key, from which the summary key is derived.
  await sealer.ready(first.tenant);
  const plan = await prepareCommit(emptyState(), [{ records, extraOps: () => [] }], {
    store,
    sealer,
    tags: new BlindTags(options.indexKey),
    decisions: new DecisionIndex({
      store: () => store,
      keys: () => Promise.reject(new Error("a new ledger has no decisions")),
      onFault: () => {},
    }),
    origin,
    checkpointSigner,
    summary: Summary.empty(await summaryContext(options)),
    expired: async () => [],
    randomBytes,
    readHash: () => Promise.reject(new Error("a new ledger has no earlier versions")),
  });
  const [outcome] = plan.outcomes;
  if (outcome?.kind === "refused") throw new SigilFault(outcome.error);
  await store.commit(plan.ops);
  await options.anchor.write(plan.state.checkpoint);
  return genesis.hash;
};
