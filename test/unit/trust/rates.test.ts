/** Rate windows over a ledger: what counts is what was recorded, and nobody makes anybody else's be forgotten. */
import { expect } from "chai";
import { describe, it } from "mocha";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { RecentDecisions, TakeRecent } from "../../../src/ledger/decisions/recent.ts";
import { rateWindowsMax } from "../../../src/limits.ts";
import type { RecordBody } from "../../../src/core/record/record.ts";
import { ActiveModels } from "../../../src/trust/active-model.ts";
import { defaultModelPayload } from "../../../src/trust/default-model.ts";
import { openRates, type Asked, type Rates } from "../../../src/trust/rates.ts";
import {
  createWorld,
  decisionBody,
  faultOf,
  openWorld,
  systemBody,
  type World,
} from "../../contract/memory-ledger.ts";

const by = (principal: string, tenant = "acme"): Caller => ({
  principal,
  tenant,
  level: "operator",
  credential: "token",
  peer: "",
});
const itself = (caller: Caller): Asked => ({ caller, subject: caller.principal, isEnrolled: true });
const about = (caller: Caller, subject: string, isEnrolled = false): Asked => ({
  caller,
  subject,
  isEnrolled,
});
const from = (peer: string): Asked => ({ caller: { ...anonymous, peer }, subject: "", isEnrolled: true });

/** The record of a decision; made at `ts`. */
const bodyOf = (id: string, { caller, subject }: Asked, ts: number): RecordBody => {
  const made = decisionBody(id, { tenant: caller.tenant });
  const payload = made.payload as CborMap;
  const request = { ...(payload["request"] as CborMap), subject, caller: caller.principal };
  return { ...made, ts, payload: { ...payload, request } };
};

/** A ledger with the default model: 600 checks a minute. */
const createModelled = async (): Promise<World> => {
  const world = await createWorld();
  await using ledger = await openWorld(world);
  await ledger.append([systemBody("trust_model", "trust_model/active", defaultModelPayload)]);
  return world;
};

const open = async (
  ledger: Ledger,
  world: World,
  onPartial?: (tenants: readonly string[]) => void,
): Promise<Rates> =>
  openRates({ ledger, models: await ActiveModels.open(ledger), nowMs: () => world.timeMs, onPartial });

let made = 0;
const idOf = (): string => `decision-${(made += 1)}`;

/** A check as the service makes it. @returns the count that it saw. */
const check = async (ledger: Ledger, world: World, rates: Rates, asked: Asked): Promise<number> => {
  const id = idOf();
  const entered = rates.enter(asked, world.timeMs);
  const body = bodyOf(id, asked, world.timeMs);
  entered.expect(id);
  try {
    await ledger.append([body]);
  } finally {
    entered.leave();
  }
  return entered.count;
};

const recordMany = async (ledger: Ledger, asked: Asked, count: number, ts: number): Promise<void> => {
  for (let left = count; left > 0; left -= 1000) {
    await ledger.append(Array.from({ length: Math.min(1000, left) }, () => bodyOf(idOf(), asked, ts)));
  }
};

const ann = by("ann");
const minuteMs = 60_000;

describe("rate windows over a ledger", () => {
  it("count a check once: while it is under way, and at its record's time from the commit on", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    const first = rates.enter(itself(ann), world.timeMs);
    expect([first.count, rates.count(itself(ann), world.timeMs)]).to.deep.equal([0, 1]);
    const id = idOf();
    first.expect(id);
    const madeMs = world.timeMs;
    let seen = -1;
    ledger.feed.subscribe(() => (seen = rates.count(itself(ann), world.timeMs)));
    world.timeMs += 5_000;
    await ledger.append([bodyOf(id, itself(ann), madeMs)]);
    expect(seen, "between its commit and its answer").to.equal(1);
    first.leave();
    first.leave();
    expect(rates.count(itself(ann), madeMs + minuteMs - 1)).to.equal(1);
    expect(rates.count(itself(ann), madeMs + minuteMs)).to.equal(0);
  });

  it("give a place back when no record came of a check: cancelled, refused, or never asked for", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    for (let times = 0; times < 700; times += 1) {
      const entered = rates.enter(itself(ann), world.timeMs);
      const id = idOf();
      entered.expect(id);
      const body = bodyOf(id, itself(ann), world.timeMs);
      const fault = await faultOf(ledger.append([body], { signal: AbortSignal.abort() }));
      expect(fault?.kind).to.equal("cancelled");
      entered.leave();
    }
    expect(rates.count(itself(ann), world.timeMs)).to.equal(0);
    expect(await check(ledger, world, rates, itself(ann))).to.equal(0);
    expect(rates.count(itself(ann), world.timeMs)).to.equal(1);
  });

  it("let no check pass under a limit beside others: each sees those under way", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    const counts = await Promise.all(
      Array.from({ length: 50 }, () => check(ledger, world, rates, itself(ann))),
    );
    expect(counts).to.deep.equal(Array.from({ length: 50 }, (_, index) => index));
    expect(rates.count(itself(ann), world.timeMs)).to.equal(50);
  });

  it("hold, for each of a name's two windows, what stands in the ledger", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    const asked = [itself(ann), about(by("bob"), "ann", true), about(by("bob", "umbrella"), "ann")] as const;
    for (const [index, each] of asked.entries()) {
      for (let times = 0; times <= index; times += 1) await check(ledger, world, rates, each);
    }
    const countsOf = (counted: Rates) => asked.map((each) => counted.count(each, world.timeMs));
    expect(countsOf(rates)).to.deep.equal([1, 2, 3]);
    expect(countsOf(await open(ledger, world)), "after a start").to.deep.equal([1, 2, 3]);
  });

  it("count a record whose write was said to have failed and was found again", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    const entered = rates.enter(itself(ann), world.timeMs);
    const id = idOf();
    entered.expect(id);
    // Its caller is told "indeterminate" before the ledger finds the record.
    entered.leave();
    expect(rates.count(itself(ann), world.timeMs)).to.equal(0);
    await ledger.append([bodyOf(id, itself(ann), world.timeMs)]);
    await ledger.append([bodyOf(idOf(), about(by("bob"), "ann"), world.timeMs)]);
    expect(rates.count(itself(ann), world.timeMs)).to.equal(1);
    expect(rates.count(about(by("bob"), "ann", true), world.timeMs)).to.equal(1);
  });

  it("of principals and of other tenants outlive any number of made-up names, and of peers", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    const known = [
      itself(ann),
      about(by("bob"), "ann", true),
      about(by("bob", "umbrella"), "visitor"),
      from("192.0.2.1"),
    ];
    const [peer, ...others] = known.toReversed();
    for (const each of others) await check(ledger, world, rates, each);
    for (let index = 0; index < rateWindowsMax + 100; index += 1) {
      rates.enter(about(by("bob"), `made-up-${index}`), world.timeMs).leave();
    }
    if (peer === undefined) throw new Error("there is a peer");
    await check(ledger, world, rates, peer);
    expect(known.map((each) => rates.count(each, world.timeMs))).to.deep.equal([1, 1, 1, 1]);
    for (let index = 0; index < rateWindowsMax + 100; index += 1) {
      rates.enter(from(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`), world.timeMs).leave();
    }
    expect(known.map((each) => rates.count(each, world.timeMs))).to.deep.equal([1, 1, 1, 0]);
  });

  it("take a new model's width and limit from its commit on, whoever they are of", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    const kinds = [
      itself(ann),
      about(by("bob"), "ann", true),
      about(by("bob"), "visitor"),
      from("192.0.2.1"),
    ];
    const counts = () => kinds.map((each) => rates.count(each, world.timeMs));
    for (const each of kinds) {
      for (let times = 0; times < 8; times += 1) await check(ledger, world, rates, each);
    }
    world.timeMs += 1000;
    const limited = async (rate: { readonly window_ms: number; readonly limit: number }) => {
      const before = await ledger.reader.readId("system", "system", "trust_model/active");
      const next = systemBody("trust_model", "trust_model/active", { ...defaultModelPayload, rate });
      await ledger.append([{ ...next, prev: before?.hash ?? null }]);
    };
    await limited({ window_ms: minuteMs, limit: 5 });
    expect(counts(), "a lower limit").to.deep.equal([5, 5, 5, 5]);
    await limited({ window_ms: 1000, limit: 5 });
    expect(counts(), "a narrower window").to.deep.equal([0, 0, 0, 0]);
  });

  it("of a name go along when it is enrolled, and when it is revoked", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    await check(ledger, world, rates, about(by("bob"), "cleo", false));
    expect(await check(ledger, world, rates, about(by("bob"), "cleo", true))).to.equal(1);
    expect(await check(ledger, world, rates, about(by("bob"), "cleo", false))).to.equal(2);
    expect(rates.count(about(by("bob"), "cleo", true), world.timeMs)).to.equal(3);
  });

  it("are filled by a start for their whole length, whatever came after, and with nothing older", async () => {
    const world = await createModelled();
    {
      await using ledger = await openWorld(world);
      const startMs = world.timeMs;
      await recordMany(ledger, itself(ann), 30, startMs);
      await recordMany(ledger, itself(ann), 592, startMs + 1000);
      await recordMany(ledger, about(by("bob"), "visitor"), 4000, startMs + 30_000);
      await recordMany(ledger, itself(by("zoe", "umbrella")), 7, startMs + 40_000);
      world.timeMs = startMs + minuteMs;
    }
    await using ledger = await openWorld(world);
    const rates = await open(ledger, world);
    expect(rates.count(itself(ann), world.timeMs)).to.equal(592);
    expect(rates.count(about(by("bob"), "visitor"), world.timeMs)).to.equal(600);
    expect(rates.count(itself(by("zoe", "umbrella")), world.timeMs)).to.equal(7);
    expect(rates.count(itself(by("zoe")), world.timeMs), "another tenant's").to.equal(0);
    expect(rates.count(itself(by("bob")), world.timeMs)).to.equal(0);
    expect(await check(ledger, world, rates, itself(ann))).to.equal(592);
    expect(rates.count(itself(ann), world.timeMs)).to.equal(593);
    world.timeMs += 1000;
    expect(rates.count(itself(ann), world.timeMs)).to.equal(1);
    world.timeMs += minuteMs;
    expect(rates.count(about(by("bob"), "visitor"), world.timeMs)).to.equal(0);
  });

  it("that hold more than a start reads keep the newest, and their tenants are named", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    const [bob, eve] = [by("bob"), by("eve", "umbrella")];
    await recordMany(ledger, itself(ann), 40, world.timeMs - 2000);
    await recordMany(ledger, itself(bob), 30, world.timeMs - 1000);
    await recordMany(ledger, itself(eve), 5, world.timeMs - 1000);
    const openWith = async (entriesMax: number) => {
      const named: (readonly string[])[] = [];
      const bounded = {
        feed: ledger.feed,
        reader: {
          principalTag: (tenant: string, id: string) => ledger.reader.principalTag(tenant, id),
          recentDecisions: (which: RecentDecisions, take: TakeRecent) =>
            ledger.reader.recentDecisions({ ...which, entriesMax }, take),
        },
      };
      const models = await ActiveModels.open(ledger);
      const nowMs = (): number => world.timeMs;
      const rates = await openRates({
        ledger: bounded,
        models,
        nowMs,
        onPartial: (tenants) => named.push(tenants),
      });
      const counts = [ann, bob, eve].map((caller) => rates.count(itself(caller), world.timeMs));
      return { named, counts };
    };
    expect(await openWith(1_000_000)).to.deep.equal({ named: [], counts: [40, 30, 5] });
    expect(await openWith(60)).to.deep.equal({ named: [["acme"]], counts: [25, 30, 5] });
  });

  it("are filled past decisions that a clock behind dated before the window", async () => {
    const world = await createModelled();
    await using ledger = await openWorld(world);
    await recordMany(ledger, itself(ann), 5, world.timeMs);
    await recordMany(ledger, itself(ann), 1000, world.timeMs - 10 * minuteMs);
    await recordMany(ledger, itself(ann), 2, world.timeMs + 1);
    world.timeMs += 2;
    expect((await open(ledger, world)).count(itself(ann), world.timeMs)).to.equal(7);
  });
});
