/**
 * Migrations between formats of the data directory, as lists of steps. A step may be interrupted anywhere and is then
 * restarted, so it must be idempotent. Released migrations are not edited: directories may still need them. Source:
 * docs/operating/upgrade.md.
 */
import { assert } from "../errors.ts";
import { rebuildIndexes, type FsckProgress } from "../ledger/fsck/fsck.ts";
import type { LedgerOptions } from "../ledger/ledger.ts";

export type StepContext = {
  readonly directory: string;
  /** Ledger options whose `openStore` returns the store that the migration has locked. */
  readonly ledger: LedgerOptions;
  readonly onProgress: (progress: FsckProgress) => void;
};

export type MigrationStep = {
  /** One word, for progress and reports. */
  readonly name: string;
  /** A description in third person: "builds …". */
  readonly about: string;
  /** @throws storeFailed, cancelled: the next run restarts it. */
  readonly run: (context: StepContext) => Promise<void>;
};

/** A migration from a format to the next one. */
export type Migration = { readonly from: number; readonly steps: readonly MigrationStep[] };

/** For added or changed indexes, which are all derived from the records. */
const buildIndexes = (about: string): MigrationStep => ({
  name: "indexes",
  about,
  run: ({ ledger, onProgress }) => rebuildIndexes(ledger, { onProgress }),
});

/** Without gaps, oldest first. */
export const migrations: readonly Migration[] = [
  {
    from: 1,
    steps: [buildIndexes("builds the indexes anew, with those of versions and of each tenant's records")],
  },
  { from: 2, steps: [buildIndexes("builds the indexes anew, with the one that decisions are listed by")] },
  // Records may be sealed together with what was disclosed of them; older ones stay as they are.
  { from: 3, steps: [] },
  // Decisions may be sealed condensed; older ones stay as they are.
  { from: 4, steps: [] },
];

/** The format after the last migration of a table. */
export const newestFormat = (table: readonly Migration[]): number => (table.at(-1)?.from ?? 0) + 1;

/** The migrations from format `found` to the newest. @throws Error if the table has a gap. */
export const planMigrations = (
  found: number,
  table: readonly Migration[] = migrations,
): readonly Migration[] => {
  const first = table[0]?.from ?? found;
  table.forEach(({ from }, index) => assert(from === first + index, "the table of migrations has a gap"));
  assert(found >= first, "no migration begins at so old a format");
  return table.filter(({ from }) => from >= found);
};
