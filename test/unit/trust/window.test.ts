/** Rate windows: exact counts, bounds, and clocks that misbehave. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { createRateWindows, type RateWindows } from "../../../src/trust/window.ts";

/** A check made and recorded at one moment. */
const made = (windows: RateWindows, name: string, timeMs: number): void =>
  windows.record(name, timeMs, timeMs);

describe("rate windows", () => {
  it("counts nothing for a principal never seen", () => {
    expect(createRateWindows({ windowMs: 1000, limit: 5 }).count("ann", 0)).equal(0);
  });

  it("counts a check until it is exactly one window old", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 5 });
    made(windows, "ann", 100);
    expect(windows.count("ann", 100)).equal(1);
    expect(windows.count("ann", 1099)).equal(1);
    expect(windows.count("ann", 1100)).equal(0);
  });

  it("keeps principals apart", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 5 });
    made(windows, "ann", 1);
    expect(windows.count("bob", 1)).equal(0);
  });

  it("stops counting at the limit and keeps the latest times", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 3 });
    for (let timeMs = 0; timeMs < 50; timeMs += 1) made(windows, "ann", timeMs);
    expect(windows.count("ann", 50)).equal(3);
    expect(windows.count("ann", 1047)).equal(2);
  });

  it("does not change by being asked", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 3 });
    made(windows, "ann", 5000);
    windows.count("ann", 0);
    windows.count("ann", 1e9);
    expect(windows.count("ann", 5999)).equal(1);
  });

  it("agrees with counting a list, whatever the pace", () => {
    const gaps = fc.array(fc.tuple(fc.constantFrom("a", "b"), fc.nat(400)), { maxLength: 80 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 20 }), (events, limit) => {
        const windows = createRateWindows({ windowMs: 1000, limit });
        const seen: (readonly [string, number])[] = [];
        let nowMs = 0;
        for (const [principal, gapMs] of events) {
          nowMs += gapMs;
          const naive = seen.filter(([who, timeMs]) => who === principal && timeMs > nowMs - 1000).length;
          expect(windows.count(principal, nowMs)).equal(Math.min(limit, naive));
          made(windows, principal, nowMs);
          seen.push([principal, nowMs]);
        }
      }),
    );
  });

  it("agrees with counting a list when checks are recorded out of the order of their times", () => {
    const steps = fc.array(fc.tuple(fc.nat(200), fc.nat(900)), { maxLength: 80 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 12 }), (events, limit) => {
        const windows = createRateWindows({ windowMs: 1000, limit });
        const seen: number[] = [];
        let nowMs = 10_000;
        for (const [gapMs, lateMs] of events) {
          nowMs += gapMs;
          windows.record("ann", nowMs - lateMs, nowMs);
          seen.push(nowMs - lateMs);
          for (const atMs of [nowMs, nowMs + 500]) {
            const naive = seen.filter((timeMs) => timeMs > atMs - 1000).length;
            expect(windows.count("ann", atMs)).equal(Math.min(limit, naive));
          }
        }
      }),
    );
  });

  it("keeps the newest times of a full window when an older one comes late", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 3 });
    for (const timeMs of [500, 600, 700]) made(windows, "ann", timeMs);
    windows.record("ann", 100, 700);
    expect(windows.count("ann", 1499)).equal(3);
  });

  it("asks once from where else a name's times are known, and keeps the newest", () => {
    const asked: string[] = [];
    const recall = (name: string) => {
      asked.push(name);
      return name === "ann" ? [100, 200, 300, 400] : undefined;
    };
    const windows = createRateWindows({ windowMs: 1000, limit: 3, recall });
    expect([windows.count("ann", 500), windows.count("ann", 1200)]).deep.equal([3, 2]);
    made(windows, "ann", 1250);
    expect(windows.count("ann", 1250)).equal(3);
    expect(asked).deep.equal(["ann"]);
    expect(windows.count("bob", 500)).equal(0);
    expect(windows.size()).equal(1);
  });

  it("gives the same counts when the same events are replayed", () => {
    const event = fc.tuple(fc.constantFrom("a", "b", "c"), fc.nat(5000));
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const live = createRateWindows({ windowMs: 1000, limit: 8, windowsMax: 2 });
        const replayed = createRateWindows({ windowMs: 1000, limit: 8, windowsMax: 2 });
        for (const [principal, timeMs] of events) {
          live.count(principal, timeMs);
          made(live, principal, timeMs);
        }
        for (const [principal, timeMs] of events) made(replayed, principal, timeMs);
        for (const principal of ["a", "b", "c"]) {
          expect(live.count(principal, 5000)).equal(replayed.count(principal, 5000));
        }
      }),
    );
  });

  it("still counts what lies ahead after the clock steps back, and forgets it one window later", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 10 });
    made(windows, "ann", 3_600_000);
    made(windows, "ann", 3_600_001);
    expect(windows.count("ann", 5000)).equal(2);
    made(windows, "ann", 5000);
    expect(windows.count("ann", 5999)).equal(3);
    expect(windows.count("ann", 6000)).equal(0);
  });

  it("counts a check whose time lies ahead of the clock as one of now", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 5 });
    windows.record("ann", 5000, 100);
    expect(windows.count("ann", 1099)).equal(1);
    expect(windows.count("ann", 1100)).equal(0);
  });

  it("throws when the clock gives no time, so that no answer is made up", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 10 });
    for (const timeMs of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => windows.count("ann", timeMs)).throw("clock");
      expect(() => made(windows, "ann", timeMs)).throw("clock");
    }
  });

  it("lets the least recently active principal leave first", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 5, windowsMax: 2 });
    made(windows, "ann", 1);
    made(windows, "bob", 2);
    made(windows, "ann", 3);
    made(windows, "cat", 4);
    expect(windows.size()).equal(2);
    expect(windows.count("bob", 4)).equal(0);
    expect(windows.count("ann", 4)).equal(2);
  });

  it("bounds the times held by all principals together", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 64, timesMax: 128 });
    for (const principal of ["ann", "bob", "cat"]) {
      for (let timeMs = 0; timeMs < 64; timeMs += 1) made(windows, principal, timeMs);
    }
    expect(windows.count("ann", 64)).equal(0);
    expect(windows.count("bob", 64)).equal(64);
    expect(windows.count("cat", 64)).equal(64);
  });

  it("keeps the latest checks when a new model lowers the limit, and grows again when it is raised", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 40 });
    for (let timeMs = 0; timeMs < 40; timeMs += 1) made(windows, "ann", timeMs);
    windows.reconfigure({ windowMs: 500, limit: 10 });
    expect(windows.count("ann", 40)).equal(10);
    expect(windows.count("ann", 532)).equal(7);
    windows.reconfigure({ windowMs: 500, limit: 20 });
    for (let timeMs = 40; timeMs < 60; timeMs += 1) made(windows, "ann", timeMs);
    expect(windows.count("ann", 60)).equal(20);
  });
});
