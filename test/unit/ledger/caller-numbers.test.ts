/**
 * Callers' numbers: every decision of a caller takes the next one, without a gap, whatever is dropped, cancelled,
 * refused or fails before it, and over a reopening.
 */
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import type { CborMap } from "../../../src/core/cbor/cbor.ts";
import { fail } from "../../../src/errors.ts";
import { CallerNumbers } from "../../../src/ledger/append/caller-numbers.ts";
import type { Ledger } from "../../../src/ledger/ledger.ts";
import type { Signer } from "../../../src/crypto/signing/sign.ts";
import {
  createWorld,
  decisionBody,
  faultOf,
  newSigner,
  numberedBody,
  openWorld,
  untilStatus,
  userBody,
} from "../../contract/memory-ledger.ts";
import type { Store } from "../../../src/storage/store.ts";
import { createFaultyStore, type FaultyStore } from "../../contract/faulty-store.ts";
import { readStored, replaceStored } from "../../contract/tamper.ts";

/** Numbers by tenant and caller, in ledger order, of records that were verified as they were read. */
const numbersIn = async (ledger: Ledger): Promise<Record<string, number[]>> => {
  const found: Record<string, number[]> = {};
  for (let position = 1n; position < ledger.reader.size; position += 1n) {
    const { body } = await ledger.reader.readAt(position);
    if (body.kind !== "frozen_chain" || body.schemaVersion === 1) continue;
    const { request, caller_seq: number } = body.payload as CborMap;
    const { caller } = request as { readonly caller: string };
    (found[`${body.tenant} ${caller}`] ??= []).push(Number(number ?? Number.NaN));
  }
  return found;
};

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1);

/** Every caller's numbers are 1, 2, 3 … */
const expectGapless = (found: Record<string, number[]>): void => {
  for (const [name, numbers] of Object.entries(found)) {
    expect(numbers, name).to.deep.equal(upTo(numbers.length));
  }
};

/** A record key that cannot be used while `isGone` says so. */
const failingSigner = (isGone: () => boolean): Signer => {
  const signer = newSigner();
  return {
    ...signer,
    sign: async (bytes) =>
      isGone() ? fail({ kind: "keyUnavailable", rule: "planned" }) : signer.sign(bytes),
  };
};

describe("a caller's numbers", () => {
  it("count its decisions in the order of the ledger, each caller and tenant by itself", async () => {
    await using ledger = await openWorld(await createWorld());
    const appended = await Promise.all(
      Array.from({ length: 60 }, (_, index) => {
        const caller = `caller-${index % 3}`;
        const tenant = index % 2 === 0 ? "acme" : "other";
        const bodies = upTo(1 + (index % 4)).map((each) =>
          numberedBody(`d-${index}-${each}`, { caller, tenant }),
        );
        return ledger.append([...bodies, userBody(`note-${index}`)]);
      }),
    );
    const found = await numbersIn(ledger);
    expect(Object.keys(found)).to.have.lengthOf(6);
    expectGapless(found);
    const given = appended.flat().flatMap(({ callerSeq }) => (callerSeq === undefined ? [] : [callerSeq]));
    expect(given.toSorted((a, b) => a - b)).to.deep.equal(
      Object.values(found)
        .flat()
        .toSorted((a, b) => a - b),
    );
  });

  it("are taken neither by anonymous callers nor by records of before", async () => {
    await using ledger = await openWorld(await createWorld());
    await ledger.append([numberedBody("anonymous", { caller: "" }), decisionBody("before")]);
    const [, own] = await ledger.append([decisionBody("before-too"), numberedBody("own")]);
    expect(own?.callerSeq).to.equal(1);
    const anonymous = await ledger.reader.readAt(1n);
    expect(anonymous.body.payload).to.not.have.property("caller_seq");
  });

  it("go on over a reopening, and above a decision that cannot be read", async () => {
    const world = await createWorld();
    const first = await openWorld(world);
    await first.append(upTo(5).map((each) => numberedBody(`a-${each}`)));
    await first.append([numberedBody("other", { caller: "other" })]);
    await first.close();
    let store: Store | undefined;
    const openStore = async (): Promise<Store> => (store = await world.options.openStore());
    await using second = await openWorld(world, { openStore });
    if (store === undefined) throw new Error("no store was opened");
    const stored = await readStored(store, 5n);
    stored[stored.length - 1] = (stored.at(-1) ?? 0) ^ 1;
    await replaceStored(store, 5n, stored);
    expect((await second.append([numberedBody("b")]))[0]?.callerSeq).to.equal(6);
    expect((await second.append([numberedBody("c", { caller: "other" })]))[0]?.callerSeq).to.equal(2);
  });

  it("have no gap where a unit is refused at its commit, and the units after it were signed before", async () => {
    await using ledger = await openWorld(await createWorld());
    const refuse = (): never => fail({ kind: "notServing", rule: "planned" });
    const units = Array.from({ length: 40 }, (_, index) =>
      faultOf(
        ledger.append(
          [numberedBody(`d-${index}`)],
          index % 5 === 0 ? { extraOps: refuse } : { extraOps: () => [] },
        ),
      ),
    );
    const faults = (await Promise.all(units)).filter((fault) => fault !== undefined);
    expect(faults).to.have.lengthOf(8);
    const found = await numbersIn(ledger);
    expect(found["acme svc"]).to.deep.equal(upTo(32));
  });

  it("have no gap where a unit is cancelled before it is sequenced", async () => {
    await using ledger = await openWorld(await createWorld());
    const units = Array.from({ length: 200 }, (_, index) => {
      const controller = new AbortController();
      if (index % 3 === 0) setImmediate(() => controller.abort());
      return faultOf(ledger.append([numberedBody(`d-${index}`)], { signal: controller.signal }));
    });
    const kept = (await Promise.all(units)).filter((fault) => fault === undefined).length;
    expect(kept).to.be.within(100, 199);
    expect((await numbersIn(ledger))["acme svc"]).to.deep.equal(upTo(kept));
  });

  it("have no gap where a record cannot be signed", async () => {
    let signed = 0;
    const isGone = (): boolean => {
      signed += 1;
      return signed > 3 && signed % 4 === 0;
    };
    const world = await createWorld({ recordSigner: failingSigner(isGone) });
    await using ledger = await openWorld(world);
    const units = Array.from({ length: 60 }, (_, index) =>
      faultOf(ledger.append([numberedBody(`d-${index}`)])),
    );
    const faults = (await Promise.all(units)).filter((fault) => fault !== undefined);
    expect(faults.length).to.be.above(0);
    for (const fault of faults) expect(fault).to.include({ kind: "notServing" });
    expect((await numbersIn(ledger))["acme svc"]).to.deep.equal(upTo(60 - faults.length));
  });

  for (const when of ["before", "after"] as const) {
    it(`have no gap where a batch fails ${when} it is on the disk, and the ledger checks itself`, async () => {
      const world = await createWorld();
      const stores: FaultyStore[] = [];
      const openStore = async (): Promise<Store> => {
        const store = createFaultyStore(await world.options.openStore());
        stores.push(store);
        return store;
      };
      await using ledger = await openWorld(world, { openStore });
      await ledger.append(upTo(3).map((each) => numberedBody(`before-${each}`)));
      stores[0]?.plan({ operation: "commit", nth: 1, when, then: "works" });
      const units = Array.from({ length: 20 }, (_, index) =>
        faultOf(ledger.append([numberedBody(`during-${index}`)])),
      );
      const faults = (await Promise.all(units)).filter((fault) => fault !== undefined);
      expect(faults.length).to.be.above(0);
      await untilStatus(ledger, "serving");
      await ledger.append(upTo(4).map((each) => numberedBody(`after-${each}`)));
      expect(stores).to.have.lengthOf(2);
      expectGapless(await numbersIn(ledger));
    });
  }

  it("have no gap in any order of appends, cancellations and refusals", async () => {
    const step = fc.record({
      caller: fc.constantFrom("a", "b"),
      records: fc.integer({ min: 1, max: 3 }),
      end: fc.constantFrom("kept", "kept", "cancelled", "refused"),
      pause: fc.integer({ min: 0, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        await using ledger = await openWorld(await createWorld());
        const units: Promise<unknown>[] = [];
        for (const [index, { caller, records, end, pause }] of steps.entries()) {
          const controller = new AbortController();
          const bodies = upTo(records).map((each) => numberedBody(`d-${index}-${each}`, { caller }));
          const extraOps = (): [] => (end === "refused" ? fail({ kind: "notServing", rule: "planned" }) : []);
          units.push(faultOf(ledger.append(bodies, { extraOps, signal: controller.signal })));
          if (end === "cancelled") setImmediate(() => controller.abort());
          for (let turn = 0; turn < pause; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        }
        await Promise.all(units);
        expectGapless(await numbersIn(ledger));
      }),
      { numRuns: 40 },
    );
  });
});

describe("counters of callers", () => {
  const body = (caller: string) => numberedBody("d", { caller });

  it("are loaded once for all who ask at once, and guessed in the order of asking", async () => {
    let loads = 0;
    const numbers = new CallerNumbers(async () => {
      loads += 1;
      return 4;
    });
    await Promise.all([numbers.ready([body("a")]), numbers.ready([body("a"), body("a")])]);
    expect(loads).to.equal(1);
    expect(numbers.ready([body("a")])).to.equal(undefined);
    const given = [body("a"), body("a")].map((each) => numbers.number(each).numbered);
    expect(given.map((each) => each?.number)).to.deep.equal([5, 6]);
    numbers.release([given[1]]);
    expect(numbers.number(body("a")).numbered?.number).to.equal(6);
  });

  it("are read again when they were dropped for others, and not while something is ahead", async () => {
    const loaded: string[] = [];
    const numbers = new CallerNumbers(async (_, caller) => {
      loaded.push(caller);
      return 0;
    }, 2);
    await numbers.ready([body("a"), body("b"), body("c")]);
    const ahead = numbers.number(body("a")).numbered;
    numbers.committed([numbers.number(body("b")).numbered]);
    await numbers.ready([body("a"), body("b"), body("c")]);
    expect(loaded).to.deep.equal(["a", "b", "c", "c"]);
    expect(ahead?.number).to.equal(1);
    expect(numbers.number(body("a")).numbered?.number).to.equal(2);
  });

  it("are forgotten with what was being loaded, when the ledger is read again", async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    let loads = 0;
    const numbers = new CallerNumbers(() => {
      loads += 1;
      return loads === 1 ? promise : Promise.resolve(9);
    });
    const ready = numbers.ready([body("a")]);
    numbers.reset();
    resolve(3);
    await ready;
    expect(numbers.number(body("a")).numbered?.number).to.equal(10);
  });
});
