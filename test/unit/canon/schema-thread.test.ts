/** A thread for JSON Schemas: what takes too long is given up, tenants take turns, nobody else waits. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseJsonPayload } from "../../../src/canon/records/payload.ts";
import { SchemaThread } from "../../../src/canon/schemas/schema-thread.ts";
import { cborEncode, type CborValue } from "../../../src/core/cbor/cbor.ts";
import { SigilFault } from "../../../src/errors.ts";
import { jsonSchemaWaitingMax } from "../../../src/limits.ts";

describe("a schema thread", () => {
  const asked = (schema: string, payload: CborValue | null = null) => ({
    key: schema,
    schema: cborEncode(parseJsonPayload(schema, "test")),
    onSlowPattern: "allow" as const,
    payload: payload === null ? null : cborEncode(payload),
  });
  /** Backtracking without an end; linear engines refuse it, so only a schema of before there was the rule has it. */
  const endless = asked(String.raw`{"pattern":"^(?=a)(a|a)*$"}`, `${"a".repeat(60)}b`);

  it("gives a request up that takes too long, keeps the event loop free, and serves the next one", async () => {
    using thread = new SchemaThread("test", 500);
    let turns = 0;
    const ticking = setInterval(() => (turns += 1), 5);
    expect(await thread.ask("a", endless)).to.deep.equal({ kind: "tookTooLong" });
    clearInterval(ticking);
    expect(turns).to.be.greaterThan(3);
    using other = new SchemaThread("test");
    expect(await other.ask("a", asked('{"type":"integer"}', 1))).to.deep.equal({ kind: "sound" });
  });

  it("serves tenants in turns, however many requests one of them has", async () => {
    using thread = new SchemaThread("test");
    const order: string[] = [];
    const ask = async (tenant: string): Promise<void> => {
      await thread.ask(tenant, asked('{"type":"integer"}', 1));
      order.push(tenant);
    };
    await Promise.all([..."aaaaaa", "b", "c"].map(ask));
    expect(order.join("")).to.equal("aabcaaaa");
  });

  it("refuses what is more than a tenant may have waiting, and nobody else", async () => {
    using thread = new SchemaThread("test");
    const one = asked('{"type":"integer"}', 1);
    const taken = Array.from({ length: jsonSchemaWaitingMax + 1 }, () => thread.ask("a", one));
    expect(() => thread.ask("a", one)).to.throw("queue");
    expect(await thread.ask("b", one)).to.deep.equal({ kind: "sound" });
    await Promise.all(taken);
    expect(await thread.ask("a", one)).to.deep.equal({ kind: "sound" });
  });

  it("passes over who has left, and tells who waits when it is closed", async () => {
    const thread = new SchemaThread("test");
    const one = asked('{"type":"integer"}', 1);
    const first = thread.ask("a", one);
    const leaver = new AbortController();
    const left = thread.ask("a", one, leaver.signal);
    const last = thread.ask("a", one);
    leaver.abort(new SigilFault({ kind: "cancelled" }));
    const fault: unknown = await left.catch((error: unknown) => error);
    expect(fault).to.have.nested.property("error.kind", "cancelled");
    expect([await first, await last]).to.deep.equal([{ kind: "sound" }, { kind: "sound" }]);
    const waiting = [thread.ask("a", endless), thread.ask("a", one)];
    thread[Symbol.dispose]();
    for (const outcome of await Promise.all(waiting)) expect(outcome.kind).to.equal("failed");
  });

  it("says so when it fails, and serves the next request", async () => {
    using thread = new SchemaThread("test", 60_000);
    const huge = { ...asked("{}"), schema: Uint8Array.of(0xff) };
    expect((await thread.ask("a", huge)).kind).to.equal("failed");
    expect(await thread.ask("a", asked('{"type":"integer"}', 1))).to.deep.equal({ kind: "sound" });
  });
});
