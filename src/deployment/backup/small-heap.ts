/**
 * Heap settings for scans of a whole ledger: by default V8 lets garbage grow to several times the live data, and the
 * young generation to 96 MB. Earlier collection costs a few percent of the time. Process-wide.
 */
import v8 from "node:v8";

/** Collects the old generation after 30 % growth over live data; lets the young generation grow no further. */
const small = ["--heap-growing-percent=30", "--semi-space-growth-factor=1"];
/** V8's defaults. */
const usual = ["--heap-growing-percent=0", "--semi-space-growth-factor=2"];

const apply = (flags: readonly string[]): void => flags.forEach((flag) => v8.setFlagsFromString(flag));

let holders = 0;

/** Applies to the process from now on. */
export const keepHeapSmall = (): void => apply(small);

/** Applies until the last holder is disposed of. */
export const holdHeapSmall = (): Disposable => {
  holders += 1;
  if (holders === 1) apply(small);
  let isHeld = true;
  return {
    [Symbol.dispose]: () => {
      if (!isHeld) return;
      isHeld = false;
      holders -= 1;
      if (holders === 0) apply(usual);
    },
  };
};
