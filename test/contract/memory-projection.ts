/** A projection in memory: places in the order in which they were stored. */
import { noProgress, type Place, type Progress } from "../../src/projections/consumer.ts";
import type { ProjectionStore } from "../../src/projections/store.ts";

export type MemoryStore = ProjectionStore & { readonly places: Place[]; progress: Progress };

/** @param wait before anything is stored. */
export const createMemoryStore = (
  wait: (places: readonly Place[]) => Promise<void> = async () => {},
): MemoryStore => {
  const store: MemoryStore = {
    places: [],
    progress: noProgress,
    resume: async () => ({
      progress: store.progress,
      keyRecords: store.places.flatMap(({ position, record }) =>
        record === undefined || !isAboutKeys(record.body.kind)
          ? []
          : [{ position, envelope: record.envelope }],
      ),
      checkpoint: undefined,
    }),
    apply: async ({ places, progress }) => {
      await wait(places);
      store.places.push(...places);
      store.progress = progress;
      return [];
    },
    publish: async () => {},
  };
  return store;
};

const isAboutKeys = (kind: string): boolean =>
  kind === "genesis" || kind.startsWith("signing_key") || kind === "key_retirement";
