/**
 * Keyed calls on a store that fails. Of answers that commit no record none is lost or changes, whichever commit it is.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { utf8Encode } from "../../src/core/bytes.ts";
import { SigilFault } from "../../src/errors.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { createFaultyStore, type Fault, type FaultyStore } from "../contract/faulty-store.ts";
import { appendKeyed, keptAnswer } from "../contract/keyed.ts";
import {
  createWorld,
  faultOf,
  openWorld,
  untilStatus,
  userBody,
  type World,
} from "../contract/memory-ledger.ts";

const keys = ["a", "b", "c", "d"];
const scopeOf = (key: string) => ({ tenant: "acme", caller: "svc", rpc: "BatchCheck", key });

/** Repeats the call until it has an answer, as a caller is told to. @returns what was answered first. */
const persist = async (ledger: Ledger, key: string): Promise<unknown> => {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    try {
      return await appendKeyed(ledger, scopeOf(key), utf8Encode(key), [], () => [key, attempt]);
    } catch (error) {
      if (!(error instanceof SigilFault)) throw error;
      expect(["indeterminate", "notServing"]).to.include(error.error.kind);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return expect.fail("no answer");
};

const openFaulty = async (world: World) => {
  let store: FaultyStore | undefined;
  const ledger = await openWorld(world, {
    openStore: async () => (store = createFaultyStore(await world.options.openStore())),
  });
  return { ledger, store: () => store as FaultyStore };
};

/** @returns false when the run has no such step. */
const runWith = async (fault: Fault): Promise<boolean> => {
  const world = await createWorld();
  const { ledger, store } = await openFaulty(world);
  const failing = store();
  failing.plan(fault);
  const answers = await Promise.all(keys.slice(0, 2).map((key) => persist(ledger, key)));
  for (const key of keys.slice(2)) answers.push(await persist(ledger, key));
  const isTripped = failing.tripped();
  failing.plan(null);
  await untilStatus(ledger, "serving");
  await ledger.append([userBody("after")]);
  await ledger.close();
  await using again = await openWorld(world);
  for (const [index, key] of keys.entries()) {
    expect(await keptAnswer(again, scopeOf(key), utf8Encode(key))).to.deep.equal(answers[index]);
  }
  expect(again.reader.size).to.equal(2n);
  await again.close();
  expect(await runFsck(world.options)).to.include({ ok: true, total: 0 });
  return isTripped;
};

describe("a keyed call", () => {
  it("does not let a key that was looked up before the failure commit after it", async () => {
    const world = await createWorld();
    const { ledger, store } = await openFaulty(world);
    for (const bodies of [[userBody("late")], []]) {
      const late = ledger.once(
        scopeOf("slow"),
        () => utf8Encode("slow"),
        async (append) => {
          store().plan({ operation: "commit", nth: 1, when: "before", then: "fails" });
          await faultOf(ledger.append([userBody("fails")]));
          await untilStatus(ledger, "serving");
          return append(bodies, { outcome: () => 1 });
        },
        async () => expect.fail("the key is free"),
      );
      expect(await faultOf(late)).to.include({ kind: "notServing" });
    }
    await ledger.close();
  });
});

describe("an answer that commits no record", () => {
  for (const when of ["before", "after"] as const) {
    it(`outlives a commit that fails ${when} it was carried out`, async () => {
      let nth = 1;
      while (await runWith({ operation: "commit", nth, when, then: "fails" })) nth += 1;
      // Two share one commit.
      expect(nth - 1).to.be.at.least(3);
    });
  }
});
