/** Watching records over a socket: each once and in order, wherever the watch is cut, however slowly it is read. */
import { randomBytes, randomInt } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import {
  createTokenSigner,
  RecordView,
  SigilError,
  Space,
  type SigilConnection,
  type WatchRequest,
  type WatchResponse,
} from "@sigil/client";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { verifyCheckpoint } from "../../src/core/merkle/checkpoint.ts";
import { parsePublicKey } from "../../src/core/bytes.ts";
import { end, idOf, payloadOf, put, putAll, recordIn, unhurriedModel, writeOf } from "./canon-writes.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

type Watching = AsyncGenerator<WatchResponse, void, undefined>;

/** The next message. @throws Error when the watch ends, and whatever it ends with. */
const nextOf = async (watching: Watching): Promise<WatchResponse> => {
  const { value } = await watching.next();
  if (value === undefined) throw new Error("the watch ended");
  return value;
};

/** The record of a message; undefined for a heartbeat. */
const recordOf = ({ event }: WatchResponse) => (event?.$case === "record" ? event.value : undefined);

/** The next records, past any heartbeats, and where the watch goes on. */
const take = async (watching: Watching, count: number) => {
  const records = [];
  let next = 0n;
  while (records.length < count) {
    const message = await nextOf(watching);
    next = message.nextPosition;
    const record = recordOf(message);
    if (record !== undefined) records.push(record);
  }
  return { records, next };
};

const heartbeatOf = ({ event }: WatchResponse) => {
  if (event?.$case !== "heartbeat") throw new Error("the message is no heartbeat");
  return event.value;
};

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** What the process holds on its heap and in buffers. */
const heldBytes = async (): Promise<number> => {
  // What the first pass finalises, the second frees.
  for (let pass = 0; pass < 3; pass += 1) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

/** The same, once it grows no more: what is sent to nobody's avail takes a while. */
const settledBytes = async (): Promise<number> => {
  for (let held = await heldBytes(); ;) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const now = await heldBytes();
    if (now < held + (1 << 20)) return now;
    held = now;
  }
};

describe("watching records", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let operator: SigilConnection;
  let observer: SigilConnection;
  let aheadMs: number;
  const nowMs = (): number => Date.now() + aheadMs;

  beforeEach(async () => {
    aheadMs = 0;
    deployment = await makeDeployment({ model: unhurriedModel, otherTenants: ["beta"] });
    served = await deployment.serve({ overrides: { clock: { nowMs } } });
    const signer = (principal: "operator" | "observer") =>
      createTokenSigner({ principal, origin, privateKey: deployment.privateKeys[principal], nowMs });
    operator = served.as("guest", { signer: signer("operator") });
    observer = served.as("observer");
  });
  afterEach(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  /** A watch that has begun: its first heartbeat is read. */
  const begin = async (request: Parameters<typeof observer.canon.watch>[0] = {}, by = observer) => {
    const watching = by.canon.watch(request);
    const first = await nextOf(watching);
    return { watching, first };
  };

  describe("where it begins", () => {
    it("begins with a heartbeat at the end of the ledger, and gives what is committed from then on", async () => {
      await put(operator, "w/before", {});
      const { watching, first } = await begin();
      expect(first.nextPosition).to.equal(served.server.ledger.reader.size);
      const written = await put(operator, "w/one", { n: 1 });
      const { records, next } = await take(watching, 1);
      expect(records).to.deep.equal([{ record: written.record, version: 1n, tombstone: false }]);
      expect(next).to.equal(written.ledgerPosition + 1n);
      await watching.return();
    });

    it("gives what was committed since any position, and refuses one that is still to come", async () => {
      const positions = await putAll(
        operator,
        Array.from({ length: 9 }, (_, index) => writeOf(`w/${index}`, { index })),
      );
      for (const [index, fromPosition] of [0n, ...positions].entries()) {
        const { watching } = await begin({ fromPosition });
        const expected = positions.filter((position) => position >= fromPosition);
        const { records } = await take(watching, expected.length);
        expect(
          records.map((record) => recordIn(record).position),
          `watch ${index}`,
        ).to.deep.equal(expected);
        await watching.return();
      }
      const { size } = served.server.ledger.reader;
      await (await begin({ fromPosition: size })).watching.return();
      for (const fromPosition of [size + 1n, 2n ** 64n - 1n]) {
        expect(await codeOf(observer.canon.watch({ fromPosition }).next())).to.equal("OUT_OF_RANGE");
      }
    });

    it("takes an Observer, a heartbeat of 300 seconds at most, and the caller's own tenant", async () => {
      const denied = await refusalOf(served.as("guest").canon.watch({}).next());
      expect(denied).to.include({ codeName: "PERMISSION_DENIED", reason: "LEVEL_TOO_LOW" });
      expect(await codeOf(observer.canon.watch({ heartbeatSeconds: 301 }).next())).to.equal(
        "INVALID_ARGUMENT",
      );
      const stranger = served.by("operator-beta", deployment.privateKeys.operator);
      const { watching } = await begin({ fromPosition: 0n }, stranger);
      await put(operator, "w/ours", {});
      await put(stranger, "w/theirs", {});
      expect((await take(watching, 1)).records.map(idOf)).to.deep.equal(["w/theirs"]);
      const root = served.as("root");
      const across = await begin({ fromPosition: 0n, filter: { tenant: "beta" } }, root);
      expect((await take(across.watching, 1)).records.map(idOf)).to.deep.equal(["w/theirs"]);
      await Promise.all([watching.return(), across.watching.return()]);
    });
  });

  describe("what it gives", () => {
    const watched = async (request: Partial<WatchRequest>, count: number) => {
      const { watching } = await begin({ fromPosition: 0n, ...request });
      const { records } = await take(watching, count);
      await put(operator, "last", {}, { kind: "last" });
      await watching.return();
      return records;
    };

    it("gives every version and every end that the filter matches, and no other record", async () => {
      const { record } = await put(operator, "w/target", {}, { kind: "target" });
      const linkTarget = recordIn({ record }).hash;
      const links = [{ label: "about", target: linkTarget }];
      await put(operator, "w/a", { n: 1 }, { links });
      await put(operator, "w/b", { n: 1 }, { kind: "other" });
      await put(operator, "w/a", { n: 2 });
      await end(operator, "w/b", { links });
      await end(operator, "w/a");
      await put(operator, "x/c", {});
      const base = {
        space: Space.SPACE_USER,
        tenant: "",
        kind: "",
        idPrefix: "",
        linkTarget: new Uint8Array(0),
      };
      const filterOf = (change: object) => ({
        filter: { ...base, fromTime: undefined, untilTime: undefined, includeTombstones: false, ...change },
      });
      const seen = async (change: object, count: number) =>
        (await watched(filterOf(change), count)).map(
          (item) => `${idOf(item)} ${item.version}${item.tombstone ? " end" : ""}`,
        );
      expect(await seen({ kind: "note" }, 4)).to.deep.equal(["w/a 1", "w/a 2", "w/a 3 end", "x/c 1"]);
      expect(await seen({ kind: "other" }, 2)).to.deep.equal(["w/b 1", "w/b 2 end"]);
      expect(await seen({ idPrefix: "x" }, 1)).to.deep.equal(["x/c 1"]);
      expect(await seen({ linkTarget }, 2)).to.deep.equal(["w/a 1", "w/b 2 end"]);
      expect(await seen({ idPrefix: "w/", kind: "target" }, 1)).to.deep.equal(["w/target 1"]);
      const [metadata] = await watched({ view: RecordView.RECORD_VIEW_METADATA }, 1);
      expect(recordIn(metadata ?? { record: undefined })).to.include({ id: "w/target", payloadJson: "" });
      const system = await watched(filterOf({ space: Space.SPACE_SYSTEM }), 4);
      expect(system.map(idOf)).to.deep.equal(["genesis", "trust_model/active", "quorum", "witness/alice"]);
    });

    it("carries in every heartbeat a checkpoint that verifies, up to what was given", async () => {
      const { publicKey } = await observer.audit.getCheckpoint({});
      const log = { origin, publicKey: parsePublicKey(publicKey), verify: verifyForeign };
      const { watching, first } = await begin({ heartbeatSeconds: 1 });
      const { size } = await verifyCheckpoint(heartbeatOf(first).checkpoint, log);
      expect(size).to.equal(first.nextPosition);
      await operator.trust.check({ action: "read", target: "public/docs" });
      const second = await nextOf(watching);
      const later = await verifyCheckpoint(heartbeatOf(second).checkpoint, log);
      expect(later.size).to.equal(size + 1n);
      expect(second.nextPosition, "a decision is passed by").to.equal(size + 1n);
      expect(heartbeatOf(second).time?.getTime()).to.be.greaterThan(
        heartbeatOf(first).time?.getTime() ?? Infinity,
      );
      await watching.return();
    });
  });

  it("gives 500 records each once and in order, cut and resumed 30 times while they are written", async () => {
    const { ledger } = served.server;
    let open = 0;
    const subscribe = ledger.feed.subscribe.bind(ledger.feed);
    ledger.feed.subscribe = (listener) => {
      open += 1;
      const forget = subscribe(listener);
      return () => {
        open -= 1;
        return forget();
      };
    };
    let from = ledger.reader.size;
    const write = async (writer: number): Promise<readonly bigint[]> => {
      const positions: bigint[] = [];
      for (let batch = 0; batch < 20; batch += 1) {
        const writes = Array.from({ length: 5 }, (_, index) =>
          writeOf(`cut/${writer}/${batch}/${index}`, {}),
        );
        positions.push(...(await putAll(operator, writes)));
        await put(operator, `uncut/${writer}/${batch}`, {}, { kind: "other" });
      }
      return positions;
    };
    const writing = Promise.all([0, 1, 2, 3, 4].map(write));
    const seen: bigint[] = [];
    const filter = { kind: "note", idPrefix: "cut/" };
    for (let cuts = 0; cuts < 30 || seen.length < 500; cuts += 1) {
      const controller = new AbortController();
      const messages = randomInt(1, 30);
      if (cuts % 2 === 0 && cuts < 30) setTimeout(() => controller.abort(), randomInt(1, 60));
      try {
        let read = 0;
        for await (const message of observer.canon.watch(
          { fromPosition: from, filter },
          { signal: controller.signal },
        )) {
          from = message.nextPosition;
          const record = recordOf(message);
          if (record !== undefined) seen.push(recordIn(record).position);
          read += 1;
          if (seen.length === 500 || (cuts < 30 && read >= messages)) break;
        }
      } catch (error) {
        expect(SigilError.from(error).codeName).to.equal("CANCELLED");
      }
    }
    const written = (await writing).flat().toSorted((a, b) => Number(a - b));
    expect(seen).to.deep.equal(written);
    while (open > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  });

  describe("a reader that is slow", () => {
    // 30 MiB in records that are still many in a window of HTTP/2's: what is held is a matter of bytes, what it takes
    // to write and verify them one of their number.
    const records = 600;
    const group = 50;
    /** Of the server and of its client, whose window is full. */
    const heldBytesMax = 20 << 20;
    const heldForTwoBytesMax = 30 << 20;
    const payload = randomBytes(50 << 10);

    /** Straight into the ledger: nobody waits here for thousands of decisions. */
    const fill = async (
      count: number,
      prefix: string,
      betweenGroups: () => Promise<void> = async () => {},
    ): Promise<readonly bigint[]> => {
      const positions: bigint[] = [];
      for (let index = 0; index < count; index += group) {
        const bodies = Array.from({ length: group }, (_, offset) => ({
          kind: "note",
          schemaVersion: 1,
          id: `${prefix}/${index + offset}`,
          tenant: "acme",
          ts: Date.now(),
          space: "user" as const,
          payload,
          links: [],
          prev: null,
        }));
        const appended = await served.server.ledger.append(bodies);
        positions.push(...appended.map(({ position }) => position));
        await betweenGroups();
      }
      return positions;
    };

    it("holds next to nothing for a watcher that does not read, and gives it everything once it does", async () => {
      await fill(100, "warm");
      const { watching } = await begin({ filter: { idPrefix: "slow/" }, heartbeatSeconds: 300 });
      const before = await heldBytes();
      const positions = await fill(records, "slow");
      const grown = (await settledBytes()) - before;
      expect(grown, "bytes held for the watcher").to.be.lessThan(heldBytesMax);
      const { records: found } = await take(watching, records);
      expect(found.map((record) => recordIn(record).position)).to.deep.equal(positions);
      await watching.return();
    });

    const ways = {
      "the tenant's index": {},
      "the feed": { allKinds: true, tenants: ["acme"] },
    } satisfies Readonly<Record<string, Partial<WatchRequest>>>;
    for (const [way, asked] of Object.entries(ways)) {
      it(`holds a bounded number of bytes of an old position and of what is written, from ${way}, for one that reads nothing and one that reads a message in fifty`, async () => {
        await fill(100, "warm");
        const fromPosition = served.server.ledger.reader.size;
        const old = await fill(records / 2, "old");
        const before = await heldBytes();
        const request = { ...asked, fromPosition, heartbeatSeconds: 300 };
        const idle = (await begin(request)).watching;
        const slow = (await begin(request, served.as("observer"))).watching;
        const seen: bigint[] = [];
        const read = async (watching: Watching, count: number): Promise<void> => {
          const taken = await take(watching, count);
          seen.push(...taken.records.map((record) => recordIn(record).position));
        };
        const written = await fill(records / 2, "new", () => read(slow, 1));
        const grown = (await settledBytes()) - before;
        expect(grown, "bytes held for both").to.be.lessThan(heldForTwoBytesMax);
        await read(slow, records - seen.length);
        await read(idle, records);
        const positions = [...old, ...written];
        expect(seen).to.deep.equal([...positions, ...positions]);
        await Promise.all([idle.return(), slow.return()]);
      });
    }
  });

  describe("its end", () => {
    it("ends with UNAUTHENTICATED when the token expires, before anything more is given", async () => {
      const { watching } = await begin();
      await put(operator, "w/early", {});
      expect((await take(watching, 1)).records.map(idOf)).to.deep.equal(["w/early"]);
      aheadMs = 700_000;
      await put(operator, "w/late", {});
      expect(await refusalOf(watching.next())).to.include({
        codeName: "UNAUTHENTICATED",
        reason: "TOKEN_EXPIRED",
      });
    });

    it("ends with UNAUTHENTICATED when the principal is revoked, before anything more is given", async () => {
      const { x } = deployment.privateKeys.observer.export({ format: "jwk" });
      const publicKey = Buffer.from(x ?? "", "base64url").toString("base64");
      const principal = { public_keys: [publicKey], loa: "observer", tenant: "acme", active: true };
      const mentor = served.as("mentor");
      const change = { kind: "principal" };
      await put(mentor, "principal/reader", principal, change);
      const reader = served.by("acme/reader", deployment.privateKeys.observer);
      const { watching } = await begin({ filter: { kind: "note" } }, reader);
      await put(operator, "w/early", { n: 1 });
      expect((await take(watching, 1)).records.map(payloadOf)).to.deep.equal([{ n: 1 }]);
      await put(mentor, "principal/reader", { ...principal, active: false }, change);
      await put(operator, "w/late", {});
      expect(await codeOf(watching.next())).to.equal("UNAUTHENTICATED");
    });

    it("ends with UNAVAILABLE when the server stops, and goes on at the next one", async () => {
      const { watching, first } = await begin();
      const ending = codeOf(watching.next());
      await served[Symbol.asyncDispose]();
      expect(await ending).to.equal("UNAVAILABLE");
      served = await deployment.serve();
      const written = await put(served.as("operator"), "w/after", {});
      const again = await begin({ fromPosition: first.nextPosition }, served.as("observer"));
      expect((await take(again.watching, 1)).records.map(({ record }) => record)).to.deep.equal([
        written.record,
      ]);
      await again.watching.return();
    });
  });
});
