/** The ledger alone: many concurrent appenders in a separate process, without gRPC. */
import { actorInput, answerParent } from "./actor.ts";
import { bodiesLike, openScratch, sampleBody, type Scratch } from "./scratch.ts";

export type LedgerDrive = {
  readonly waiters: number;
  /** Stops after this time, or after this many records. */
  readonly runMs?: number;
  readonly records?: number;
};

export type LedgerDriven = { readonly records: number; readonly elapsedMs: number };

const scratch = actorInput<Scratch>();
const ledger = await openScratch(scratch);
const nextBody = bodiesLike(await sampleBody(scratch, ledger));

const drive = async ({ waiters, runMs, records }: LedgerDrive): Promise<LedgerDriven> => {
  const startMs = performance.now();
  let asked = 0;
  const goesOn = (): boolean =>
    (runMs === undefined || performance.now() - startMs < runMs) &&
    (records === undefined || asked < records);
  const worker = async (): Promise<void> => {
    while (goesOn()) {
      asked += 1;
      await ledger.append([nextBody()]);
    }
  };
  await Promise.all(Array.from({ length: waiters }, worker));
  return { records: asked, elapsedMs: performance.now() - startMs };
};

answerParent({ drive }, () => ledger.close());
