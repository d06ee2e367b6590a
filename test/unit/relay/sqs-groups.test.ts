/** A queue of SQS with a message group for each id: the suite of all destinations, groups, links and requests. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { testDestination } from "../../contract/relay-destination.ts";
import {
  createRelayLedger,
  expectWhole,
  startRelay,
  untilCaughtUp,
  type RelayLedger,
  type SeenMessage,
} from "../../contract/relay-world.ts";
import { openSqsPlace } from "../../contract/sqs-place.ts";
import { startSqsProxy } from "../../contract/sqs-proxy.ts";
import { drainQueue, sqsMissing, startSqs, type SqsServer } from "../../contract/sqs-server.ts";

describe(`SQS, a message group for each id${sqsMissing === undefined ? "" : ` (${sqsMissing})`}`, () => {
  let server: SqsServer;
  before(async function () {
    if (sqsMissing !== undefined) return this.skip();
    server = await startSqs();
  });
  after(() => server?.[Symbol.asyncDispose]());

  testDestination(
    "an SQS queue with a group for each id",
    () => openSqsPlace(server, undefined, { groups: "record" }),
    "nothing",
  );

  /** Versions of these ids in this order, each naming the one before it. */
  const addVersions = (source: RelayLedger, ids: readonly string[]): void => {
    for (const id of ids) {
      const before = source.items.findLast(({ record }) => record?.body.id === id)?.record;
      source.add(1, { id, prev: before?.hash ?? null });
    }
  };

  const groupOf = (subject: string): string => createHash("sha256").update(subject).digest("base64url");

  const linksOf = (messages: readonly SeenMessage[]): readonly unknown[] =>
    messages
      .map(({ sigilposition, sigilprev, sqsGroup }) => [Number(sigilposition), sigilprev, sqsGroup] as const)
      .sort(([one], [other]) => one - other);

  it("has a group for each id, in which each version names the one before it, and one for each erased record", async () => {
    await using place = await openSqsPlace(server, undefined, { groups: "record" });
    const source = createRelayLedger();
    addVersions(source, ["a", "b/ü", "a", "b/ü", "gone", "a"]);
    source.erase(4);
    const destination = place.destination();
    await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
    await untilCaughtUp(seen, { source });
    const [a, b] = [groupOf("acme/user/a"), groupOf("acme/user/b/%C3%BC")];
    const gone = Buffer.from(source.items[4]?.leaf ?? "").toString("base64url");
    expect(linksOf(await place.messages())).to.deep.equal([
      [0, undefined, a],
      [1, undefined, b],
      [2, "0", a],
      [3, "1", b],
      [4, undefined, gone],
      [5, "2", a],
    ]);
    // Of a generation that begins later the lanes do.
    await seen.relay.reset(2n);
    await untilCaughtUp(seen, { source });
    const again = await drainQueue(server.url, place.queue);
    expect(linksOf(again)).to.deep.equal([
      [2, undefined, a],
      [3, undefined, b],
      [4, undefined, gone],
      [5, "2", a],
    ]);
  });

  it("gets no two versions of an id in one request, so that a failed one is not overtaken", async () => {
    await using proxy = await startSqsProxy(server.url);
    await using place = await openSqsPlace(server, proxy.url, { groups: "record" });
    let failures = 0;
    proxy.failEntry = ({ MessageBody }) => {
      const { sigilposition } = JSON.parse(MessageBody) as SeenMessage;
      if (Number(sigilposition) !== 1 || failures >= 2) return undefined;
      failures += 1;
      return { Code: "InternalError", SenderFault: false };
    };
    const source = createRelayLedger();
    addVersions(source, ["a", "b", "c", "b", "a", "d"]);
    const destination = place.destination();
    await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
    await untilCaughtUp(seen, { source });
    const positions = proxy.sent.map((entries) =>
      entries.map(({ MessageBody }) => Number((JSON.parse(MessageBody) as SeenMessage)["sigilposition"])),
    );
    expect(positions).to.deep.equal([[0, 1, 2], [1], [1], [3, 4, 5]]);
    expectWhole(await place.messages(), source.items);
  });
});
