/**
 * A store that fails at every step of a run in turn, before and after the step was carried out: nothing that was
 * acknowledged is lost, nothing that was indeterminate happens twice, and the ledger comes back by itself or, when the
 * store lost something, not at all.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { toHex, utf8Encode, type Hash } from "../../src/core/bytes.ts";
import { fail, SigilFault } from "../../src/errors.ts";
import { runFsck } from "../../src/ledger/fsck/fsck.ts";
import { groupKey, positionOf, recordKey } from "../../src/ledger/layout/keyspace.ts";
import type { CommittedRecord, Ledger, LedgerStatus } from "../../src/ledger/ledger.ts";
import type { Store } from "../../src/storage/store.ts";
import { createFaultyStore, type Fault, type FaultyStore } from "../contract/faulty-store.ts";
import { firstPosition } from "../contract/keyed.ts";
import {
  createWorld,
  decisionBody,
  faultOf,
  newSigner,
  openWorld,
  untilStatus,
  userBody,
  type World,
} from "../contract/memory-ledger.ts";

type Acknowledged = { readonly position: bigint; readonly hash: Hash };

/** A ledger whose store fails as planned until it is reopened. */
const openFaulty = async (world: World) => {
  const statuses: LedgerStatus["kind"][] = [];
  const published: CommittedRecord[] = [];
  let store: FaultyStore | undefined;
  const ledger = await openWorld(world, {
    openStore: async () => (store = createFaultyStore(await world.options.openStore())),
    observe: { onStatus: ({ kind }) => statuses.push(kind) },
  });
  ledger.feed.subscribe((records) => published.push(...records));
  return { ledger, statuses, published, store: () => store as FaultyStore };
};

/** One keyed call as a service makes it. */
const keyed = async (ledger: Ledger, key: string): Promise<Acknowledged> => {
  const scope = { tenant: "acme", caller: "svc", rpc: "Check", key };
  return ledger.once(
    scope,
    () => utf8Encode(key),
    async (append): Promise<Acknowledged> => {
      const [appended] = await append([decisionBody(`d-${key}`)], { outcome: firstPosition });
      return appended ?? expect.fail("no position");
    },
    async (outcome) => {
      const { position, hash } = await ledger.reader.readAt(BigInt(outcome as number));
      return { position, hash };
    },
  );
};

/** Repeats a keyed call until it has an answer, as a caller is told to. */
const persist = async (ledger: Ledger, key: string): Promise<Acknowledged> => {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const answer = await keyed(ledger, key).catch((error: unknown) => {
      if (error instanceof SigilFault) return error.error;
      throw error;
    });
    if (!("kind" in answer)) return answer;
    expect(["indeterminate", "notServing", "storeFailed"]).to.include(answer.kind);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return expect.fail("no answer");
};

const expectKept = async (ledger: Ledger, acknowledged: ReadonlyMap<string, Acknowledged>): Promise<void> => {
  for (const [key, { position, hash }] of acknowledged) {
    const record = await ledger.reader.readAt(position);
    expect(record.body.id).to.equal(`d-${key}`);
    expect(toHex(record.hash)).to.equal(toHex(hash));
  }
};

/** What each run does: keyed calls two at a time, each read back, listed, and the listing read. */
const run = async (ledger: Ledger, keys: readonly string[]) => {
  const acknowledged = new Map<string, Acknowledged>();
  for (let from = 0; from < keys.length; from += 2) {
    const pair = keys.slice(from, from + 2);
    await Promise.all(pair.map(async (key) => acknowledged.set(key, await persist(ledger, key))));
    const read = (async () => {
      const head = await ledger.reader.decisionAt("acme", `d-${pair[0]}`);
      const walk = {
        tenant: "acme",
        filter: {},
        order: "newestFirst",
        size: ledger.reader.size,
      } as const;
      for await (const _ of ledger.reader.heads("acme", "user", "")) break;
      for await (const { positions } of ledger.reader.decisions(walk)) {
        for (const position of positions.slice(0, 10)) await ledger.reader.readAt(position);
      }
      return head;
    })();
    const fault = await faultOf(read);
    expect([undefined, "storeFailed"]).to.include(fault?.kind);
  }
  return acknowledged;
};

/** One run with one fault. @returns false when the run has no such step. */
const runWith = async (fault: Fault): Promise<boolean> => {
  const world = await createWorld();
  const { ledger, statuses, published, store } = await openFaulty(world);
  const faulty = store();
  const early = await keyed(ledger, "early");
  faulty.plan(fault);
  const keys = ["k0", "k1", "k2", "k3", "k4", "k5"];
  const acknowledged = (await run(ledger, keys)).set("early", early);
  const tripped = faulty.tripped();
  faulty.plan(null);
  await untilStatus(ledger, "serving");
  await expectKept(ledger, acknowledged);
  // Exactly once: genesis, the early one, one record a key; and the listeners saw each once, in order.
  expect(ledger.reader.size).to.equal(BigInt(2 + keys.length));
  expect(published.map(({ position }) => position)).to.deep.equal(
    Array.from({ length: 1 + keys.length }, (_, index) => BigInt(index + 1)),
  );
  expect(statuses).to.deep.equal(tripped ? ["recovering", "serving"] : []);
  await ledger.close();
  await using again = await openWorld(world);
  await expectKept(again, acknowledged);
  await again.close();
  expect(await runFsck(world.options)).to.include({ ok: true, total: 0 });
  return tripped;
};

const wave = 12;

describe("a store that fails", () => {
  for (const operation of ["get", "range", "commit"] as const) {
    for (const when of ["before", "after"] as const) {
      it(`at each ${operation} of a whole run, ${when} carrying it out, loses and repeats nothing`, async () => {
        let steps = 0;
        // Most of a run with a fault is waiting for the next attempt to reopen: many run beside each other.
        for (let more = true; more; steps += wave) {
          const nths = Array.from({ length: wave }, (_, index) => steps + 1 + index);
          const tripped = await Promise.all(
            nths.map((nth) => runWith({ operation, nth, when, then: "fails" })),
          );
          expect(steps > 0 || (tripped[0] && tripped[1])).to.equal(true);
          more = tripped.every(Boolean);
        }
      });
    }
  }

  it("answers the waiters of a kept write as indeterminate, and finds it again by its key", async () => {
    const world = await createWorld();
    const { ledger, store } = await openFaulty(world);
    store().plan({ operation: "commit", nth: 1, when: "after", then: "fails" });
    expect(await faultOf(keyed(ledger, "k"))).to.include({ kind: "indeterminate" });
    expect(ledger.status.kind).to.equal("recovering");
    expect(await faultOf(keyed(ledger, "k"))).to.include({ kind: "notServing" });
    expect(await faultOf(ledger.append([userBody("x")]))).to.include({ kind: "notServing" });
    await untilStatus(ledger, "serving");
    expect((await keyed(ledger, "k")).position).to.equal(1n);
    expect(ledger.reader.size).to.equal(2n);
    await ledger.close();
  });

  it("serves all the load that comes while it fails again and again, losing and repeating nothing", async () => {
    const world = await createWorld();
    const { ledger, store } = await openFaulty(world);
    const acknowledged = new Map<string, Acknowledged>();
    let failures = 0;
    const breaking = setInterval(() => {
      if (ledger.status.kind !== "serving") return;
      failures += 1;
      store().plan({
        operation: "commit",
        nth: 1,
        when: failures % 2 === 0 ? "after" : "before",
        then: "fails",
      });
    }, 10);
    await Promise.all(
      Array.from({ length: 8 }, async (_, caller) => {
        for (let call = 0; call < 25; call += 1) {
          const key = `c${caller}-${call}`;
          acknowledged.set(key, await persist(ledger, key));
        }
      }),
    );
    clearInterval(breaking);
    expect(failures).to.be.greaterThan(1);
    store().plan(null);
    await untilStatus(ledger, "serving");
    await expectKept(ledger, acknowledged);
    expect(ledger.reader.size).to.equal(201n);
    await ledger.close();
    expect(await runFsck(world.options)).to.include({ ok: true, size: 201n });
  });

  it("goes on trying while the store cannot be opened", async () => {
    const world = await createWorld();
    let broken = false;
    let attempts = 0;
    let store: FaultyStore | undefined;
    await using ledger = await openWorld(world, {
      openStore: async () => {
        attempts += 1;
        if (broken && attempts < 4) fail({ kind: "storeFailed", step: "open", rule: "planned fault" });
        store = createFaultyStore(await world.options.openStore());
        return store;
      },
    });
    broken = true;
    store?.plan({ operation: "commit", nth: 1, when: "before", then: "fails" });
    await faultOf(ledger.append([userBody("a")]));
    await untilStatus(ledger, "serving");
    expect(attempts).to.equal(4);
    expect((await ledger.append([userBody("a")]))[0]?.position).to.equal(1n);
    await ledger.close();
  });

  it("and is closed meanwhile stays closed, and releases its store", async () => {
    const world = await createWorld();
    const { ledger, statuses, store } = await openFaulty(world);
    store().plan({ operation: "commit", nth: 1, when: "before", then: "fails" });
    await faultOf(ledger.append([userBody("a")]));
    await ledger.close();
    expect(statuses.at(-1)).to.equal("closed");
    await using again = await openWorld(world);
    expect(again.reader.size).to.equal(1n);
  });
});

describe("a store that loses", () => {
  /** Forgets the newest group when it is opened again, as a disk does that acknowledged what it did not keep. */
  const forgetting = (world: World, keep: bigint) => {
    let opened = 0;
    let current: FaultyStore | undefined;
    return {
      plan: (fault: Fault) => current?.plan(fault),
      openStore: async (): Promise<Store> => {
        const store = await world.options.openStore();
        opened += 1;
        if (opened > 1) {
          world.backing.entries = world.backing.entries.filter(
            ([key]) => key.length !== 9 || ![0x72, 0x62].includes(key[0] ?? 0) || positionOf(key) < keep,
          );
        }
        current = createFaultyStore(store);
        return current;
      },
    };
  };

  it("an acknowledged write is refused, with the sizes, and stays refused", async () => {
    const world = await createWorld();
    const disk = forgetting(world, 2n);
    await using ledger = await openWorld(world, { openStore: disk.openStore });
    await ledger.append([userBody("kept")]);
    await ledger.append([userBody("lost")]);
    disk.plan({ operation: "commit", nth: 1, when: "before", then: "fails" });
    expect(await faultOf(ledger.append([userBody("c")]))).to.include({ kind: "indeterminate" });
    await untilStatus(ledger, "refused");
    expect(ledger.status).to.deep.equal({
      kind: "refused",
      error: { kind: "ledgerBehindAnchor", size: 2n, anchorSize: 3n },
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(ledger.status.kind).to.equal("refused");
    expect(await faultOf(ledger.append([userBody("d")]))).to.include({ kind: "notServing" });
    await ledger.close();
  });

  it("and keeps another history in its place is refused", async () => {
    const world = await createWorld();
    const { dataKeys, indexKey, recordSigner, checkpointSigner, origin } = world.options;
    // The same deployment, restored from before "kept" and written to again.
    const fork = await createWorld({ dataKeys, indexKey, recordSigner, checkpointSigner, origin });
    fork.backing.entries = [...world.backing.entries];
    const options = { ...fork.options, genesis: world.options.genesis };
    await fork.anchor.write((await world.anchor.read()) ?? "");
    const other = await openWorld({ ...fork, options });
    await other.append([userBody("other-a"), userBody("other-b")]);
    await other.close();

    let current: FaultyStore | undefined;
    await using ledger = await openWorld(world, {
      openStore: async () => (current = createFaultyStore(await world.options.openStore())),
    });
    await ledger.append([userBody("kept")]);
    world.backing.entries = [...fork.backing.entries];
    // A version of an id looks at the indexes first and finds them changed; a decision looks at nothing.
    expect(await faultOf(ledger.append([userBody("c")]))).to.include({ kind: "ledgerCorrupt" });
    current?.plan({ operation: "commit", nth: 1, when: "before", then: "fails" });
    await faultOf(ledger.append([decisionBody("c")]));
    await untilStatus(ledger, "refused");
    await ledger.close();
  });
});

describe("beside the store", () => {
  it("an anchor that cannot be written stops the ledger until it can", async () => {
    let broken = false;
    let written: string | undefined;
    const anchor = {
      read: async () => written,
      write: async (note: string) => {
        if (broken) fail({ kind: "storeFailed", step: "write anchor", rule: "planned fault" });
        written = note;
      },
    };
    const world = await createWorld({ anchor });
    await using ledger = await openWorld(world);
    broken = true;
    // The first thousand may be committed without it; the next commit must wait for it, and it fails.
    await ledger.append(Array.from({ length: 400 }, (_, index) => userBody(`a${index}`)));
    const fault = await faultOf(
      ledger.append(Array.from({ length: 700 }, (_, index) => userBody(`b${index}`))),
    );
    expect(fault).to.include({ kind: "notServing" });
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(ledger.status.kind).to.equal("recovering");
    broken = false;
    await untilStatus(ledger, "serving");
    expect(ledger.reader.size).to.equal(401n);
    expect((await ledger.append([userBody("c")]))[0]?.position).to.equal(401n);
    await ledger.close();
    expect(written).to.equal(ledger.reader.checkpoint.note);
  });

  it("an anchor that fails while a commit is under way costs that commit nothing, and shows it once", async () => {
    let anchorFails = false;
    let held: Promise<void> = Promise.resolve();
    let written = "";
    const anchor = {
      read: async () => written,
      write: async (note: string) => {
        // Long enough for the next commit to have begun.
        if (anchorFails) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          anchorFails = false;
          fail({ kind: "storeFailed", step: "write anchor", rule: "planned fault" });
        }
        written = note;
      },
    };
    const world = await createWorld({ anchor });
    await using ledger = await openWorld(world, {
      openStore: async () => {
        const store = await world.options.openStore();
        const commit = async (batch: Parameters<Store["commit"]>[0]): Promise<void> => {
          await store.commit(batch);
          await held;
        };
        return { ...createFaultyStore(store), commit };
      },
    });
    const published: bigint[] = [];
    ledger.feed.subscribe((records) => {
      published.push(...records.map(({ position }) => position));
      // Past half of its bound the anchor is written beside the next commit, which takes its time.
      if (published.length === 600) {
        anchorFails = true;
        held = new Promise((resolve) => setTimeout(resolve, 300));
      }
    });
    const many = ledger.append(Array.from({ length: 600 }, (_, index) => userBody(`a${index}`)));
    const underWay = ledger.append([userBody("under-way")]);
    await many;
    expect((await underWay)[0]?.position).to.equal(601n);
    expect(ledger.status.kind).to.equal("recovering");
    await untilStatus(ledger, "serving");
    expect(published).to.deep.equal(Array.from({ length: 601 }, (_, index) => BigInt(index + 1)));
    await ledger.close();
  });

  it("a signer that fails refuses its group and harms nothing", async () => {
    const real = newSigner();
    let broken = false;
    const recordSigner = {
      ...real,
      sign: (message: Uint8Array) =>
        broken ? fail({ kind: "keyUnavailable", rule: "planned fault" }) : real.sign(message),
    };
    const world = await createWorld({ recordSigner });
    await using ledger = await openWorld(world);
    broken = true;
    expect(await faultOf(ledger.append([userBody("a")]))).to.include({ kind: "notServing" });
    broken = false;
    expect((await ledger.append([userBody("a")]))[0]?.position).to.equal(1n);
    expect(ledger.status.kind).to.equal("serving");
  });

  it("a checkpoint that cannot be signed acknowledges nothing, and the ledger comes back", async () => {
    const real = newSigner();
    let broken = false;
    const checkpointSigner = {
      ...real,
      sign: (message: Uint8Array) =>
        broken ? fail({ kind: "keyUnavailable", rule: "planned fault" }) : real.sign(message),
    };
    const world = await createWorld({ checkpointSigner });
    await using ledger = await openWorld(world);
    broken = true;
    expect(await faultOf(ledger.append([userBody("a")]))).to.include({ kind: "notServing" });
    broken = false;
    await untilStatus(ledger, "serving");
    expect((await ledger.append([userBody("a")]))[0]?.position).to.equal(1n);
    await ledger.close();
    expect(await runFsck(world.options)).to.include({ ok: true, size: 2n });
  });

  it("a commit is one batch: without any one of its records the ledger is refused", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    await ledger.append([userBody("a"), userBody("b")]);
    await ledger.close();
    const entries = world.backing.entries;
    for (const lost of [recordKey(1n), recordKey(2n), groupKey(1n)]) {
      world.backing.entries = entries.filter(([key]) => Buffer.compare(key, lost) !== 0);
      const fault = await faultOf(openWorld(world));
      expect(["ledgerCorrupt", "ledgerBehindAnchor"]).to.include(fault?.kind);
    }
  });
});
