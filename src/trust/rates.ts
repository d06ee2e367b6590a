/**
 * The rate windows of the running service: counted as checks are decided, filled at a start from the newest decisions
 * in the ledger, and given the width and limit of each new model. A subject is counted within its tenant.
 */
import { SigilFault } from "../record/errors.ts";
import { startCheckRecordsMax } from "../record/limits.ts";
import { parseFrozenChain } from "../record/kinds.ts";
import type { RecordBody } from "../record/record.ts";
import type { ActiveModels, LoadedModel } from "./active-model.ts";
import { createRateWindows, type RateWindows } from "./window.ts";

export type Rates = {
  /** Earlier checks of the subject inside the active model's window. */
  readonly count: (tenant: string, subject: string, nowMs: number) => number;
  readonly record: (tenant: string, subject: string, nowMs: number) => void;
};

type RateLedger = {
  readonly size: bigint;
  readonly peekAt: (position: bigint) => Promise<RecordBody>;
};

const nameOf = (tenant: string, subject: string): string => `${tenant}\0${subject}`;

/** Without a model nothing is counted; such checks are denied anyway. */
const withoutModel = { windowMs: 1, limit: 1 };

export const openRates = async (
  ledger: RateLedger,
  models: ActiveModels,
  nowMs: () => number,
): Promise<Rates> => {
  let configuredFor = loadedOf(models);
  const windows = createRateWindows(configuredFor?.compiled.rate ?? withoutModel);
  const follow = (): void => {
    const loaded = loadedOf(models);
    if (loaded === configuredFor) return;
    configuredFor = loaded;
    windows.reconfigure(loaded?.compiled.rate ?? withoutModel);
  };
  if (configuredFor !== undefined)
    await refill(ledger, windows, nowMs() - configuredFor.compiled.rate.windowMs);
  return {
    count: (tenant, subject, now) => {
      follow();
      return windows.count(nameOf(tenant, subject), now);
    },
    record: (tenant, subject, now) => {
      follow();
      windows.record(nameOf(tenant, subject), now);
    },
  };
};

const loadedOf = (models: ActiveModels): LoadedModel | undefined =>
  models.state.kind === "loaded" ? models.state.loaded : undefined;

/** A damaged record is refused to whoever asks for it, and must not keep every other one from being served. */
const readSound = async (ledger: RateLedger, position: bigint): Promise<RecordBody | undefined> => {
  try {
    return await ledger.peekAt(position);
  } catch (error) {
    const isStoreTrouble = error instanceof SigilFault && error.error.kind === "storeFailed";
    if (error instanceof SigilFault && !isStoreTrouble) return undefined;
    throw error;
  }
};

/** Records read side by side. */
const readAhead = 64n;

/** The newest decisions still inside the window, at most as many records as a start looks at. */
const refill = async (ledger: RateLedger, windows: RateWindows, fromMs: number): Promise<void> => {
  const seen: { readonly name: string; readonly ts: number }[] = [];
  const wanted = BigInt(startCheckRecordsMax);
  const last = ledger.size > wanted ? ledger.size - wanted : 0n;
  for (let end = ledger.size; end > last; end -= readAhead) {
    const first = end - readAhead > last ? end - readAhead : last;
    const positions = Array.from({ length: Number(end - first) }, (_, step) => end - 1n - BigInt(step));
    const bodies = await Promise.all(positions.map((position) => readSound(ledger, position)));
    for (const body of bodies) {
      if (body?.kind !== "frozen_chain" || body.ts <= fromMs) continue;
      seen.push({ name: nameOf(body.tenant, parseFrozenChain(body.payload).request.subject), ts: body.ts });
    }
    if (bodies.some((body) => body !== undefined && body.ts <= fromMs)) break;
  }
  for (const { name, ts } of seen.reverse()) windows.record(name, ts);
};
