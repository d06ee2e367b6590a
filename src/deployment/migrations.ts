/**
 * What every format of the data directory changed against the one before it, as steps that bring a directory there. A
 * step may have been cut off anywhere and is then begun anew, so it says what must be there afterwards and never counts
 * on what was there before. Released migrations are not edited: somebody's directory has yet to go through them.
 * Source: docs/operating/upgrade.md.
 */
import { assert } from "../errors.ts";
import { rebuildIndexes, type FsckProgress } from "../ledger/fsck/fsck.ts";
import type { LedgerOptions } from "../ledger/ledger.ts";

export type StepContext = {
  readonly directory: string;
  /** Opens the store whose lock the migration holds. */
  readonly ledger: LedgerOptions;
  readonly onProgress: (progress: FsckProgress) => void;
};

export type MigrationStep = {
  /** One word, for progress and reports. */
  readonly name: string;
  /** For people: "builds …". */
  readonly about: string;
  /** @throws storeFailed, cancelled: begun anew by the next run. */
  readonly run: (context: StepContext) => Promise<void>;
};

/** From a format to the next one. */
export type Migration = { readonly from: number; readonly steps: readonly MigrationStep[] };

/** Of use whenever indexes were added or changed: they all follow from the records. */
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
];

/** What the last migration of a table leads to. */
export const newestFormat = (table: readonly Migration[]): number => (table.at(-1)?.from ?? 0) + 1;

/** What brings a directory of format `found` to the newest. @throws when the table has a gap. */
export const planMigrations = (
  found: number,
  table: readonly Migration[] = migrations,
): readonly Migration[] => {
  const first = table[0]?.from ?? found;
  table.forEach(({ from }, index) => assert(from === first + index, "the table of migrations has a gap"));
  assert(found >= first, "no migration begins at so old a format");
  return table.filter(({ from }) => from >= found);
};
