/**
 * An inspection beside serving, without a network: who may ask, one at a time, heard by several calls, ended when
 * nobody listens.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { mock } from "node:test";
import v8 from "node:v8";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { headKey } from "../../../src/ledger/layout/keyspace.ts";
import { Ledger } from "../../../src/ledger/ledger.ts";
import { liveWorkMsMax } from "../../../src/limits.ts";
import type { Caller } from "../../../src/identity/caller.ts";
import {
  createInspectionService,
  restBetween,
  type InspectionPart,
  type InspectionService,
} from "../../../src/deployment/backup/inspection.ts";
import type { Store } from "../../../src/storage/store.ts";
import { copyWorld, decisionBody, faultOf, type World } from "../../contract/memory-ledger.ts";
import { readStored, replaceStored } from "../../contract/tamper.ts";
import { buildInspected, inspectedSize, put } from "../ledger/inspected-world.ts";

const root: Caller = { principal: "root", tenant: "system", level: "root", credential: "token", peer: "" };
const never = new AbortController().signal;

type Served = AsyncDisposable & {
  readonly ledger: Ledger;
  readonly store: Store;
  readonly inspections: InspectionService;
  /** Lets an inspection go on that stands before its first group. */
  readonly release: () => void;
};

type ServeOptions = { readonly holds?: boolean; readonly unheardMsMax?: number };

const serve = async (world: World, { holds = false, unheardMsMax }: ServeOptions = {}): Promise<Served> => {
  const { options } = await copyWorld(world);
  let store: Store | undefined;
  const ledger = await Ledger.open({
    ...options,
    openStore: async () => (store = await options.openStore()),
  });
  const gate = Promise.withResolvers<void>();
  if (!holds) gate.resolve();
  const inspections = createInspectionService({
    ledger,
    rules: () => ({ inspectGroup: () => gate.promise.then(() => []), inspectEnd: async () => [] }),
    newId: randomUUID,
    monotonicMs: () => performance.now(),
    onEnd: () => {},
    ...(unheardMsMax === undefined ? {} : { unheardMsMax }),
  });
  if (store === undefined) throw new Error("no store was opened");
  const release = (): void => gate.resolve();
  const close = async (): Promise<void> => {
    release();
    await inspections[Symbol.asyncDispose]();
    await ledger.close();
  };
  return { ledger, store, inspections, release, [Symbol.asyncDispose]: close };
};

const heard = async (parts: AsyncIterable<InspectionPart>): Promise<readonly InspectionPart[]> => {
  const all: InspectionPart[] = [];
  for await (const part of parts) if (part.kind !== "progress") all.push(part);
  return all;
};

/** Calls, hears the head, and leaves when told. */
const begin = async (inspections: InspectionService, signal = never) => {
  const parts = inspections.inspect(root, "", signal)[Symbol.asyncIterator]();
  const { value } = await parts.next();
  if (value?.kind !== "head") throw new Error("the head comes first");
  return { id: value.head.id, next: () => parts.next(), leave: () => parts.return?.() };
};

describe("an inspection beside serving", () => {
  let whole: World;
  before(async () => {
    whole = (await buildInspected()).world;
  });

  it("finds nothing in a sound ledger, at the size it had, while it is written to", async () => {
    await using served = await serve(whole, { holds: true });
    const { ledger, inspections, release } = served;
    const parts = heard(inspections.inspect(root, "", never));
    const before = ledger.reader.checkpoint.note;
    await ledger.append([decisionBody("meanwhile")]);
    release();
    const [first, ...more] = await parts;
    if (first?.kind !== "head") return expect.fail("the head comes first");
    expect(first.head.size - inspectedSize, "before or after the write").to.be.oneOf([0n, 1n]);
    if (first.head.size === inspectedSize) expect(first.head.checkpoint).to.equal(before);
    expect(more).to.deep.equal([{ kind: "end", found: 0, size: first.head.size }]);
  });

  it("keeps the heap small while it reads, and is done with it at the end", async () => {
    const flags = mock.method(v8, "setFlagsFromString", () => {});
    using _ = { [Symbol.dispose]: () => flags.mock.restore() };
    const growth = (): readonly (string | undefined)[] =>
      flags.mock.calls.map((call) => call.arguments[0]).filter((flag) => flag?.includes("growth"));
    await using served = await serve(whole, { holds: true });
    const parts = heard(served.inspections.inspect(root, "", never));
    await pause(1);
    served.release();
    await parts;
    expect(growth()).to.deep.equal(["--semi-space-growth-factor=1", "--semi-space-growth-factor=2"]);
  });

  it("finds a flipped byte and an index entry that was set back under a running ledger", async () => {
    await using served = await serve(whole);
    const { store, inspections, ledger } = served;
    const stored = await readStored(store, 123n);
    stored[40] = (stored[40] ?? 0) ^ 1;
    await replaceStored(store, 123n, stored);
    const older = (await store.get(headKey("acme", "user", "v")))?.slice() ?? new Uint8Array(0);
    older.set([0, 0, 0, 0, 0, 0, 1, 45, 0, 0, 0, 0, 0, 0, 0, 2]);
    await store.commit(put(headKey("acme", "user", "v"), older));
    const found = (await heard(inspections.inspect(root, "", never))).flatMap((part) =>
      part.kind === "finding" ? [[part.problem.position, part.problem.step]] : [],
    );
    expect(found).to.deep.equal([
      [123n, "seal"],
      [302n, "id index"],
    ]);
    expect(ledger.status).to.deep.equal({ kind: "serving" });
  });

  it("is Root's of tenant system alone", async () => {
    await using served = await serve(whole);
    for (const caller of [
      { ...root, tenant: "acme" },
      { ...root, level: "mentor" as const },
    ]) {
      expect(await faultOf(heard(served.inspections.inspect(caller, "", never)))).to.include({
        kind: "tenantForbidden",
      });
    }
  });

  it("is one at a time, and is gone on hearing by its id", async () => {
    await using served = await serve(whole, { holds: true });
    const { inspections, release } = served;
    const first = await begin(inspections);
    const second = heard(inspections.inspect(root, "", never));
    expect(await faultOf(second)).to.include({ kind: "overQuota", reason: "INSPECTIONS" });
    const again = heard(inspections.inspect(root, first.id, never));
    await first.leave();
    release();
    const [head, end] = await again;
    expect(head).to.have.nested.property("head.id", first.id);
    expect(end).to.include({ kind: "end", found: 0 });
    expect(await faultOf(heard(inspections.inspect(root, first.id, never)))).to.include({ kind: "notFound" });
  });

  it("keeps its report for whoever calls again, and gives way when nobody does", async () => {
    await using served = await serve(whole);
    const { inspections } = served;
    const first = await begin(inspections);
    await first.leave();
    expect(await heard(inspections.inspect(root, first.id, never))).to.have.length(2);
    const second = await begin(inspections);
    await second.leave();
    const third = await begin(inspections);
    expect(third.id).to.not.equal(second.id);
    expect(await faultOf(heard(inspections.inspect(root, second.id, never)))).to.include({
      kind: "notFound",
    });
    await third.leave();
  });

  it("ends when nobody listens, lets go of its moment, and leaves the ledger serving", async () => {
    await using served = await serve(whole, { holds: true, unheardMsMax: 0 });
    const { inspections, ledger, release } = served;
    const cancel = new AbortController();
    const { id, next } = await begin(inspections, cancel.signal);
    cancel.abort();
    expect(await faultOf(next())).to.deep.equal({ kind: "cancelled" });
    await pause(20);
    release();
    expect(await faultOf(heard(inspections.inspect(root, id, never)))).to.include({ kind: "notFound" });
    await ledger.append([decisionBody("afterwards")]);
    expect(ledger.status).to.deep.equal({ kind: "serving" });
    expect((await heard(inspections.inspect(root, "", never))).at(-1)).to.include({ found: 0 });
  });

  it("rests as long as it worked, and works no longer than a check may wait", async () => {
    let nowMs = 0;
    const cancel = new AbortController();
    const proceed = restBetween(() => nowMs, cancel.signal);
    nowMs = liveWorkMsMax - 1;
    expect(proceed()).to.equal(undefined);
    nowMs = liveWorkMsMax;
    const rest = proceed();
    expect(rest).to.be.a("promise");
    const began = performance.now();
    await rest;
    expect(performance.now() - began).to.be.at.least(liveWorkMsMax - 1);
    expect(proceed()).to.equal(undefined);
    cancel.abort();
    expect(await faultOf(Promise.resolve().then(proceed))).to.deep.equal({ kind: "cancelled" });
  });
});
