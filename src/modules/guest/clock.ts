/**
 * The clocks of a run. If granted: real clocks in milliseconds, too coarse to observe other processes. If not: virtual
 * clocks that advance only by the module's own sleeps, so that a run is reproducible.
 */
export type GuestClock = {
  /** Nanoseconds; `realtime` since 1970, other clocks since about the start of the run. */
  readonly now: (clock: "realtime" | "monotonic") => bigint;
  readonly sleep: (nanoseconds: bigint) => void;
};

export const clockStepNs = 1_000_000n;

/** 2000-01-01T00:00:00Z; not zero, since programs take a zero clock for a broken one. */
const fixedRealtimeNs = 946_684_800n * 1_000_000_000n;
const fixedMonotonicNs = 1_000_000_000n;

export const fixedClock = (): GuestClock => {
  let sleptNs = 0n;
  const wrapNs = 1n << 62n;
  return {
    now: (clock) => (clock === "realtime" ? fixedRealtimeNs : fixedMonotonicNs) + sleptNs,
    sleep: (nanoseconds) => {
      sleptNs = (sleptNs + nanoseconds) % wrapNs;
    },
  };
};

export const realClock = (): GuestClock => {
  const startMs = performance.now();
  const startedMs = Date.now();
  const elapsedMs = (): number => Math.floor(performance.now() - startMs);
  const never = new Int32Array(new SharedArrayBuffer(4));
  const sleepMsMax = 0x7fff_ffff;
  return {
    now: (clock) => BigInt((clock === "realtime" ? startedMs : 1) + elapsedMs()) * clockStepNs,
    // The server's wall time limit ends a sleep that is too long.
    sleep: (nanoseconds) => {
      const wantedMs = Number((nanoseconds + clockStepNs - 1n) / clockStepNs);
      Atomics.wait(never, 0, 0, Math.min(wantedMs, sleepMsMax));
    },
  };
};
