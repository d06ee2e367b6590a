/**
 * The bad days of a relay to NATS that its operator made: certificates, permissions, settings and limits, changed under
 * it too. Each is said in the words of docs/operating/relay.md, and over when it was put right.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StreamConfig } from "@nats-io/jetstream";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";
import { natsDestination, type NatsOptions } from "../../../src/relay/nats.ts";
import { createAuthority } from "../../contract/certificates.ts";
import { startProxy } from "../../contract/cutting-proxy.ts";
import { natsMissing, startNats, type Nats } from "../../contract/nats-server.ts";
import { readStreamMessages, withStreams } from "../../contract/relay-messages.ts";
import {
  createRelayLedger,
  expectWhole,
  startRelay,
  until,
  untilCaughtUp,
  type RelayLedger,
  type SeenRelay,
} from "../../contract/relay-world.ts";

/** Of `until`, in tries: longer than `relayPublishMsMax`. */
const patience = 15_000;

type World = AsyncDisposable & {
  readonly nats: Nats;
  readonly source: RelayLedger;
  readonly start: (options?: Partial<NatsOptions>) => Promise<SeenRelay>;
};

describe(`NATS on bad days${natsMissing === undefined ? "" : ` (${natsMissing})`}`, function () {
  this.slow(15_000);
  let root = "";
  let passwordPath = "";
  before(async function () {
    if (natsMissing !== undefined) return this.skip();
    root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
    passwordPath = join(root, "password");
    await writeFile(passwordPath, "right\n");
  });
  after(() => rm(root, { recursive: true, force: true }));

  let made = 0;
  /** A server and a ledger of five records. */
  const openWorld = async (
    settings = "",
    options: (nats: Nats) => Partial<NatsOptions> = () => ({}),
  ): Promise<World> => {
    const nats = await startNats({ settings });
    const source = createRelayLedger();
    source.add(5);
    made += 1;
    const cursorPath = join(root, `cursor-${made}.json`);
    const start = (more: Partial<NatsOptions> = {}): Promise<SeenRelay> =>
      startRelay({
        source,
        cursorPath,
        destination: natsDestination({
          servers: [nats.url],
          stream: "S",
          subjectPrefix: "s",
          replicas: 1,
          credentials: { kind: "none" },
          tls: null,
          ...options(nats),
          ...more,
        }),
      });
    return { nats, source, start, [Symbol.asyncDispose]: () => nats[Symbol.asyncDispose]() };
  };

  const untilError = async (seen: SeenRelay, kind: "refused" | "retryable", rule: RegExp): Promise<void> => {
    await until(
      () => seen.errors.some((error) => error.kind === kind && rule.test(error.rule)),
      `${kind} ${String(rule)}`,
      patience,
    );
    expect(seen.relay.status.state).to.equal("waiting");
  };
  const changeStream = (nats: Nats, config: Partial<StreamConfig>): Promise<unknown> =>
    withStreams(nats.url, (streams) => streams.update("S", config));

  it("waits for an operator where a certificate does not verify or is wanted, or a file is not there, and names it", async () => {
    using authority = await createAuthority();
    using foreign = await createAuthority();
    const own = await authority.issue("nats", "DNS:localhost");
    const others = await authority.issue("other", "DNS:other.example");
    const served = ({ cert, key }: typeof own, more = ""): string =>
      `tls { cert_file: ${JSON.stringify(cert)}, key_file: ${JSON.stringify(key)}${more} }`;
    const verifies = `, ca_file: ${JSON.stringify(authority.ca)}, verify: true`;
    for (const [settings, ca, rule] of [
      [served(own), foreign.ca, /: TLS: UNABLE_TO_VERIFY_LEAF_SIGNATURE$/],
      [served(own), "", /: TLS: UNABLE_TO_VERIFY_LEAF_SIGNATURE$/],
      [served(others), authority.ca, /: TLS: ERR_TLS_CERT_ALTNAME_INVALID$/],
      [served(own, verifies), authority.ca, /: TLS: ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED$/],
      [served(own), join(root, "nowhere.pem"), /cannot read \S+nowhere\.pem$/],
    ] as const) {
      await using world = await openWorld(settings, ({ url }) => ({
        servers: [url.replace("nats://127.0.0.1", "tls://localhost")],
        tls: { ca, cert: "", key: "" },
      }));
      await using seen = await world.start();
      await untilError(seen, "refused", rule);
      expect(seen.relay.status.published).to.equal(0n);
    }
  });

  it("waits for an operator where it lacks a permission, names the subject, and goes on once it has it", async () => {
    const users = (denied: string): string =>
      `authorization { users = [ { user: relay, password: right, permissions: { ${denied} } } ] }`;
    for (const [denied, rule] of [
      ['publish: { deny: ["s.>"] }', /Permissions Violation for Publish to "s\.acme\./],
      ['publish: { deny: ["$JS.API.>"] }', /Permissions Violation for Publish to "\$JS\.API\.INFO"/],
      ['publish: { deny: ["$JS.API.STREAM.CREATE.>"] }', /Publish to "\$JS\.API\.STREAM\.CREATE\.S"/],
      ['subscribe: { deny: ["_INBOX.>"] }', /Permissions Violation for Subscription to "_INBOX\./],
    ] as const) {
      const credentials = { kind: "password", user: "relay", path: passwordPath } as const;
      await using world = await openWorld(users(denied), () => ({ credentials }));
      await using seen = await world.start();
      await untilError(seen, "refused", rule);
      await world.nats.kill();
      await world.nats.start(users(""));
      await untilCaughtUp(seen, world);
      expect(seen.relay.status.published).to.equal(5n);
      expect(seen.lost).to.deep.equal([]);
    }
  });

  it("needs no permission that the page does not name", async () => {
    const page = await readFile(join(repository, "docs/operating/relay.md"), "utf8");
    const [, publishing = "", subscribing = ""] =
      /^On NATS the relay needs to publish to (.*), and to subscribe to (\S+)\.$/m.exec(page) ?? [];
    const subjects = [...publishing.matchAll(/`([^`]+)`/g)].map(([, subject = ""]) =>
      JSON.stringify(subject.replace("SIGIL", "S").replace("sigil.>", "s.>")),
    );
    expect(subjects).to.have.length(5);
    const permissions = `publish: [${subjects.join(", ")}], subscribe: [${subscribing.replaceAll("`", '"')}]`;
    await using world = await openWorld(
      `authorization { users = [ { user: relay, password: right, permissions: { ${permissions} } } ] }`,
      () => ({ credentials: { kind: "password", user: "relay", path: passwordPath } }),
    );
    {
      await using first = await world.start();
      await untilCaughtUp(first, world);
      expect(first.errors).to.deep.equal([]);
    }
    world.source.add(3);
    await using seen = await world.start();
    await untilCaughtUp(seen, world);
    await seen.relay.reset(0n);
    await untilCaughtUp(seen, world);
    expect(seen.errors).to.deep.equal([]);
  });

  it("waits for an operator where its account has no JetStream", async () => {
    const account = (more: string): string =>
      `accounts { A { ${more} users = [ { user: relay, password: right } ] } }`;
    await using world = await openWorld(account(""), () => ({
      credentials: { kind: "password", user: "relay", path: passwordPath },
    }));
    await using seen = await world.start();
    await untilError(seen, "refused", /JetStream not enabled for account$/);
    await world.nats.kill();
    await world.nats.start(account("jetstream: enabled,"));
    await untilCaughtUp(seen, world);
  });

  it("is given everything again where somebody deletes the stream under it, and the relay says so", async () => {
    await using world = await openWorld();
    await using seen = await world.start();
    await untilCaughtUp(seen, world);
    await withStreams(world.nats.url, async (streams) => void (await streams.delete("S")));
    world.source.add(3);
    await untilCaughtUp(seen, world);
    expect(seen.lost).to.deep.equal([[0n, 5n]]);
    expectWhole(await readStreamMessages(world.nats.url, "S"), world.source.items);
  });

  it("waits where the stream is sealed, has another subject or takes no batch under it, and goes on when it is as it was", async () => {
    const changes: readonly (readonly [Partial<StreamConfig>, Partial<StreamConfig>, RegExp])[] = [
      [{ subjects: ["other.>"] }, { subjects: ["s.>"] }, /^the stream S must have the subject s\.>$/],
      [{ allow_atomic: false }, { allow_atomic: true }, /^the stream S must allow atomic batches/],
    ];
    for (const [change, undo, rule] of changes) {
      await using world = await openWorld();
      await using seen = await world.start();
      await untilCaughtUp(seen, world);
      await changeStream(world.nats, change);
      world.source.add(3);
      await untilError(seen, "refused", rule);
      await changeStream(world.nats, undo);
      await untilCaughtUp(seen, world);
      expectWhole(await readStreamMessages(world.nats.url, "S"), world.source.items);
    }
    await using world = await openWorld();
    await using seen = await world.start();
    await untilCaughtUp(seen, world);
    await changeStream(world.nats, { sealed: true });
    world.source.add(3);
    // Nothing unseals a stream.
    await untilError(seen, "refused", /^the stream S is sealed$/);
  });

  it("waits where the stream has as much as its limits let it, and goes on when they are raised", async () => {
    await using world = await openWorld();
    await using seen = await world.start();
    await untilCaughtUp(seen, world);
    await changeStream(world.nats, { max_msgs: 5, discard: "new" });
    world.source.add(3);
    await untilError(seen, "retryable", /did not take a batch: maximum messages exceeded$/);
    await changeStream(world.nats, { max_msgs: -1 });
    await untilCaughtUp(seen, world);
    expectWhole(await readStreamMessages(world.nats.url, "S"), world.source.items);
  });

  it("gets by reference what is larger than messages may be by now", async () => {
    await using world = await openWorld();
    await using seen = await world.start();
    await untilCaughtUp(seen, world);
    await changeStream(world.nats, { max_msg_size: 4096 });
    world.source.add(1, {}, 8000);
    await untilCaughtUp(seen, world);
    await world.nats.kill();
    await world.nats.start("max_payload: 4096");
    world.source.add(1, {}, 8000);
    await untilCaughtUp(seen, world);
    const messages = await readStreamMessages(world.nats.url, "S");
    expectWhole(messages, world.source.items);
    for (const large of messages.slice(-2))
      expect(large).to.include.keys("dataref").and.not.have.any.keys("data");
  });

  it("is waited for where it answers nothing for longer than a batch may take, and then has every record once", async () => {
    await using world = await openWorld();
    await using seen = await world.start();
    await untilCaughtUp(seen, world);
    world.nats.suspend();
    world.source.add(20);
    await untilError(seen, "retryable", /^the stream S acknowledged nothing for 10 s/);
    world.nats.wake();
    await until(() => seen.relay.status.next >= world.source.size(), "caught up", patience);
    expectWhole(await readStreamMessages(world.nats.url, "S"), world.source.items);
    expect(seen.lost).to.deep.equal([]);
  });

  it("is slow and gets everything once, with no error", async () => {
    await using world = await openWorld();
    await using proxy = await startProxy(Number(new URL(world.nats.url).port), { delayMs: 200 });
    await using seen = await world.start({ servers: [`nats://127.0.0.1:${proxy.port}`] });
    world.source.add(20);
    await until(() => seen.relay.status.lag > 0n, "behind");
    await untilCaughtUp(seen, world);
    expectWhole(await readStreamMessages(world.nats.url, "S"), world.source.items);
    expect(seen.errors).to.deep.equal([]);
  });
});
