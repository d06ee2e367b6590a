/**
 * Replies that arrive: whatever was written, no page and no answer is longer than a caller takes, and nothing is left
 * out.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { RecordView, type SigilConnection } from "@sigil/client";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { idOf, put, unhurriedModel, writeOf } from "./canon-writes.ts";
import { Council, modelWith } from "./council.ts";

/** Every item of all pages. */
const walk = async <Item>(
  ask: (pageToken: string) => Promise<{ readonly items: readonly Item[]; readonly next: string }>,
) => {
  const found: Item[] = [];
  for (let pageToken = "", pages = 1; ; pages += 1) {
    const { items, next } = await ask(pageToken);
    found.push(...items);
    if (next === "") return { found, pages };
    pageToken = next;
  }
};

/** 240 kB whose JSON takes six times as much: no reply holds the views of two. */
const wideOf = (id: string) => {
  const payload = Array.from({ length: 60 }, () => Array.from({ length: 4000 }, () => false));
  return writeOf(id, null, { content: { $case: "payloadCbor", value: cborEncode(payload) } });
};

describe("replies about large records", () => {
  let council: Council;
  let operator: SigilConnection;
  let observer: SigilConnection;
  const wide = ["wide/0", "wide/1", "wide/2"];

  before(async () => {
    council = await Council.open({ model: unhurriedModel });
    [operator, observer] = [council.as("operator"), council.as("observer")];
  });
  after(() => council[Symbol.asyncDispose]());

  const list = (asked: Parameters<SigilConnection["canon"]["listRecords"]>[0]) =>
    walk(async (pageToken) => {
      const page = await observer.canon.listRecords({ ...asked, pageSize: 1000, pageToken });
      return { items: page.records, next: page.nextPageToken };
    });

  it("answers a batch it wrote, however long it is as JSON: views past what a reply holds are left empty", async () => {
    const writes = wide.map(wideOf);
    const { results } = await operator.canon.batchWriteRecords({ writes });
    const views = results.map(({ record }) => record?.payloadJson.length ?? 0);
    expect(views[0]).to.be.greaterThan(1_400_000);
    expect(views.slice(1)).to.deep.equal([0, 0]);
    const sent = writes.map(({ content }) => content?.value);
    expect(results.map(({ record }) => record?.payloadCbor)).to.deep.equal(sent);
  });

  it("ends a page of records before their JSON is too long, and shows each one's in full", async () => {
    for (const asked of [{}, { payloadMask: ["x"] }, { view: RecordView.RECORD_VIEW_METADATA }]) {
      const { found } = await list({ filter: { idPrefix: "wide/" }, ...asked });
      expect(found.map(idOf)).to.deep.equal(wide);
      const views = found.map(({ record }) => record?.payloadJson.length ?? 0);
      if (!("payloadMask" in asked || "view" in asked)) expect(Math.min(...views)).to.be.above(1_400_000);
    }
  });

  it("ends a page of a history in the same way", async () => {
    await operator.canon.writeRecord(wideOf("wide/0"));
    const { found } = await walk(async (pageToken) => {
      const page = await observer.canon.listHistory({ id: "wide/0", pageToken });
      return { items: page.records, next: page.nextPageToken };
    });
    expect(found.map(({ version }) => version)).to.deep.equal([2n, 1n]);
  });

  it("ends a page of records before their bytes are too many", async () => {
    const text = "x".repeat(200_000);
    await Promise.all(
      Array.from({ length: 9 }, (_, index) => put(operator, `big/${index}`, { index, text })),
    );
    const { found, pages } = await list({ filter: { idPrefix: "big/" } });
    expect(found).to.have.length(9);
    expect(pages).to.be.greaterThan(2);
  });

  it("ends a page of proposals before their bytes are too many", async () => {
    const targets = Object.fromEntries(
      Array.from({ length: 400 }, (_, index) => [`${"x".repeat(500)}/${index}`, 0.5]),
    );
    const content = modelWith({ targets: { ...defaultModelPayload.targets, ...targets } });
    const ids: string[] = [];
    for (let n = 0; n < 12; n += 1) {
      ids.unshift((await council.propose({ id: "trust_model/active", content })).id);
    }
    const { found, pages } = await walk(async (pageToken) => {
      const page = await observer.canon.listProposals({ pageSize: 1000, pageToken });
      return { items: page.proposals, next: page.nextPageToken };
    });
    expect(found.map(({ id }) => id)).to.deep.equal(ids);
    expect(pages).to.be.greaterThan(2);
  });
});
