/**
 * Listing records: filters, views, pages that are pinned to one ledger size, and tokens that are their caller's alone.
 */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  RecordView,
  Space,
  type ListHistoryRequest,
  type ListRecordsRequest,
  type RecordFilter,
  type SigilConnection,
} from "@sigil/client";
import {
  end,
  endOf,
  idOf,
  payloadOf,
  put,
  putAll,
  recordIn,
  unhurriedModel,
  writeOf,
} from "./canon-writes.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

type Query = Omit<Partial<ListRecordsRequest>, "filter"> & { readonly filter?: Partial<RecordFilter> };

describe("listing records", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let operator: SigilConnection;
  let observer: SigilConnection;

  before(async () => {
    deployment = await makeDeployment({ model: unhurriedModel });
    served = await deployment.serve();
    operator = served.as("operator");
    observer = served.as("observer");
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  /** The whole walk, page by page. */
  const walk = async (
    query: Query,
    by = observer,
    between: (page: number) => Promise<void> = async () => {},
  ) => {
    const records = [];
    const sizes = new Set<bigint>();
    for (let pageToken = "", page = 1; ; page += 1) {
      const answer = await by.canon.listRecords({ ...query, pageToken });
      records.push(...answer.records);
      sizes.add(answer.ledgerSize);
      if (answer.nextPageToken === "") return { records, sizes, pages: page };
      pageToken = answer.nextPageToken;
      await between(page);
    }
  };
  const idsOf = async (filter: Partial<RecordFilter>, query: Query = {}) =>
    (await walk({ ...query, filter })).records.map(idOf);

  describe("filters", () => {
    const ids = Array.from({ length: 30 }, (_, index) => `f/${String(index).padStart(2, "0")}`);
    const colours = ids.filter((_, index) => index % 3 === 0);

    before(async () => {
      const target = recordIn(await put(operator, "f/target", {}, { kind: "target" })).hash;
      const links = [{ label: "about", target }];
      const writes = ids.map((id, index) =>
        writeOf(
          id,
          { index },
          { kind: index % 3 === 0 ? "colour" : "shape", links: index % 5 === 0 ? links : [] },
        ),
      );
      await putAll(operator, writes.toReversed());
      await end(operator, "f/03");
      await put(operator, "f/06", { replaced: true }, { kind: "colour" });
    });
    const live = (id: string): boolean => id !== "f/03";

    it("lists newest versions in the order of ids, whatever the page size", async () => {
      const expected = [...ids.filter(live), "f/target"];
      for (const pageSize of [0, 1, 7, 30, 1000]) {
        expect(await idsOf({ idPrefix: "f/" }, { pageSize }), `${pageSize} a page`).to.deep.equal(expected);
      }
      const { records } = await walk({ filter: { idPrefix: "f/06" } });
      expect(records.map(({ version }) => version)).to.deep.equal([2n]);
      expect(records.map(payloadOf)).to.deep.equal([{ replaced: true }]);
    });

    it("filters by kind, prefix, link, time and tombstone, alone and together", async () => {
      const f = { idPrefix: "f/" };
      expect(await idsOf({ ...f, kind: "colour" })).to.deep.equal(colours.filter(live));
      expect(await idsOf({ ...f, kind: "colour", includeTombstones: true })).to.deep.equal(colours);
      expect(await idsOf({ ...f, kind: "tombstone", includeTombstones: true })).to.deep.equal([]);
      expect(await idsOf({ idPrefix: "f/1" })).to.deep.equal(ids.slice(10, 20));
      expect(await idsOf({ idPrefix: "f/0", includeTombstones: true })).to.deep.equal(ids.slice(0, 10));
      expect(await idsOf({ idPrefix: "g" })).to.deep.equal([]);
      expect(await idsOf({ kind: "nothing" })).to.deep.equal([]);
      const { record } = await operator.canon.getRecord({ id: "f/target" });
      const linkTarget = recordIn(record ?? { record: undefined }).hash;
      expect(await idsOf({ linkTarget })).to.deep.equal(ids.filter((_, index) => index % 5 === 0));
      expect(await idsOf({ linkTarget, kind: "shape" })).to.deep.equal(["f/05", "f/10", "f/20", "f/25"]);
      const made = recordIn((await operator.canon.getRecord({ id: "f/06" })).record ?? { record: undefined });
      const fromTime = made.time;
      const untilTime = new Date((made.time?.getTime() ?? 0) + 1);
      expect(await idsOf({ ...f, fromTime, untilTime })).to.include("f/06");
      expect(await idsOf({ ...f, fromTime: untilTime })).to.deep.equal([]);
      const before = await idsOf({ ...f, untilTime: fromTime });
      expect(before).to.not.include("f/06");
      const since = await idsOf({ ...f, fromTime });
      expect([...before, ...since].toSorted()).to.deep.equal([...ids.filter(live), "f/target"]);
    });

    it("names the field of a filter that is none", async () => {
      for (const [query, field] of [
        [{ filter: { linkTarget: new Uint8Array(3) } }, "filter.link_target"],
        [{ filter: { idPrefix: "a b" } }, "filter.id_prefix"],
        [{ filter: { space: 9 as Space } }, "filter.space"],
        [{ filter: { tenant: "No" } }, "filter.tenant"],
        [{ view: 9 as RecordView }, "view"],
        [{ pageSize: 1001 }, "page_size"],
        [{ payloadMask: [""] }, "payload_mask[0]"],
        [{ payloadMask: Array.from({ length: 33 }, () => "a") }, "payload_mask"],
      ] as const) {
        const refused = await refusalOf(observer.canon.listRecords(query as Query));
        expect(refused.codeName).to.equal("INVALID_ARGUMENT");
        expect(refused.fieldViolations.map((violation) => violation.field)).to.deep.equal([field]);
      }
    });

    it("streams what it lists", async () => {
      for (const filter of [
        { idPrefix: "f/" },
        { kind: "colour", includeTombstones: true },
        { idPrefix: "f/1" },
      ]) {
        const streamed = [];
        for await (const { record } of observer.canon.streamRecords({ filter })) streamed.push(record);
        expect(streamed).to.deep.equal((await walk({ filter })).records);
      }
    });

    it("lists the system space to an Observer, and nothing of it in the user space", async () => {
      const system = await idsOf({ space: Space.SPACE_SYSTEM });
      expect(system).to.include.members([
        "genesis",
        "quorum",
        "trust_model/active",
        "witness/alice",
        "principal/root",
      ]);
      expect(system).to.deep.equal(system.toSorted());
      expect(await idsOf({ space: Space.SPACE_SYSTEM, kind: "quorum", tenant: "system" })).to.deep.equal([
        "quorum",
      ]);
      expect(
        await codeOf(observer.canon.listRecords({ filter: { space: Space.SPACE_SYSTEM, tenant: "acme" } })),
      ).to.equal("INVALID_ARGUMENT");
      expect(await idsOf({ idPrefix: "trust_model" })).to.deep.equal([]);
      expect(await codeOf(served.as("guest").canon.listRecords({}))).to.equal("PERMISSION_DENIED");
    });
  });

  describe("views", () => {
    before(() => put(operator, "v/one", { owner: { name: "ann", age: 7 }, tags: ["x"], "a.b": 1 }));

    const first = async (query: Query) => {
      const { records } = await observer.canon.listRecords({ ...query, filter: { idPrefix: "v/" } });
      return recordIn(records[0] ?? { record: undefined });
    };

    it("leaves the payload and the envelope out of metadata, and nothing else", async () => {
      const whole = await first({});
      expect(await first({ view: RecordView.RECORD_VIEW_FULL })).to.deep.equal(whole);
      const empty = Buffer.alloc(0);
      const metadata = await first({ view: RecordView.RECORD_VIEW_METADATA });
      expect({ ...metadata, envelope: empty, payloadCbor: empty }).to.deep.equal({
        ...whole,
        envelope: empty,
        payloadCbor: empty,
        payloadJson: "",
      });
      expect(metadata.envelope.length + metadata.payloadCbor.length).to.equal(0);
    });

    it("sends of a masked payload what the mask names, as JSON alone", async () => {
      const masked = await first({ payloadMask: ["owner.name", "tags", "nothing.here"] });
      expect(JSON.parse(masked.payloadJson)).to.deep.equal({ owner: { name: "ann" }, tags: ["x"] });
      expect(masked.envelope.length + masked.payloadCbor.length).to.equal(0);
      expect(JSON.parse((await first({ payloadMask: ["owner", "owner.age"] })).payloadJson)).to.deep.equal({
        owner: { name: "ann", age: 7 },
      });
      expect((await first({ payloadMask: ["nothing"] })).payloadJson).to.equal("{}");
    });
  });

  describe("pinned pages", () => {
    it("sees the ledger as it was at the start, whatever is written between pages", async () => {
      const ids = Array.from({ length: 20 }, (_, index) => `p/${String(index).padStart(2, "0")}`);
      await putAll(
        operator,
        ids.map((id) => writeOf(id, { first: true })),
      );
      const filter = { idPrefix: "p/" };
      const calm = await walk({ filter });
      const { records, sizes, pages } = await walk({ filter, pageSize: 3 }, observer, async (page) => {
        await operator.canon.batchWriteRecords({
          writes: [
            writeOf(`p/${String(page).padStart(2, "0")}x`, { late: true }),
            writeOf(ids[page] ?? "", { replaced: true }),
            endOf(ids[19 - page] ?? ""),
            writeOf(`p/zz${page}`, { late: true }),
          ],
        });
      });
      expect(pages).to.equal(7);
      expect(sizes.size).to.equal(1);
      expect(records).to.deep.equal(calm.records);
      expect((await walk({ filter })).records.map(idOf)).to.not.deep.equal(ids);
    });

    it("sees an export at the size it began at, also when it goes on later", async () => {
      await putAll(
        operator,
        Array.from({ length: 10 }, (_, index) => writeOf(`e/${index}`, { index })),
      );
      const filter = { idPrefix: "e/" };
      const calm = (await walk({ filter })).records;
      const taken = [];
      let ledgerSize = 0n;
      for await (const answer of observer.canon.streamRecords({ filter })) {
        ({ ledgerSize } = answer);
        taken.push(answer.record);
        if (taken.length === 4) break;
      }
      await put(operator, "e/7", { replaced: true });
      await put(operator, "e/8x", {});
      await end(operator, "e/9");
      for await (const answer of observer.canon.streamRecords({ filter, afterId: "e/3", ledgerSize })) {
        expect(answer.ledgerSize).to.equal(ledgerSize);
        taken.push(answer.record);
      }
      expect(taken).to.deep.equal(calm);
      const future = observer.canon.streamRecords({ ledgerSize: served.server.ledger.reader.size + 100n });
      expect(await codeOf(future.next())).to.equal("OUT_OF_RANGE");
    });
  });

  describe("histories", () => {
    before(async () => {
      for (let n = 1; n <= 9; n += 1)
        await (n === 5 ? end(operator, "h/one") : put(operator, "h/one", { n }));
    });
    const versions = async (query: Partial<ListHistoryRequest>) => {
      const found: bigint[] = [];
      for (let pageToken = ""; ;) {
        const page = await observer.canon.listHistory({ id: "h/one", ...query, pageToken });
        found.push(...page.records.map(({ version }) => version));
        if (page.nextPageToken === "") return found;
        pageToken = page.nextPageToken;
        // Not in the walk, which is pinned.
        await put(operator, "h/one", { late: true });
      }
    };

    it("gives every version, newest or oldest first, tombstones too, page by page and pinned", async () => {
      const oldest = Array.from({ length: 9 }, (_, index) => BigInt(index + 1));
      expect(await versions({})).to.deep.equal(oldest.toReversed());
      expect(await versions({ pageSize: 2, oldestFirst: true })).to.deep.equal(oldest);
      const now = await versions({});
      expect(await versions({ pageSize: 2 })).to.deep.equal(now);
      const { records } = await observer.canon.listHistory({ id: "h/one", oldestFirst: true });
      expect(records.slice(0, 9).map(({ tombstone }) => tombstone)).to.deep.equal(
        oldest.map((version) => version === 5n),
      );
    });

    it("finds no history of what was never written", async () => {
      expect(await codeOf(observer.canon.listHistory({ id: "h/nothing" }))).to.equal("NOT_FOUND");
    });

    it("refuses a token of another id, order or view, and one of a listing", async () => {
      await put(operator, "h/two", {});
      await put(operator, "h/two", {});
      const query = { id: "h/one", pageSize: 1 };
      const { nextPageToken: pageToken } = await observer.canon.listHistory(query);
      const listed = await observer.canon.listRecords({ pageSize: 1 });
      const calls = [
        observer.canon.listHistory({ ...query, id: "h/two", pageToken }),
        observer.canon.listHistory({ ...query, oldestFirst: true, pageToken }),
        observer.canon.listHistory({ ...query, view: RecordView.RECORD_VIEW_METADATA, pageToken }),
        observer.canon.listHistory({ ...query, pageToken: listed.nextPageToken }),
        observer.canon.listRecords({ pageSize: 1, pageToken }),
        operator.canon.listHistory({ ...query, pageToken }),
      ];
      expect(await Promise.all(calls.map(codeOf))).to.deep.equal(calls.map(() => "INVALID_ARGUMENT"));
      expect(await codeOf(observer.canon.listHistory({ ...query, pageToken }))).to.equal("OK");
    });
  });

  describe("page tokens", () => {
    const query = { filter: { idPrefix: "t/", kind: "note" }, pageSize: 2 };
    let pageToken: string;
    before(async () => {
      await putAll(
        operator,
        Array.from({ length: 6 }, (_, index) => writeOf(`t/${index}`, { index })),
      );
      ({ nextPageToken: pageToken } = await observer.canon.listRecords(query));
    });

    it("refuses one with any character altered, one cut short and one made longer", async () => {
      const altered: string[] = [
        "!",
        pageToken.slice(0, -1),
        `${pageToken}A`,
        `${pageToken}=`,
        ` ${pageToken}`,
      ];
      for (let index = 0; index < pageToken.length; index += 1) {
        for (const character of "AQgw_b") {
          if (pageToken[index] === character) continue;
          altered.push(pageToken.slice(0, index) + character + pageToken.slice(index + 1));
        }
      }
      const codes = await Promise.all(
        altered.map((token) => codeOf(observer.canon.listRecords({ ...query, pageToken: token }))),
      );
      expect(altered.filter((_, index) => codes[index] !== "INVALID_ARGUMENT")).to.deep.equal([]);
      const refused = await refusalOf(observer.canon.listRecords({ ...query, pageToken: altered[0] ?? "" }));
      expect(refused.fieldViolations.map(({ field }) => field)).to.deep.equal(["page_token"]);
    });

    it("refuses one used by another principal, with another filter, view or mask", async () => {
      const asked = (change: Query, by = observer) =>
        by.canon.listRecords({ ...query, pageToken, ...change });
      const filters: readonly Partial<RecordFilter>[] = [
        { idPrefix: "t" },
        { kind: "" },
        { kind: "other" },
        { linkTarget: new Uint8Array(32) },
        { fromTime: new Date(0) },
        { untilTime: new Date() },
        { includeTombstones: true },
        { space: Space.SPACE_SYSTEM },
      ];
      const calls = [
        asked({}, operator),
        asked({}, served.as("mentor")),
        ...filters.map((change) => asked({ filter: { ...query.filter, ...change } })),
        asked({ view: RecordView.RECORD_VIEW_METADATA }),
        asked({ payloadMask: ["index"] }),
        asked({ filter: { ...query.filter, tenant: "acme" } }, served.as("root")),
      ];
      expect(await Promise.all(calls.map(codeOf))).to.deep.equal(calls.map(() => "INVALID_ARGUMENT"));
    });

    it("takes one again, and with another page size", async () => {
      const next = await observer.canon.listRecords({ ...query, pageToken });
      expect(next.records.map(idOf)).to.deep.equal(["t/2", "t/3"]);
      const rest = await observer.canon.listRecords({ ...query, pageSize: 50, pageToken });
      expect(rest.records.map(idOf)).to.deep.equal(["t/2", "t/3", "t/4", "t/5"]);
      expect(rest.nextPageToken).to.equal("");
    });
  });
});
