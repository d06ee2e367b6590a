/**
 * Heap settings, process-wide. For scans of a whole ledger: by default V8 lets garbage grow to several times the live
 * data, and the young generation to 134 MB. Earlier collection costs a few percent of the time. For a server: one busy
 * caller must not make the process grow by as much as that, most of which V8 never gives back.
 */
import { PerformanceObserver } from "node:perf_hooks";
import v8 from "node:v8";
import { scanYoungBytes, youngGenerationBytes } from "../../limits.ts";

/** Collects the old generation after 30 % growth over live data; lets the young generation grow no further. */
const small = ["--heap-growing-percent=30", "--semi-space-growth-factor=1"];
/** V8's defaults. */
const usual = ["--heap-growing-percent=0", "--semi-space-growth-factor=2"];
/** A server's: garbage up to the size of the live data, since calls that wait are promoted before they end. */
const bounded = ["--heap-growing-percent=100", "--semi-space-growth-factor=2"];
/** A server's once its young generation may grow no further. */
const grown = ["--heap-growing-percent=100", "--semi-space-growth-factor=1"];

const apply = (flags: readonly string[]): void => flags.forEach((flag) => v8.setFlagsFromString(flag));

let holders = 0;
/** When nobody holds the heap small. */
let serving: readonly string[] = usual;

const settle = (): void => apply(holders > 0 ? small : serving);

const youngBytes = (): number =>
  v8.getHeapSpaceStatistics().find(({ space_name: name }) => name === "new_space")?.space_size ?? 0;

/** A scan's until its young generation is large enough that what is read for one batch dies in it. */
const scanning = ["--heap-growing-percent=30", "--semi-space-growth-factor=2"];

/**
 * Applies to the process from now on. Small, but the young generation may grow to `scanYoungBytes`, one step after a
 * collection: if it is any smaller, a third of a scan's time goes into collections.
 */
export const keepHeapSmall = (): void => {
  apply(small);
  const observer = new PerformanceObserver(() => {
    const isLarge = youngBytes() >= scanYoungBytes;
    apply(isLarge ? small : scanning);
    if (isLarge) observer.disconnect();
  });
  observer.observe({ entryTypes: ["gc"] });
};

/** Applies until the last holder is disposed of. */
export const holdHeapSmall = (): Disposable => {
  holders += 1;
  if (holders === 1) settle();
  let isHeld = true;
  return {
    [Symbol.dispose]: () => {
      if (!isHeld) return;
      isHeld = false;
      holders -= 1;
      if (holders === 0) settle();
    },
  };
};

/**
 * Bounds garbage by the live data, and the young generation by `youngGenerationBytes`, until disposed of. V8 reads its
 * own limit of the young generation at process start alone, so its size is looked at after collections, the only
 * moments at which it changes.
 */
export const boundServerHeap = (): Disposable => {
  const set = (next: readonly string[]): void => {
    if (next === serving) return;
    serving = next;
    settle();
  };
  const look = (): void => set(youngBytes() >= youngGenerationBytes ? grown : bounded);
  const observer = new PerformanceObserver(look);
  observer.observe({ entryTypes: ["gc"] });
  look();
  return {
    [Symbol.dispose]: () => {
      observer.disconnect();
      set(usual);
    },
  };
};
