/** The place where proposed code is inspected: who has it, who is next, who is turned away. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilFault, type SigilError } from "../../../src/errors.ts";
import { moduleInspectionsMax, moduleInspectionsPerTenantMax } from "../../../src/limits.ts";
import { TenantQueue } from "../../../src/modules/sandbox/tenant-queue.ts";

const kindOf = (cause: unknown): string =>
  cause instanceof SigilFault ? cause.error.kind : `no fault of ours: ${String(cause)}`;

/** Everybody who asks, and an end to what the place is used for. */
class Asking {
  readonly turns = new TenantQueue("queue");
  readonly order: string[] = [];
  readonly #ends = new Map<string, () => void>();

  ask(name: string, tenant: string, signal = new AbortController().signal): Promise<string> {
    const work = (): Promise<string> => {
      this.order.push(name);
      return new Promise((resolve) => this.#ends.set(name, () => resolve("done")));
    };
    return this.turns.inTurn(tenant, signal, work).catch(kindOf);
  }

  end(name: string): void {
    this.#ends.get(name)?.();
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("turns", () => {
  it("give the place to one at a time, tenant by tenant, to a tenant's own in the order they came", async () => {
    const asking = new Asking();
    const all = ["a1", "a2", "a3", "b1", "b2", "c1"].map((name) => asking.ask(name, name.slice(0, 1)));
    const expected = ["a1", "a2", "b1", "c1", "a3", "b2"];
    for (const [index, name] of expected.entries()) {
      await settled();
      expect(asking.order).to.deep.equal(expected.slice(0, index + 1));
      asking.end(name);
    }
    expect(await Promise.all(all)).to.deep.equal(all.map(() => "done"));
  });

  it("are lost by who is cancelled while it waits, which counts no longer and holds nobody up", async () => {
    const asking = new Asking();
    const abort = new AbortController();
    const first = asking.ask("first", "a");
    const cancelled = Array.from({ length: moduleInspectionsPerTenantMax - 1 }, (_, index) =>
      asking.ask(`cancelled ${index}`, "a", abort.signal),
    );
    expect(await asking.ask("one too many", "a")).to.equal("queueFull");
    abort.abort();
    expect(await Promise.all(cancelled)).to.deep.equal(cancelled.map(() => "cancelled"));
    expect(await asking.ask("too late", "a", abort.signal)).to.equal("cancelled");
    const next = asking.ask("next", "a");
    await settled();
    asking.end("first");
    await settled();
    asking.end("next");
    expect(await Promise.all([first, next])).to.deep.equal(["done", "done"]);
    expect(asking.order).to.deep.equal(["first", "next"]);
  });

  it("are passed on by who fails, and say deadline to whom a deadline took from the queue", async () => {
    const { turns } = new Asking();
    const { signal } = new AbortController();
    const failing = turns.inTurn("a", signal, () => Promise.reject(new Error("a disk"))).catch(String);
    const late = AbortSignal.abort(new SigilFault({ kind: "deadlineExceeded", deadlineMs: 1 }));
    expect(await turns.inTurn("b", late, () => Promise.resolve("")).catch(kindOf)).to.equal(
      "deadlineExceeded",
    );
    expect(await turns.inTurn("b", signal, () => Promise.resolve("served"))).to.equal("served");
    expect(await failing).to.equal("Error: a disk");
  });

  it("are bounded in all, and everybody who waits is told when nobody will be served", async () => {
    const asking = new Asking();
    const first = asking.ask("first", "t0");
    const waiting = Array.from({ length: moduleInspectionsMax - 1 }, (_, index) =>
      asking.ask(`w${index}`, `t${index + 1}`),
    );
    const full = await asking.turns
      .inTurn("another", new AbortController().signal, () => Promise.resolve())
      .then(
        () => undefined,
        (cause: SigilFault): SigilError => cause.error,
      );
    expect(full).to.include({ kind: "queueFull", what: "the queue", limit: moduleInspectionsMax });
    asking.turns.refuseAll(new SigilFault({ kind: "notServing", rule: "closed" }));
    expect(new Set(await Promise.all(waiting))).to.deep.equal(new Set(["notServing"]));
    asking.end("first");
    expect(await first).to.equal("done");
    // Whoever has left counts no longer.
    const { signal } = new AbortController();
    for (let count = 0; count < moduleInspectionsMax; count += 1) {
      expect(await asking.turns.inTurn("t0", signal, () => Promise.resolve(count))).to.equal(count);
    }
  });
});
