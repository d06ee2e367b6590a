/** NATS JetStream as a destination: the suite of all, and the bad days of a broker. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { natsDestination, type NatsOptions } from "../../../src/relay/nats.ts";
import { createAuthority } from "../../contract/certificates.ts";
import { createNatsAccounts } from "../../contract/nats-accounts.ts";
import { natsMissing, startNats, type Nats, type NatsSettings } from "../../contract/nats-server.ts";
import { readStreamMessages, withStreams } from "../../contract/relay-messages.ts";
import { testDestination } from "../../contract/relay-destination.ts";
import {
  createRelayLedger,
  expectWhole,
  startRelay,
  until,
  untilCaughtUp,
  type DestinationPlace,
} from "../../contract/relay-world.ts";

const plain: Omit<NatsOptions, "servers" | "stream" | "subjectPrefix"> = {
  replicas: 1,
  credentials: { kind: "none" },
  tls: null,
};

let made = 0;

const openPlace = async (
  nats: Nats,
  options: Partial<NatsOptions> = {},
): Promise<DestinationPlace & { readonly stream: string }> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  made += 1;
  const stream = `S${made}`;
  return {
    stream,
    cursorPath: join(root, "cursor.json"),
    destination: (onStep) =>
      natsDestination({
        servers: [nats.url],
        stream,
        subjectPrefix: `p${stream}`,
        ...plain,
        ...options,
        ...(onStep === undefined ? {} : { onStep }),
      }),
    messages: () => readStreamMessages(nats.url, stream),
    wipe: () => withStreams(nats.url, async (streams) => void (await streams.delete(stream))),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
};

describe(`NATS${natsMissing === undefined ? "" : ` (${natsMissing})`}`, function () {
  let nats: Nats;
  before(async function () {
    if (natsMissing !== undefined) return this.skip();
    nats = await startNats();
  });
  after(() => nats?.[Symbol.asyncDispose]());

  testDestination("a NATS stream", () => openPlace(nats));

  /** A relay to a server of its own, which the test treats badly. */
  const withServer = async (
    settings: NatsSettings,
    use: (server: Nats, place: DestinationPlace & { readonly stream: string }) => Promise<void>,
    options: Partial<NatsOptions> = {},
  ): Promise<void> => {
    await using server = await startNats(settings);
    await using place = await openPlace(server, options);
    await use(server, place);
  };

  it("that is down for a while gets everything afterwards", () =>
    withServer({}, async (server, place) => {
      const source = createRelayLedger();
      source.add(9);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await untilCaughtUp(seen, { source });
      await server.kill();
      source.add(20);
      await until(() => seen.relay.status.state === "waiting", "waiting");
      expect(seen.relay.status.error?.kind).to.equal("retryable");
      expect(seen.relay.status.lag >= 19n).to.equal(true);
      await server.start();
      await untilCaughtUp(seen, { source });
      expectWhole(await place.messages(), source.items);
      expect(seen.lost).to.deep.equal([]);
    }));

  it("that comes back without its data gets everything again, and the relay says so", () =>
    withServer({}, async (server, place) => {
      const source = createRelayLedger();
      source.add(9);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await untilCaughtUp(seen, { source });
      await server.kill();
      await server.removeData();
      await server.start();
      source.add(1);
      await until(() => seen.lost.length > 0, "noticed");
      await untilCaughtUp(seen, { source });
      expect(seen.lost[0]?.[0]).to.equal(0n);
      expectWhole(await place.messages(), source.items);
    }));

  it("that answers nothing for a while gets everything once", () =>
    withServer({}, async (server, place) => {
      const source = createRelayLedger();
      source.add(9);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await untilCaughtUp(seen, { source });
      server.suspend();
      source.add(20);
      await until(() => seen.relay.status.lag > 0n, "behind");
      server.wake();
      await untilCaughtUp(seen, { source });
      expectWhole(await place.messages(), source.items);
    }));

  it("refuses a wrong password, and takes the right one when the file has it", async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const path = join(root, "password");
    await writeFile(path, "wrong\n");
    const settings = 'authorization { user: "relay", password: "right" }';
    const credentials = { kind: "password", user: "relay", path } as const;
    await withServer(
      { settings },
      async (_, place) => {
        const source = createRelayLedger();
        source.add(3);
        await using seen = await startRelay({
          source,
          destination: place.destination(),
          cursorPath: place.cursorPath,
        });
        await until(() => seen.errors.length > 0, "an error");
        expect(seen.errors[0]?.kind).to.equal("refused");
        expect(JSON.stringify(seen.errors)).not.to.contain("wrong");
        await writeFile(path, "right\n");
        await untilCaughtUp(seen, { source });
        expect(seen.relay.status.published).to.equal(3n);
      },
      { credentials },
    );
    await rm(root, { recursive: true });
  });

  /** A relay whose secret is first one that the server refuses, and then another. */
  const expectCredentials = async (
    settings: string,
    credentialsAt: (path: string) => NatsOptions["credentials"],
    { wrong, right }: { readonly wrong: readonly string[]; readonly right: string },
  ): Promise<void> => {
    const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    const path = join(root, "secret");
    await using server = await startNats({ settings });
    await using place = await openPlace(server, { credentials: credentialsAt(path) });
    const source = createRelayLedger();
    source.add(3);
    for (const text of wrong) {
      await writeFile(path, text);
      const { cursorPath } = place;
      await using seen = await startRelay({ source, destination: place.destination(), cursorPath });
      await until(() => seen.errors.length > 0, "an error");
      const [error] = seen.errors;
      expect(error?.kind).to.equal("refused");
      expect(error?.rule).to.match(
        /^cannot use nats:.*: ('?authorization violation'?|Authorization Violation)/i,
      );
      expect(JSON.stringify(seen.errors)).not.to.contain(text);
      expect(seen.relay.status.published).to.equal(0n);
    }
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await until(() => seen.errors.length > 0, "an error");
    await writeFile(path, right);
    await untilCaughtUp(seen, { source });
    expect(seen.relay.status.published).to.equal(3n);
    await rm(root, { recursive: true });
  };

  it("refuses a wrong token and none, and takes the right one when the file has it", () =>
    expectCredentials('authorization { token: "the right one" }', (path) => ({ kind: "token", path }), {
      wrong: ["the wrong one"],
      right: "the right one\n",
    }));

  it("refuses the .creds file of another operator's user, and takes its own when the file has it", () => {
    const [own, foreign] = [createNatsAccounts(), createNatsAccounts()];
    return expectCredentials(own.settings, (path) => ({ kind: "creds", path }), {
      wrong: [foreign.creds()],
      right: own.creds(),
    });
  });

  it("is not reached without its secret, and the relay says which file it is", async () => {
    for (const [kind, text] of [
      ["token", undefined],
      ["creds", undefined],
      ["creds", "no credentials, and private"],
    ] as const) {
      const path = join(tmpdir(), `sigil-relay-none-${kind}`);
      if (text !== undefined) await writeFile(path, text);
      await using place = await openPlace(nats, { credentials: { kind, path } });
      const source = createRelayLedger();
      source.add(1);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await until(() => seen.errors.length > 0, "an error");
      expect(seen.errors[0]?.kind).to.equal("refused");
      expect(seen.errors[0]?.rule).to.contain(path).and.not.contain("private");
      await rm(path, { force: true });
    }
  });

  it("is reached by TLS under the configured authority, and not under another", async () => {
    using authority = await createAuthority();
    using foreign = await createAuthority();
    const { cert, key } = await authority.issue("nats", "DNS:localhost");
    const settings = `tls { cert_file: ${JSON.stringify(cert)}, key_file: ${JSON.stringify(key)} }`;
    await using server = await startNats({ settings });
    const servers = [server.url.replace("nats://127.0.0.1", "tls://localhost")];
    const source = createRelayLedger();
    source.add(3);
    for (const { ca } of [foreign, authority]) {
      await using place = await openPlace(server, { servers, tls: { ca, cert: "", key: "" } });
      const destination = place.destination();
      await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
      if (ca === authority.ca) await untilCaughtUp(seen, { source });
      else await until(() => seen.errors.length > 0, "an error");
      expect(seen.relay.status.published).to.equal(ca === authority.ca ? 3n : 0n);
    }
  });

  it("stores a batch whole or not at all", async () => {
    await using place = await openPlace(nats);
    const source = createRelayLedger();
    source.add(5);
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const destination = place.destination(async (step) => {
      if (step !== "committing") return;
      reached.resolve();
      await goOn.promise;
    });
    await using seen = await startRelay({ source, destination, cursorPath: place.cursorPath });
    await reached.promise;
    const { state } = await withStreams(nats.url, (streams) => streams.info(place.stream));
    expect(state.messages).to.equal(0);
    goOn.resolve();
    await untilCaughtUp(seen, { source });
    expectWhole(await place.messages(), source.items);
  });

  it("refuses a stream of somebody else's that does not keep records, and says what it must be", async () => {
    for (const [config, rule] of [
      [{ storage: "memory", allow_atomic: true }, "file storage"],
      [{ storage: "file" }, "allow_atomic"],
    ] as const) {
      await using place = await openPlace(nats);
      const { stream } = place;
      await withStreams(nats.url, (streams) =>
        streams.add({ name: stream, subjects: [`p${stream}.>`], ...config }),
      );
      const source = createRelayLedger();
      source.add(1);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await until(() => seen.errors.length > 0, "an error");
      expect(seen.errors[0]).to.deep.include({ kind: "refused" });
      expect(seen.errors[0]?.rule).to.contain(rule);
    }
  });

  it("publishes nothing where something else published last", async () => {
    await using place = await openPlace(nats);
    const source = createRelayLedger();
    source.add(2);
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await untilCaughtUp(seen, { source });
    const connection = await connect({ servers: nats.url });
    await connection.request(`p${place.stream}.x`, "theirs");
    await connection.close();
    source.add(1);
    await until(() => seen.relay.status.error?.kind === "refused", "refused");
    expect(seen.relay.status.error?.rule).to.contain("no relay's");
  });

  it("goes on by its own cursor where the stream's limits took all messages", async () => {
    await using place = await openPlace(nats);
    const source = createRelayLedger();
    source.add(5);
    const options = { source, destination: place.destination(), cursorPath: place.cursorPath };
    await using first = await startRelay(options);
    await untilCaughtUp(first, { source });
    await first.relay.close();
    await withStreams(nats.url, (streams) => streams.purge(place.stream));
    source.add(2);
    await using seen = await startRelay(options);
    await untilCaughtUp(seen, { source });
    const positions = (await place.messages()).map(({ sigilposition, sigilprev }) => [
      sigilprev,
      sigilposition,
    ]);
    expect(positions).to.deep.equal([
      ["4", "5"],
      ["5", "6"],
    ]);
  });

  it("gets by reference what is larger than its messages", () =>
    withServer({ settings: "max_payload: 4096" }, async (_, place) => {
      const source = createRelayLedger();
      source.add(1, {}, 5000);
      source.add(1, {}, 2000);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await untilCaughtUp(seen, { source });
      const [large, small] = await place.messages();
      expect(large).not.to.have.any.keys("data", "datacontenttype");
      expect(large?.["dataref"]).to.equal(`sigil://ledger.test/main/records/${String(large?.["id"])}`);
      expect(small).to.include.keys("data", "datacontenttype");
    }));

  it("stops at a record that fits no message, and goes on after it as a new generation", () =>
    withServer({ settings: "max_payload: 1400" }, async (_, place) => {
      const source = createRelayLedger();
      source.add(1);
      source.add(1, { kind: "k".repeat(255), id: "i".repeat(255) });
      source.add(1);
      await using seen = await startRelay({
        source,
        destination: place.destination(),
        cursorPath: place.cursorPath,
      });
      await until(() => seen.relay.status.state === "stopped", "stopped");
      expect(seen.relay.status.error).to.include({ kind: "poison", position: 1n });
      expect(await place.messages()).to.have.length(1);
      await seen.relay.reset(2n);
      await untilCaughtUp(seen, { source });
      expectWhole(await place.messages(), source.items.slice(2), 2);
    }));

  it("has hostile names in subjects of as many tokens as any", async () => {
    await using place = await openPlace(nats);
    const source = createRelayLedger();
    const kinds = ["a.b", "a*", ">", "a b", "ä", "%2E", "\u0000\r\n", "__proto__"];
    for (const kind of kinds) source.add(1, { kind, id: "a/b:c@d~e" });
    await using seen = await startRelay({
      source,
      destination: place.destination(),
      cursorPath: place.cursorPath,
    });
    await untilCaughtUp(seen, { source });
    const messages = await place.messages();
    const subjects = messages.map((one) => one.natsSubject);
    expect(new Set(subjects).size).to.equal(kinds.length);
    for (const subject of subjects) expect(subject).to.match(/^p\w+\.acme\.user\.[A-Za-z0-9_%-]+$/);
    expect(messages.map(({ type }) => type)).to.deep.equal(
      kinds.map((kind) => `sigil.record.${encodeURIComponent(kind).replace("*", "%2A")}.v1`),
    );
  });
});
