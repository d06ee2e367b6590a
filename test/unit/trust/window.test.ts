/** Rate windows: exact counts, bounds, and clocks that misbehave. */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { createRateWindows } from "../../../src/trust/window.ts";

describe("rate windows", () => {
  it("counts nothing for a principal never seen", () => {
    expect(createRateWindows({ windowMs: 1000, limit: 5 }).count("ann", 0)).equal(0);
  });

  it("counts a check until it is exactly one window old", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 5 });
    windows.record("ann", 100);
    expect(windows.count("ann", 100)).equal(1);
    expect(windows.count("ann", 1099)).equal(1);
    expect(windows.count("ann", 1100)).equal(0);
  });

  it("keeps principals apart", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 5 });
    windows.record("ann", 1);
    expect(windows.count("bob", 1)).equal(0);
  });

  it("stops counting at the limit and keeps the latest times", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 3 });
    for (let timeMs = 0; timeMs < 50; timeMs += 1) windows.record("ann", timeMs);
    expect(windows.count("ann", 50)).equal(3);
    expect(windows.count("ann", 1047)).equal(2);
  });

  it("does not change by being asked", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 3 });
    windows.record("ann", 5000);
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
          windows.record(principal, nowMs);
          seen.push([principal, nowMs]);
        }
      }),
    );
  });

  it("gives the same counts when the same events are replayed", () => {
    const event = fc.tuple(fc.constantFrom("a", "b", "c"), fc.nat(5000));
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const live = createRateWindows({ windowMs: 1000, limit: 8, principalsMax: 2 });
        const replayed = createRateWindows({ windowMs: 1000, limit: 8, principalsMax: 2 });
        for (const [principal, timeMs] of events) {
          live.count(principal, timeMs);
          live.record(principal, timeMs);
        }
        for (const [principal, timeMs] of events) replayed.record(principal, timeMs);
        for (const principal of ["a", "b", "c"]) {
          expect(live.count(principal, 5000)).equal(replayed.count(principal, 5000));
        }
      }),
    );
  });

  it("still counts what lies ahead after the clock steps back, and forgets it one window later", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 10 });
    windows.record("ann", 3_600_000);
    windows.record("ann", 3_600_001);
    expect(windows.count("ann", 5000)).equal(2);
    windows.record("ann", 5000);
    expect(windows.count("ann", 5999)).equal(3);
    expect(windows.count("ann", 6000)).equal(0);
  });

  it("throws when the clock gives no time, so that no answer is made up", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 10 });
    for (const timeMs of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => windows.count("ann", timeMs)).throw("clock");
      expect(() => windows.record("ann", timeMs)).throw("clock");
    }
  });

  it("lets the least recently active principal leave first", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 5, principalsMax: 2 });
    windows.record("ann", 1);
    windows.record("bob", 2);
    windows.record("ann", 3);
    windows.record("cat", 4);
    expect(windows.principalCount()).equal(2);
    expect(windows.count("bob", 4)).equal(0);
    expect(windows.count("ann", 4)).equal(2);
  });

  it("bounds the times held by all principals together", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 64, eventsMax: 128 });
    for (const principal of ["ann", "bob", "cat"]) {
      for (let timeMs = 0; timeMs < 64; timeMs += 1) windows.record(principal, timeMs);
    }
    expect(windows.count("ann", 64)).equal(0);
    expect(windows.count("bob", 64)).equal(64);
    expect(windows.count("cat", 64)).equal(64);
  });

  it("keeps the latest checks when a new model lowers the limit, and grows again when it is raised", () => {
    const windows = createRateWindows({ windowMs: 1000, limit: 40 });
    for (let timeMs = 0; timeMs < 40; timeMs += 1) windows.record("ann", timeMs);
    windows.reconfigure({ windowMs: 500, limit: 10 });
    expect(windows.count("ann", 40)).equal(10);
    expect(windows.count("ann", 532)).equal(7);
    windows.reconfigure({ windowMs: 500, limit: 20 });
    for (let timeMs = 40; timeMs < 60; timeMs += 1) windows.record("ann", timeMs);
    expect(windows.count("ann", 60)).equal(20);
  });
});
