/** A ledger with something of everything, for the inspection to find damage in. */
import { utf8Encode, type Hash } from "../../../src/core/bytes.ts";
import type { FsckReport } from "../../../src/ledger/fsck/fsck.ts";
import type { Store, StoreOp } from "../../../src/storage/store.ts";
import { appendKeyed } from "../../contract/keyed.ts";
import {
  copyWorld,
  createWorld,
  decisionBody,
  openWorld,
  userBody,
  withStore,
  type World,
} from "../../contract/memory-ledger.ts";

export type Inspected = { readonly world: World; readonly hashes: readonly Hash[] };

/** Genesis, 299 decisions in two groups, then versions of one id and a keyed record. 306 records. */
export const buildInspected = async (): Promise<Inspected> => {
  const world = await createWorld();
  const ledger = await openWorld(world);
  const decisions = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, index) => decisionBody(`d${from + index}`));
  const appended = [
    ...(await ledger.append(decisions(1, 150))),
    ...(await ledger.append(decisions(150, 300))),
  ];
  let prev: Hash | null = null;
  for (const version of [1, 2, 3]) {
    const [next] = await ledger.append([userBody("v", version, { prev })]);
    prev = next?.hash ?? null;
  }
  const scope = { tenant: "acme", caller: "svc", rpc: "Check", key: "k" };
  const keyed = [userBody("keyed"), userBody("t", 1, { tenant: "umbrella" })];
  await appendKeyed(ledger, scope, utf8Encode("body"), keyed);
  await ledger.append([userBody("last")]);
  await ledger.close();
  return { world, hashes: appended.map(({ hash }) => hash) };
};

export const inspectedSize = 306n;

export const put = (key: Uint8Array, value: Uint8Array): readonly StoreOp[] => [{ kind: "put", key, value }];
export const drop = (key: Uint8Array): readonly StoreOp[] => [{ kind: "delete", key }];

/** A copy with something done to its disk. */
export const damageCopy = async (world: World, damage: (store: Store) => Promise<void>): Promise<World> => {
  const copy = await copyWorld(world);
  await withStore(copy, damage);
  return copy;
};

/** Where each problem is and at which step. */
export const summaryOf = ({ problems }: FsckReport) =>
  problems.map(({ position, step }) => [position, step] as const);
