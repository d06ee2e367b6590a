/** A queue of SQS as a source: what is deleted when, what comes again, and what stops a consumer. */
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  type Message,
} from "@aws-sdk/client-sqs";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { openSqsSource, type SqsSourceOptions } from "../../../src/cli/project/sqs-source.ts";
import { verifyOwn } from "../../../src/core/keys/verify.ts";
import { project } from "../../../src/projections/project.ts";
import type { ProjectionStore } from "../../../src/projections/store.ts";
import type { RelayEvent } from "../../../src/relay/event.ts";
import type { SqsGroups } from "../../../src/relay/sqs/group.ts";
import { sqsDestination } from "../../../src/relay/sqs/sqs.ts";
import { eventsOf } from "../../contract/golden-events.ts";
import { generateLedger, type GoldenLedger } from "../../contract/golden-ledger.ts";
import { createMemoryStore, type MemoryStore } from "../../contract/memory-projection.ts";
import { until } from "../../contract/relay-world.ts";
import { startSqsProxy, type SqsProxy } from "../../contract/sqs-proxy.ts";
import {
  createQueue,
  drainQueue,
  queueUrl,
  sqsClient,
  sqsMissing,
  sqsRegion,
  startSqs,
  type SqsServer,
} from "../../contract/sqs-server.ts";

type Published = {
  readonly endpoint?: string;
  readonly generation?: number;
  readonly groups?: SqsGroups;
  /** What somebody in between makes of it. */
  readonly attack?: (events: readonly RelayEvent[]) => readonly RelayEvent[];
};

describe(`a queue of SQS as a source${sqsMissing === undefined ? "" : ` (${sqsMissing})`}`, () => {
  let server: SqsServer;
  let ledger: GoldenLedger;
  let made = 0;

  before(async function () {
    if (sqsMissing !== undefined) return this.skip();
    server = await startSqs();
    ledger = await generateLedger({ seed: 61, count: 120 });
  });
  after(() => server?.[Symbol.asyncDispose]());

  const makeQueue = async (attributes: Readonly<Record<string, string>> = {}): Promise<string> => {
    made += 1;
    const queue = `s${made}.fifo`;
    await createQueue(server.url, queue, attributes);
    return queue;
  };

  const publish = async (
    queue: string,
    [from, to]: readonly [number, number],
    { endpoint = server.url, generation = 1, groups = "feed", attack = (all) => all }: Published = {},
  ): Promise<void> => {
    await using destination = await sqsDestination({
      queue,
      region: sqsRegion,
      endpoint,
      owner: "",
      groups,
      onMissing: "fail",
    }).open(new AbortController().signal, async () => undefined);
    const linked = eventsOf(ledger, [from, to], groups === "feed" ? "one" : "ids");
    const events = attack(linked).map((event) => ({
      ...event,
      attributes: { ...event.attributes, sigilgeneration: String(generation) },
    }));
    for (let at = 0; at < events.length; at += 10) {
      const ten = events.slice(at, at + 10);
      // As a relay tries again.
      for (let tries = 0; ; tries += 1) {
        const failure: unknown = await destination.publish(ten, new AbortController().signal).then(
          () => undefined,
          (cause: unknown) => cause,
        );
        if (failure === undefined) break;
        if (tries === 5) throw new Error("not published", { cause: failure });
      }
    }
  };

  const consume = async (
    queue: string,
    store: ProjectionStore,
    {
      signal = new AbortController().signal,
      ...options
    }: Partial<SqsSourceOptions> & { readonly signal?: AbortSignal } = {},
  ): Promise<void> => {
    await using opened = await openSqsSource({
      queue,
      region: sqsRegion,
      endpoint: server.url,
      owner: "",
      generation: 0,
      ...options,
    });
    await project({
      genesis: ledger.genesis,
      verify: verifyOwn,
      lanes: "keys",
      source: opened.source,
      sourceSize: async () => 0n,
      store,
      size: undefined,
      onCaughtUp: "end",
      signal,
    });
  };

  const countsOf = async (queue: string): Promise<readonly number[]> => {
    const client = sqsClient(server.url);
    const names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"] as const;
    const { Attributes = {} } = await client.send(
      new GetQueueAttributesCommand({ QueueUrl: queueUrl(server.url, queue), AttributeNames: [...names] }),
    );
    client.destroy();
    return names.map((name) => Number(Attributes[name]));
  };

  const positionsOf = ({ places }: MemoryStore): readonly number[] =>
    places.map(({ position }) => Number(position));
  const upTo = (size: number): readonly number[] => Array.from({ length: size }, (_, at) => at);
  const whole = (): number => ledger.places.length;

  it("gives every record, and is empty afterwards", async () => {
    const queue = await makeQueue();
    await publish(queue, [0, whole()]);
    const store = createMemoryStore();
    await consume(queue, store);
    expect(positionsOf(store)).to.deep.equal(upTo(whole()));
    expect(await countsOf(queue)).to.deep.equal([0, 0]);
  });

  it("deletes nothing that is not stored, and keeps it invisible meanwhile", async () => {
    const queue = await makeQueue({ VisibilityTimeout: "3" });
    await publish(queue, [0, whole()]);
    await using proxy = await startSqsProxy(server.url);
    const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const actions: string[] = [];
    proxy.failRequest = (action) => {
      actions.push(action);
      return undefined;
    };
    const store = createMemoryStore(async () => {
      reached.resolve();
      await goOn.promise;
    });
    const consumed = consume(queue, store, { endpoint: proxy.url });
    await reached.promise;
    const extensions = () => actions.filter((one) => one === "ChangeMessageVisibilityBatch").length;
    await until(() => extensions() >= 2, "extended twice");
    expect(actions).not.to.include("DeleteMessageBatch");
    expect((await countsOf(queue)).reduce((sum, one) => sum + one)).to.equal(whole());
    goOn.resolve();
    await consumed;
    expect(positionsOf(store)).to.deep.equal(upTo(whole()));
  });

  it("deletes what came again and again by the newest receipt alone, and once", async () => {
    const queue = await makeQueue({ VisibilityTimeout: "3" });
    await publish(queue, [0, 50], { groups: "record" });
    await using proxy = await startSqsProxy(server.url);
    const newest = new Map<string, string>();
    let [repeats, stale, isExtending] = [0, 0, false];
    proxy.failRequest = (action) =>
      action === "ChangeMessageVisibilityBatch" && !isExtending ? [503, "ServiceUnavailable"] : undefined;
    proxy.onAnswered = (action, fields, output) => {
      for (const { MessageId = "", ReceiptHandle = "" } of (output["Messages"] ?? []) as readonly Message[]) {
        repeats += newest.has(MessageId) ? 1 : 0;
        newest.set(MessageId, ReceiptHandle);
      }
      if (action !== "DeleteMessageBatch") return;
      const handles = new Set(newest.values());
      const entries = fields["Entries"] as readonly { readonly ReceiptHandle: string }[];
      stale += entries.filter(({ ReceiptHandle }) => !handles.has(ReceiptHandle)).length;
    };
    const store = createMemoryStore(async () => {
      await until(() => repeats > 50, "given again", 30_000);
      isExtending = true;
    });
    await consume(queue, store, { endpoint: proxy.url });
    expect(positionsOf(store)).to.deep.equal(upTo(50));
    expect(stale).to.equal(0);
    expect(await countsOf(queue)).to.deep.equal([0, 0]);
  });

  it("gives again what a consumer had that ended before it was stored, and no other", async () => {
    const queue = await makeQueue({ VisibilityTimeout: "3" });
    await publish(queue, [0, whole()]);
    const stopping = new AbortController();
    const store = createMemoryStore(async () => {
      // The first batch is stored; the next ones are in flight when it ends.
      if (store.places.length > 0) {
        stopping.abort();
        throw new Error("killed");
      }
    });
    const ended: unknown = await consume(queue, store, { signal: stopping.signal }).catch(
      (cause: unknown) => cause,
    );
    expect(String(ended)).to.contain("killed");
    const before = store.places.length;
    expect(before).to.be.greaterThan(0).and.lessThan(whole());
    const next = createMemoryStore();
    next.places.push(...store.places);
    next.progress = store.progress;
    await consume(queue, next);
    expect(positionsOf(next)).to.deep.equal(upTo(whole()));
    expect(await countsOf(queue)).to.deep.equal([0, 0]);
  });

  it("skips and deletes what comes again, as after a reset", async () => {
    const queue = await makeQueue();
    await publish(queue, [0, 60]);
    await publish(queue, [0, whole()], { generation: 2 });
    const store = createMemoryStore();
    await consume(queue, store);
    expect(positionsOf(store)).to.deep.equal(upTo(whole()));
    expect(await countsOf(queue)).to.deep.equal([0, 0]);
  });

  it("puts right what a failed entry of a request overtook", async () => {
    const queue = await makeQueue();
    await using proxy = await startSqsProxy(server.url);
    const failed = new Map<number, number>();
    proxy.failEntry = ({ MessageBody }) => {
      const { sigilposition } = JSON.parse(MessageBody) as { readonly sigilposition: string };
      const position = Number(sigilposition);
      const tries = failed.get(position) ?? 0;
      if (position % 10 !== 4 && position !== 27) return undefined;
      failed.set(position, tries + 1);
      return tries < 2 ? { Code: "InternalError", SenderFault: false } : undefined;
    };
    await publish(queue, [0, whole()], { endpoint: proxy.url });
    const store = createMemoryStore();
    await consume(queue, store);
    expect(positionsOf(store)).to.deep.equal(upTo(whole()));
    expect(await countsOf(queue)).to.deep.equal([0, 0]);
  });

  const faultOf = async (queue: string, options: Partial<SqsSourceOptions> = {}): Promise<string> => {
    const store = createMemoryStore();
    try {
      await consume(queue, store, options);
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
    return expect.fail("it did not stop");
  };

  it("is not shown as a projection while nothing came from it", async () => {
    expect(await faultOf(await makeQueue())).to.contain("the source has 0 records");
  });

  it("stops where a message was moved to the redrive queue, and says so", async () => {
    const redrive = await makeQueue();
    const deadLetterTargetArn = `arn:aws:sqs:${sqsRegion}:000000000000:${redrive}`;
    const queue = await makeQueue({
      RedrivePolicy: JSON.stringify({ deadLetterTargetArn, maxReceiveCount: 1 }),
    });
    await publish(queue, [0, 20]);
    const client = sqsClient(server.url);
    const QueueUrl = queueUrl(server.url, queue);
    // Somebody else has it once and lets it go, and asks again: it is moved.
    const { Messages = [] } = await client.send(
      new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 1 }),
    );
    const [{ ReceiptHandle } = {}] = Messages;
    await client.send(new ChangeMessageVisibilityCommand({ QueueUrl, ReceiptHandle, VisibilityTimeout: 0 }));
    await client.send(new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 1, VisibilityTimeout: 0 }));
    client.destroy();
    expect(await drainQueue(server.url, redrive)).to.have.length(1);
    const fault = await faultOf(queue);
    expect(fault).to.contain("position 1 follows position 0, and nothing was taken last");
    expect(fault).to.contain(deadLetterTargetArn).and.to.contain("sigil relay reset --to 0");
  });

  it("stops where another consumer had messages, and goes on with a new generation", async () => {
    const queue = await makeQueue();
    await publish(queue, [30, 60]);
    const fault = await faultOf(queue);
    expect(fault).to.contain("position 30 follows position 29").and.to.contain("--generation");
    await publish(queue, [0, whole()], { generation: 2 });
    const store = createMemoryStore();
    await consume(queue, store, { generation: 2 });
    expect(positionsOf(store)).to.deep.equal(upTo(whole()));
  });

  /** An id that is written more than once: where, first and then. */
  const twoVersions = (): readonly [number, number] => {
    const events = eventsOf(ledger, [0, whole()], "ids");
    const later = events.find(({ attributes }) => Number(attributes["sigilprev"] ?? 0) > 0);
    if (later === undefined) return expect.fail("every id of the ledger has one version");
    return [Number(later.attributes["sigilprev"]), Number(later.position)];
  };

  const unlink = (event: RelayEvent): RelayEvent => {
    const { sigilprev: _, ...attributes } = event.attributes;
    return { ...event, attributes };
  };

  const without = (events: readonly RelayEvent[], isLeftOut: (event: RelayEvent) => boolean) =>
    events.filter((event) => !isLeftOut(event));

  it("with a group for each id gives every record in ledger order, and is empty afterwards", async () => {
    const queue = await makeQueue();
    await publish(queue, [0, whole()], { groups: "record" });
    const store = createMemoryStore();
    await consume(queue, store);
    expect(positionsOf(store)).to.deep.equal(upTo(whole()));
    expect(await countsOf(queue)).to.deep.equal([0, 0]);
  });

  it("puts right what was swapped in a group and among groups, whatever its links say", async () => {
    const [first, second] = twoVersions();
    const swap = (events: readonly RelayEvent[]): readonly RelayEvent[] => {
      const swapped = [...events];
      const [one, other] = [events[first], events[second]];
      if (one === undefined || other === undefined) return expect.fail("not there");
      [swapped[first], swapped[second]] = [other, one];
      return swapped;
    };
    const byGroup = (events: readonly RelayEvent[]): readonly RelayEvent[] =>
      [...Map.groupBy(events, ({ attributes }) => attributes["subject"]).values()].toReversed().flat();
    const backwards = (events: readonly RelayEvent[]): readonly RelayEvent[] =>
      events.toReversed().map(unlink);
    for (const attack of [swap, byGroup, backwards]) {
      const queue = await makeQueue();
      await publish(queue, [0, whole()], { groups: "record", attack });
      const store = createMemoryStore();
      await consume(queue, store);
      expect(positionsOf(store)).to.deep.equal(upTo(whole()));
    }
  });

  it("stops at what was dropped inside of a group, and names both", async () => {
    const [first, second] = twoVersions();
    const queue = await makeQueue();
    await publish(queue, [0, whole()], {
      groups: "record",
      attack: (events) => without(events, ({ position }) => Number(position) === first),
    });
    const fault = await faultOf(queue);
    expect(fault).to.contain(`position ${second} follows position ${first}`).and.to.contain("--generation");
  });

  it("stops at a group that was dropped whole, by its place in the ledger", async () => {
    const [first] = twoVersions();
    const { subject } = eventsOf(ledger, [first, first + 1])[0]?.attributes ?? {};
    const queue = await makeQueue();
    await publish(queue, [0, first + 20], {
      groups: "record",
      attack: (events) => without(events, ({ attributes }) => attributes["subject"] === subject),
    });
    const fault = await faultOf(queue);
    expect(fault).to.contain(`position ${first} is missing`).and.to.contain("--generation");
  });

  it("is not shown whole where the newest group was dropped, which no link tells", async () => {
    const queue = await makeQueue();
    await publish(queue, [0, whole()], { groups: "record", attack: (events) => events.slice(0, -1) });
    expect(await faultOf(queue)).to.contain(`the source has ${whole() - 1} records and no checkpoint`);
  });

  it("with a group for each id skips what it had of before a reset, ahead of what is next in its group", async () => {
    const [, second] = twoVersions();
    const queue = await makeQueue();
    // Of a generation that begins there, whose lanes do.
    const attack = (events: readonly RelayEvent[]) =>
      events.map((event) => (Number(event.attributes["sigilprev"]) < second ? unlink(event) : event));
    await publish(queue, [second, whole()], { groups: "record", attack });
    await publish(queue, [0, whole()], { groups: "record", generation: 2 });
    const store = createMemoryStore();
    await consume(queue, store);
    expect(positionsOf(store)).to.deep.equal(upTo(whole()));
    expect(await countsOf(queue)).to.deep.equal([0, 0]);
  });

  const withProxy = async (use: (proxy: SqsProxy) => Promise<void>): Promise<void> => {
    await using proxy = await startSqsProxy(server.url);
    await use(proxy);
  };

  it("is asked again when it throttles or fails, and given up when it denies", () =>
    withProxy(async (proxy) => {
      const queue = await makeQueue();
      await publish(queue, [0, whole()]);
      let requests = 0;
      proxy.failRequest = (action) => {
        requests += 1;
        if (!/^(?:Receive|Delete)/.test(action) || requests % 3 !== 0) return undefined;
        return requests % 2 === 0 ? [400, "RequestThrottled"] : [503, "ServiceUnavailable"];
      };
      const store = createMemoryStore();
      await consume(queue, store, { endpoint: proxy.url });
      expect(positionsOf(store)).to.deep.equal(upTo(whole()));
      expect(await countsOf(queue)).to.deep.equal([0, 0]);
      proxy.failRequest = (action) =>
        action === "ReceiveMessage" ? [400, "AccessDeniedException"] : undefined;
      expect(await faultOf(queue, { endpoint: proxy.url })).to.contain("AccessDeniedException");
    }));

  it("says what it cannot read", async () => {
    expect(await faultOf("none.fifo")).to.contain("--from: there is no queue none.fifo");
    const client = sqsClient(server.url);
    await client.send(new CreateQueueCommand({ QueueName: "plain" }));
    client.destroy();
    expect(await faultOf("plain")).to.contain("must be a FIFO queue");
  });
});
