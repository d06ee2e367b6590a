/** A watch of the feed while a tenant is erased: what was read of it before is not sent any more. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { formatErasure } from "../../../src/core/record/kinds.ts";
import { Beats } from "../../../src/canon/records/beats.ts";
import { watchFeed } from "../../../src/canon/records/feed-watch.ts";
import { Selection } from "../../../src/canon/records/selection.ts";
import type { WatchSelection } from "../../../src/canon/domain.ts";
import type { Caller } from "../../../src/identity/caller.ts";
import type { ReadBatch } from "../../../src/ledger/feed.ts";
import { createWorld, openWorld, systemBody, userBody } from "../../contract/memory-ledger.ts";

const root: Caller = { principal: "root", tenant: "system", level: "root", credential: "token", peer: "" };

const everything: WatchSelection = {
  tenants: "all",
  spaces: ["user", "system"],
  kinds: "all",
  idPrefix: "",
  linkTarget: null,
  fromMs: undefined,
  untilMs: undefined,
  principals: [],
  verdicts: [],
};

describe("a watch of the feed", () => {
  it("sends the leaf alone of a record whose tenant was erased after it was read", async () => {
    const erased = Promise.withResolvers<void>();
    const observe = { onErased: () => erased.resolve() };
    await using ledger = await openWorld(await createWorld(), { observe });
    const { reader } = ledger;
    const from = reader.size;
    await ledger.append([userBody("gone", 1, { tenant: "doomed" }), userBody("kept")]);
    const { signal } = new AbortController();
    const batches: ReadBatch[] = [];
    for await (const batch of ledger.feed.from(from, { signal })) {
      batches.push(batch);
      if (batch.next >= reader.size) break;
    }
    expect(reader.isErased("doomed")).to.equal(false);
    const order = formatErasure({ tenant: "doomed", reason: "asked" });
    await ledger.append([systemBody("erasure", "erasure/doomed", order)]);
    await erased.promise;
    expect([reader.isErased("doomed"), reader.isErased("acme")]).to.deep.equal([true, false]);

    const feed = {
      async *from() {
        yield* batches;
      },
    };
    const query = { heartbeatMs: 60_000, proof: "none", knownSize: undefined } as const;
    const beats = new Beats(reader, query, { nowMs: () => 0, monotonicMs: () => 0 });
    const sent: unknown[] = [];
    const watched = { selection: new Selection(root, everything), disclosing: "withheld" } as const;
    for await (const event of watchFeed({ ledger: reader, feed }, watched, from, beats, { signal })) {
      if (event.kind === "erased") sent.push(["erased", event.position]);
      if (event.kind === "record") sent.push([event.record.record.body.id, event.record.record.position]);
    }
    expect(sent).to.deep.equal([
      ["erased", from],
      [userBody("kept").id, from + 1n],
    ]);
  });
});
