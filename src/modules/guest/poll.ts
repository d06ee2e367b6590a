/** `poll_oneoff`: waits for a time, or for standard input and output, which are always ready. */
import type { GuestClock } from "./clock.ts";
import type { GuestMemory } from "./memory.ts";

type Waiting = {
  readonly memory: GuestMemory;
  readonly clock: GuestClock;
};

const subscriptionBytes = 48;
const eventBytes = 32;
const invalid = 28;
const clockTag = 0;
const isAbsolute = 1;

type Due = {
  readonly userData: bigint;
  readonly tag: number;
  readonly error: number;
  readonly waitNs: bigint;
};

const readSubscription = ({ memory, clock }: Waiting, at: number): Due => {
  const userData = memory.u64(at);
  const tag = memory.u8(at + 8);
  if (tag !== clockTag) {
    const isStandard = tag <= 2 && memory.u32(at + 16) <= 2;
    return { userData, tag, error: isStandard ? 0 : 8, waitNs: 0n };
  }
  const id = memory.u32(at + 16);
  if (id > 3) return { userData, tag, error: invalid, waitNs: 0n };
  const timeoutNs = memory.u64(at + 24);
  const nowNs =
    (memory.u16(at + 40) & isAbsolute) === 0 ? 0n : clock.now(id === 0 ? "realtime" : "monotonic");
  return { userData, tag, error: 0, waitNs: timeoutNs > nowNs ? timeoutNs - nowNs : 0n };
};

/** Waits for the first event, then reports all that are due. @throws OutsideMemory. */
export const poll = (
  waiting: Waiting,
  subscriptions: number,
  events: number,
  count: number,
  countAt: number,
) => {
  const { memory, clock } = waiting;
  if (count === 0) return invalid;
  // Check all memory ranges before waiting.
  memory.slice(subscriptions, count * subscriptionBytes);
  memory.slice(events, count * eventBytes);
  memory.slice(countAt, 4);
  const all = Array.from({ length: count }, (_, index) =>
    readSubscription(waiting, subscriptions + index * subscriptionBytes),
  );
  const firstNs = all.reduce((least, { waitNs }) => (waitNs < least ? waitNs : least), all[0]?.waitNs ?? 0n);
  if (firstNs > 0n) clock.sleep(firstNs);
  const due = all.filter(({ waitNs }) => waitNs <= firstNs);
  for (const [index, { userData, tag, error }] of due.entries()) {
    const event = new DataView(new ArrayBuffer(eventBytes));
    event.setBigUint64(0, userData, true);
    event.setUint16(8, error, true);
    event.setUint8(10, tag);
    // Reports at least one byte ready; the actual amount is known only to the call.
    if (tag !== clockTag && error === 0) event.setBigUint64(16, 1n, true);
    memory.set(events + index * eventBytes, new Uint8Array(event.buffer));
  }
  memory.setU32(countAt, due.length);
  return 0;
};
