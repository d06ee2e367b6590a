/** SQS FIFO as a destination: the suite of all, and the bad days of a queue. */
import { CreateQueueCommand } from "@aws-sdk/client-sqs";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { createAuthority, pemOf } from "../../contract/certificates.ts";
import { testDestination } from "../../contract/relay-destination.ts";
import {
  createRelayLedger,
  expectWhole,
  startRelay,
  until,
  untilCaughtUp,
  type SeenMessage,
} from "../../contract/relay-world.ts";
import { openSqsPlace, type SqsPlace } from "../../contract/sqs-place.ts";
import { startSqsProxy, type SqsProxy } from "../../contract/sqs-proxy.ts";
import { drainQueue, sqsClient, sqsMissing, startSqs, type SqsServer } from "../../contract/sqs-server.ts";

/** A relay of so many records to a place, which has caught up if it can. */
const relayTo = async (place: SqsPlace, records: number) => {
  const source = createRelayLedger();
  source.add(records);
  const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
  return { source, options, start: () => startRelay(options) };
};

const ruleOf = async (place: SqsPlace, kind: string): Promise<string> => {
  const { start } = await relayTo(place, 1);
  await using seen = await start();
  await until(() => seen.errors.length > 0, "an error");
  expect(seen.errors[0]?.kind, seen.errors[0]?.rule).to.equal(kind);
  expect(seen.relay.status.next).to.equal(0n);
  return seen.errors[0]?.rule ?? "";
};

describe(`SQS${sqsMissing === undefined ? "" : ` (${sqsMissing})`}`, function () {
  let server: SqsServer;
  before(async function () {
    if (sqsMissing !== undefined) return this.skip();
    server = await startSqs();
  });
  after(() => server?.[Symbol.asyncDispose]());

  testDestination("an SQS queue in one group", () => openSqsPlace(server), "nothing");

  const withProxy = async (
    use: (proxy: SqsProxy, place: SqsPlace) => Promise<void>,
    prepare: (proxy: SqsProxy) => void = () => {},
  ): Promise<void> => {
    await using proxy = await startSqsProxy(server.url);
    prepare(proxy);
    await using place = await openSqsPlace(server, proxy.url);
    await use(proxy, place);
  };

  it("has events in structured mode, in one group, with generation and hash against repeats", async () => {
    await using place = await openSqsPlace(server);
    const { source, start } = await relayTo(place, 3);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    const [first] = await place.messages();
    const item = source.items[0]?.record ?? expect.fail("no record");
    const hash = Buffer.from(item.hash).toString("hex");
    expect(first).to.include({
      specversion: "1.0",
      id: hash,
      sqsGroup: "feed",
      sqsDeduplication: `1.${hash}`,
    });
    expect(first?.["data_base64"]).to.equal(Buffer.from(item.envelope).toString("base64"));
  });

  it("gets from offset 0 again after a reset, though it keeps nothing that was consumed", async () => {
    await using place = await openSqsPlace(server);
    const { source, start } = await relayTo(place, 12);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    expect(await place.messages()).to.have.length(12);
    expect(await drainQueue(server.url, place.queue)).to.deep.equal([]);
    await seen.relay.reset(0n);
    await untilCaughtUp(seen, { source });
    const again = await drainQueue(server.url, place.queue);
    expect(again).to.have.length(12);
    expectWhole(again, source.items, 2);
  });

  it("drops within its window what a lost cursor repeats", async () => {
    await using place = await openSqsPlace(server);
    const { source, options, start } = await relayTo(place, 12);
    await using first = await start();
    await untilCaughtUp(first, { source });
    await first.relay.close();
    await using seen = await startRelay({ ...options, cursorPath: `${place.cursorPath}.other` });
    await untilCaughtUp(seen, { source });
    expect(seen.relay.status.published).to.equal(12n);
    expectWhole(await place.messages(), source.items);
  });

  it("is made with a stated layout when the relay may, and refused when it may not", async () => {
    await using place = await openSqsPlace(server, undefined, { onMissing: "fail" });
    expect(await ruleOf(place, "refused")).to.contain(`there is no queue ${place.queue}`);
    await withProxy(async (proxy, made) => {
      const created: unknown[] = [];
      proxy.failRequest = (action) => {
        created.push(action);
        return undefined;
      };
      const { source, start } = await relayTo(made, 1);
      await using seen = await start();
      await untilCaughtUp(seen, { source });
      expect(created).to.deep.equal(["GetQueueUrl", "CreateQueue", "GetQueueAttributes", "SendMessageBatch"]);
    });
  });

  it("is refused where it is no FIFO queue", async () => {
    const client = sqsClient(server.url);
    await client.send(new CreateQueueCommand({ QueueName: "standard" }));
    client.destroy();
    await using place = await openSqsPlace(server, undefined, { queue: "standard" });
    expect(await ruleOf(place, "refused")).to.contain("must be a FIFO queue");
  });

  it("gets by reference what is larger than its messages, the base64 counted", () =>
    withProxy(
      async (_, place) => {
        const source = createRelayLedger();
        // 1,300 bytes in base64 and with attributes do not go into 2,048.
        for (const bytes of [5000, 1300, 40]) source.add(1, {}, bytes);
        const destination = place.destination();
        await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
        await untilCaughtUp(seen, { source });
        const messages = await place.messages();
        expectWhole(messages, source.items);
        expect(messages.map((one) => "dataref" in one)).to.deep.equal([true, true, false]);
        expect(messages[0]?.["dataref"]).to.equal(
          `sigil://ledger.test/main/records/${String(messages[0]?.["id"])}`,
        );
        expect(messages[0]).not.to.have.any.keys("data_base64", "datacontenttype");
      },
      (proxy) => (proxy.attributes = { MaximumMessageSize: "2048" }),
    ));

  it("gets no request larger than it takes", () =>
    withProxy(
      async (proxy, place) => {
        const source = createRelayLedger();
        source.add(7, {}, 60_000);
        const destination = place.destination();
        await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
        await untilCaughtUp(seen, { source });
        expectWhole(await place.messages(), source.items);
        // Three of 80 kB as base64 go into 256 KiB.
        expect(proxy.sent.map((one) => one.length)).to.deep.equal([3, 3, 1]);
      },
      (proxy) => (proxy.attributes = { MaximumMessageSize: "262144" }),
    ));

  it("gets characters that it refuses as escapes", async () => {
    await using place = await openSqsPlace(server);
    const source = createRelayLedger();
    const text = "\uFFFF\uFFFE\u0000\u0001\u007f\u2028ä𝄞";
    source.add(1, { payload: { text } });
    const destination = place.destination();
    const event = { typePrefix: "sigil", data: "full", format: "json", disclosures: "withheld" } as const;
    await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath, event });
    await untilCaughtUp(seen, { source });
    const [message] = await place.messages();
    expect(message?.["data"]).to.have.nested.property("payload.text", text);
  });

  it("stops at a record that fits no message, and goes on after it as a new generation", () =>
    withProxy(
      async (_, place) => {
        const source = createRelayLedger();
        source.add(1);
        source.add(1, { kind: "k".repeat(255), id: "i".repeat(255) });
        source.add(1);
        const destination = place.destination();
        await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
        await until(() => seen.relay.status.state === "stopped", "stopped");
        expect(seen.relay.status.error).to.include({ kind: "poison", position: 1n });
        await seen.relay.reset(2n);
        await untilCaughtUp(seen, { source });
        expectWhole(await place.messages(), source.items.slice(2), 2);
      },
      (proxy) => (proxy.attributes = { MaximumMessageSize: "1024" }),
    ));

  it("that takes less than it says stops the relay at the record that it does not take", () =>
    withProxy(
      async (_, place) => {
        const source = createRelayLedger();
        source.add(1);
        source.add(1, {}, 900_000);
        source.add(1);
        const destination = place.destination();
        await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
        await until(() => seen.relay.status.state === "stopped", "stopped");
        expect(seen.relay.status.error).to.include({ kind: "poison", position: 1n });
        expect(await place.messages()).to.have.length(1);
      },
      (proxy) => (proxy.attributes = { MaximumMessageSize: "4194304" }),
    ));

  it("that fails one entry of a batch gets what is missing, and nothing that it acknowledged", () =>
    withProxy(async (proxy, place) => {
      let failures = 0;
      proxy.failEntry = ({ MessageBody }) => {
        const { sigilposition } = JSON.parse(MessageBody) as SeenMessage;
        if (Number(sigilposition) !== 4 || failures >= 2) return undefined;
        failures += 1;
        return { Code: "InternalError", SenderFault: false };
      };
      const { source, start } = await relayTo(place, 20);
      await using seen = await start();
      await untilCaughtUp(seen, { source });
      const positions = proxy.sent.map((entries) =>
        entries.map(({ MessageBody }) => Number((JSON.parse(MessageBody) as SeenMessage)["sigilposition"])),
      );
      expect(positions.slice(0, 4)).to.deep.equal([
        [0, 1, 2, 3, 4, 5, 6],
        [4],
        [4],
        [7, 8, 9, 10, 11, 12, 13],
      ]);
      expect(seen.errors[0]).to.deep.equal({
        kind: "retryable",
        rule: "the queue did not take position 4: InternalError",
      });
      const taken = (await place.messages()).map(({ sigilposition }) => Number(sigilposition));
      expect([...taken].sort((one, two) => one - two)).to.deep.equal(
        Array.from({ length: 20 }, (_, at) => at),
      );
    }));

  it("that throttles gets everything once, in order", () =>
    withProxy(async (proxy, place) => {
      let requests = 0;
      proxy.failRequest = (action) => {
        if (action !== "SendMessageBatch") return undefined;
        requests += 1;
        return requests % 2 === 1 ? [400, "RequestThrottled"] : undefined;
      };
      const { source, start } = await relayTo(place, 20);
      await using seen = await start();
      await untilCaughtUp(seen, { source });
      expect(new Set(seen.errors.map(({ kind }) => kind))).to.deep.equal(new Set(["retryable"]));
      expectWhole(await place.messages(), source.items);
    }));

  it("tells what waiting mends from what an operator must", async () => {
    const cases = [
      [400, "AccessDeniedException", "refused"],
      [403, "InvalidClientTokenId", "refused"],
      [403, "SignatureDoesNotMatch", "refused"],
      [400, "KmsAccessDenied", "refused"],
      [400, "KmsThrottled", "retryable"],
      [400, "ThrottlingException", "retryable"],
      [403, "OverLimit", "retryable"],
      [500, "InternalFailure", "retryable"],
      [503, "ServiceUnavailable", "retryable"],
    ] as const;
    for (const [status, code, kind] of cases) {
      await withProxy(async (proxy, place) => {
        proxy.failRequest = (action) => (action === "SendMessageBatch" ? [status, code] : undefined);
        expect(await ruleOf(place, kind)).to.contain(code);
      });
    }
  });

  it("is refused without credentials, and used when there are some", async () => {
    const keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"] as const;
    const before = keys.map((key) => process.env[key]);
    const set = (values: readonly (string | undefined)[]): void => {
      for (const [at, key] of keys.entries()) {
        const value = values[at];
        if (value === undefined) delete process.env[key];
        else process.env[key] = value;
      }
    };
    await using place = await openSqsPlace(server);
    const { source, start } = await relayTo(place, 3);
    try {
      set([undefined, undefined, "true"]);
      await using seen = await start();
      await until(() => seen.errors.length > 0, "an error");
      expect(seen.errors[0]?.kind, seen.errors[0]?.rule).to.equal("refused");
      set(before);
      await untilCaughtUp(seen, { source });
    } finally {
      set(before);
    }
  });

  it("is reached by TLS under the configured authority, and not under another", async () => {
    using authority = await createAuthority();
    using foreign = await createAuthority();
    const certificate = pemOf(await authority.issue("sqs", "IP:127.0.0.1"));
    await using proxy = await startSqsProxy(server.url, certificate);
    for (const { ca } of [foreign, authority]) {
      await using place = await openSqsPlace(server, proxy.url, { ca });
      const { source, start } = await relayTo(place, 3);
      await using seen = await start();
      if (ca === authority.ca) await untilCaughtUp(seen, { source });
      else await until(() => seen.errors.length > 0, "an error");
      expect(seen.relay.status.published).to.equal(ca === authority.ca ? 3n : 0n);
      if (ca !== authority.ca) expect(seen.errors[0]?.rule).to.contain("certificate");
    }
    await using place = await openSqsPlace(server, proxy.url, { ca: "/nowhere.pem" });
    expect(await ruleOf(place, "refused")).to.contain("cannot read the authorities in /nowhere.pem");
  });

  it("that is down for a while, or restarted with its data, gets everything once", async () => {
    await using own = await startSqs();
    await using place = await openSqsPlace(own);
    const { source, start } = await relayTo(place, 9);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    await own.kill();
    source.add(20);
    await until(() => seen.relay.status.state === "waiting", "waiting");
    expect(seen.relay.status.error?.kind).to.equal("retryable");
    expect(seen.relay.status.lag >= 19n).to.equal(true);
    await own.start();
    await untilCaughtUp(seen, { source });
    // ElasticMQ gives what it kept in another order.
    const kept = (await place.messages()).map(({ sigilposition }) => Number(sigilposition));
    expect(kept.toSorted((one, other) => one - other)).to.deep.equal(source.items.map((_, at) => at));
    own.suspend();
    source.add(20);
    await until(() => seen.relay.status.lag > 0n, "behind");
    own.wake();
    await untilCaughtUp(seen, { source });
    const later = (await place.messages())
      .slice(kept.length)
      .map(({ sigilposition }) => Number(sigilposition));
    expect(later).to.deep.equal(Array.from({ length: 20 }, (_, at) => kept.length + at));
    // It cannot be told from one whose messages were consumed.
    await own.kill();
    await own.removeData();
    await own.start();
    source.add(3);
    await untilCaughtUp(seen, { source });
    expect(seen.lost).to.deep.equal([]);
    const rest = await drainQueue(own.url, place.queue);
    expect(rest.map(({ sigilprev, sigilposition }) => [sigilprev, sigilposition])).to.deep.equal([
      ["48", "49"],
      ["49", "50"],
      ["50", "51"],
    ]);
  });
});
