/**
 * `sigil relay run`: relays in a process of their own read a server's feed as a principal with a feed grant, verify it
 * and publish it, whatever becomes of either process.
 */
import type { KeyObject } from "node:crypto";
import { once } from "node:events";
import { cp, rm, writeFile } from "node:fs/promises";
import { request as ask, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { createTokenSigner, type SigilConnection, type WatchResponse } from "@sigil/client";
import { ProvenTree } from "../../src/cli/relay/proven-tree.ts";
import { ServerLedger } from "../../src/cli/relay/server-feed.ts";
import { toHex } from "../../src/core/bytes.ts";
import { sha256 } from "../../src/core/hash.ts";
import { parseCheckpoint, parseNote } from "../../src/core/merkle/index.ts";
import { RelayFault } from "../../src/relay/destination.ts";
import { readFileMessages, readStreamMessages } from "../contract/relay-messages.ts";
import { until, type SeenMessage } from "../contract/relay-world.ts";
import { natsMissing, startNats } from "../contract/nats-server.ts";
import { put } from "./canon-writes.ts";
import { running, sigilHere, type Ended, type Running } from "./command.ts";
import { Council, json, newKey } from "./council.ts";
import { origin } from "./deployment.ts";
import { canaries, fill, filesHolding, orderErasure, untilErased } from "./erased-world.ts";

type Report = {
  readonly state: string;
  readonly generation: number;
  readonly next: string;
  readonly error: string | null;
};

const everything = { tenants: ["*"], kinds: ["*"], spaces: ["*"] };
const question = { action: "read", target: "public/docs" };

describe("relays in a process of their own", function () {
  this.timeout(120_000);
  this.slow(20_000);
  let council: Council;
  let parent = "";
  let data = "";
  let genesis = "";
  let key: KeyObject;
  let started: Running[] = [];

  const path = (name: string): string => join(parent, name);
  const ledger = () => council.served.server.ledger;
  const grant = async (asked: Partial<typeof everything> = {}): Promise<void> => {
    const proposal = await council.propose({
      id: "feed_grant/feed",
      content: json({ ...everything, ...asked }),
    });
    await council.approve(proposal, "ann", "ben");
  };

  beforeEach(async () => {
    key = newKey();
    const also = [{ id: "feed", loa: "observer", tenant: "relays", keys: [key] }] as const;
    council = await Council.open({ otherTenants: ["beta"], also });
    parent = join(council.deployment.directory, "..");
    data = path("relay");
    genesis = toHex((await ledger().reader.readAt(0n)).hash);
    await writeFile(path("feed.pem"), key.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  });
  afterEach(async () => {
    for (const one of started) await one[Symbol.asyncDispose]();
    started = [];
    await council[Symbol.asyncDispose]();
  });

  const asFeed = ["--key", "feed.pem", "--principal", "feed"];
  const wordsOf = (more: readonly string[] = asFeed): readonly string[] => [
    "relay",
    "run",
    "--config",
    "relays.toml",
    "--genesis",
    genesis,
    "--server",
    council.served.server.target,
    ...more,
  ];
  const configure = (...tables: readonly (readonly string[])[]): Promise<void> => {
    const relays = tables.map((lines) => ["[[relays]]", ...lines].join("\n")).join("\n\n");
    return writeFile(path("relays.toml"), `data = ${JSON.stringify(data)}\n\n${relays}\n`);
  };
  const toFiles = (name: string, ...more: readonly string[]): readonly string[] => [
    `name = "${name}"`,
    `to = "files"`,
    `directory = ${JSON.stringify(path(name))}`,
    ...more,
  ];
  const run = async (more?: readonly string[]): Promise<Running> => {
    const relays = running(wordsOf(more), { cwd: parent });
    started.push(relays);
    await relays.printed(/"msg":"relaying"/);
    return relays;
  };
  const relay = async (...words: readonly string[]) => {
    const ended = await sigilHere(["relay", ...words, "--data", data, "--json"], { cwd: parent });
    const { relays } = JSON.parse(ended.output || '{"relays":[]}') as { readonly relays: readonly Report[] };
    return { ...ended, relays };
  };
  const untilPublished = (read: () => Promise<readonly SeenMessage[]>): Promise<void> =>
    until(
      async () =>
        (await read().catch(() => [])).at(-1)?.["sigilposition"] === String(ledger().reader.size - 1n),
      "everything published",
    );
  const untilError = (pattern: RegExp): Promise<void> =>
    until(async () => pattern.test((await relay("status")).relays[0]?.error ?? ""), String(pattern));
  /** Every record of the ledger, linked, each with the leaf that it has there. */
  const expectWhole = async (messages: readonly SeenMessage[], generation = 1): Promise<void> => {
    const own = messages.filter(({ sigilgeneration }) => sigilgeneration === String(generation));
    const positions = Array.from({ length: Number(ledger().reader.size) }, (_, at) => BigInt(at));
    const leaves = await ledger().reader.tree.leaves(positions);
    expect(own.map(({ sigilleaf }) => sigilleaf)).to.deep.equal(leaves.map(toHex));
    expect(own.map(({ sigilposition }) => sigilposition)).to.deep.equal(positions.map(String));
    expect(own.slice(1).map(({ sigilprev }) => sigilprev)).to.deep.equal(positions.slice(0, -1).map(String));
    const checkpoints = own.filter(({ sigilcheckpoint }) => sigilcheckpoint !== undefined);
    expect(checkpoints.at(-1)).to.equal(own.at(-1));
    for (const { sigilcheckpoint, sigilposition } of checkpoints) {
      const note = Buffer.from(String(sigilcheckpoint), "base64").toString();
      expect(Number(parseCheckpoint(parseNote(note).text).size)).to.be.greaterThan(Number(sigilposition));
    }
  };
  const restartServer = (): Promise<void> => {
    const [host = "", port = ""] = council.served.server.target.split(":");
    return council.restart({ config: { listen: { host, port: Number(port) } } });
  };

  it("publish every record, go on after SIGTERM and after kill -9, and are shown, paused and reset by the same commands", async () => {
    await grant();
    await configure(toFiles("siem"));
    const read = () => readFileMessages(path("siem"));
    const relays = await run();
    await untilPublished(read);
    expect((await relay("status")).relays[0]).to.include({ state: "running", error: null });
    await council.served.as("guest").trust.check(question);
    await untilPublished(read);
    expect((await relay("pause", "siem")).exitCode).to.equal(0);
    expect(await relays.end("SIGTERM"), relays.said()).to.equal(0);
    const again = await run();
    expect((await relay("status")).relays[0]).to.include({ state: "paused" });
    await council.served.as("guest").trust.check(question);
    await relay("resume", "siem");
    await untilPublished(read);
    await again.end("SIGKILL");
    await council.served.as("guest").trust.check(question);
    await run();
    await untilPublished(read);
    await expectWhole(await read());
    const beyond = await relay("reset", "siem", "--to", "1000000");
    expect(beyond.problems).to.contain("to must be a position from 0 to");
    expect((await relay("reset", "siem", "--to", "0")).relays[0]).to.include({ generation: 2 });
    await until(async () => (await read()).length === 2 * Number(ledger().reader.size), "published again");
    await expectWhole(await read(), 2);
  });

  it("serve metrics and health, and are ready once the server has answered", async () => {
    await grant();
    await configure(toFiles("siem"));
    const socketPath = path("operator.sock");
    const get = async (asked: string): Promise<readonly [number | undefined, string]> => {
      const request = ask({ socketPath, path: asked }).end();
      const [response] = (await once(request, "response")) as [IncomingMessage];
      return [response.statusCode, await text(response)];
    };
    const { target } = council.served.server;
    const at = ["--operator-listen", `unix:${socketPath}`];
    const words = wordsOf([...asFeed, ...at]).map((word) => (word === target ? "127.0.0.1:1" : word));
    const waiting = running(words, { cwd: parent });
    started.push(waiting);
    await waiting.printed(/the server does not answer/);
    expect(await get("/readyz")).to.deep.equal([503, "not ready: the server has not answered yet\n"]);
    await waiting.end("SIGTERM");
    await run([...asFeed, ...at]);
    await untilPublished(() => readFileMessages(path("siem")));
    expect(await get("/readyz")).to.deep.equal([200, "ready\n"]);
    await until(
      async () => /^sigil_relay_lag_records\{relay="siem"\} 0$/m.test((await get("/metrics"))[1]),
      "no lag",
    );
    const [, metrics] = await get("/metrics");
    expect(metrics).to.match(/^sigil_relay_running\{relay="siem"\} 1$/m);
    expect(metrics).to.match(/^sigil_relay_events_total\{relay="siem"\} [1-9]/m);
    expect(metrics).to.contain("process_cpu_seconds_total").and.not.contain("sigil_rpc");
  });

  it("go on when the server is started again, and with the token that the file then has", async () => {
    await grant();
    await configure(toFiles("siem"));
    const token = (): string => createTokenSigner({ principal: "feed", origin, privateKey: key }).token();
    await writeFile(path("token"), `${token()}\n`);
    await run(["--token-file", "token"]);
    const read = () => readFileMessages(path("siem"));
    await untilPublished(read);
    await writeFile(path("token"), "no.token.atall");
    await restartServer();
    await untilError(/^refused: the server: UNAUTHENTICATED: /);
    await council.served.as("guest").trust.check(question);
    await writeFile(path("token"), token());
    await relay("resume", "siem");
    await untilPublished(read);
    await expectWhole(await read());
  });

  it("publish nothing without a grant, or of what it does not name, and begin once there is one", async () => {
    await configure(toFiles("some", 'tenants = ["beta"]', 'kinds = ["note"]'), toFiles("all"));
    const beta = council.served.by("operator-beta", council.deployment.privateKeys.operator);
    await put(beta, "b/1", { n: 1 });
    await put(council.as("operator"), "a/1", { n: 1 });
    await run();
    await untilError(/^refused: the server: PERMISSION_DENIED: /);
    expect((await relay("status")).exitCode).to.equal(1);
    await grant({ tenants: ["beta"], kinds: ["note"], spaces: ["user"] });
    await relay("resume", "some");
    await until(async () => (await readFileMessages(path("some"))).length === 1, "the note of beta");
    await until(
      async () => BigInt((await relay("status")).relays[0]?.next ?? 0) === ledger().reader.size,
      "the lag of a filtered relay is gone",
    );
    const { relays } = await relay("status");
    expect(relays[1]?.error).to.match(/^refused: the server: PERMISSION_DENIED: /);
    expect(await readFileMessages(path("all"))).to.deep.equal([]);
    await put(beta, "b/2", { n: 2 });
    await until(async () => (await readFileMessages(path("some"))).length === 2, "the next note");
    const [first, second] = await readFileMessages(path("some"));
    expect(second?.["sigilprev"]).to.equal(first?.["sigilposition"]);
  });

  it("take an erased tenant back when they are told to, not before the ledger has, and go on after its records", async () => {
    await grant();
    await configure(toFiles("all"), toFiles("some", 'tenants = ["acme", "beta"]', 'kinds = ["note"]'));
    await fill(council);
    const relays = await run();
    const read = () => readFileMessages(path("all"));
    const some = () => readFileMessages(path("some"));
    await untilPublished(read);
    await until(async () => (await some()).length === 20, "the notes of acme");
    const early = await relay("erase", "--tenant", "acme");
    expect(early.exitCode).to.equal(2);
    expect(early.problems, relays.said()).to.contain("the ledger has no record erased/acme");
    // The newest message of the filtered one is acme's: after its erasure a watch does not send it any more.
    await relays.end("SIGKILL");
    await council.approve(await orderErasure(council), "ann", "ben");
    await untilErased(council);
    await run();
    await untilPublished(read);
    const done = await relay("erase", "--tenant", "acme");
    expect([done.exitCode, done.problems]).to.deep.equal([0, ""]);
    for (const name of ["all", "some"]) expect(await filesHolding(path(name), canaries)).to.deep.equal([]);
    await expectWhole(await read());
    const beta = council.served.by("operator-beta", council.deployment.privateKeys.operator);
    await put(beta, "b/1", { n: 1 });
    await until(async () => (await some()).length === 21, "a note of beta");
  });

  it("say what is wrong and end when they cannot be right", async () => {
    await grant();
    await configure(toFiles("siem"));
    const tryRun = (words: readonly string[]): Promise<Ended> => sigilHere(words, { cwd: parent });
    const expectRefused = async (words: readonly string[], rule: RegExp): Promise<void> => {
      const { exitCode, problems } = await tryRun(words);
      expect([exitCode, problems]).to.satisfy(
        ([code, text]: readonly [number, string]) => code === 2 && rule.test(text),
        problems,
      );
    };
    await expectRefused(
      [...wordsOf(), "--data", council.deployment.directory],
      /data directory of a deploym/,
    );
    await expectRefused([...wordsOf(), "--token-file", "token"], /exclude each other/);
    await expectRefused(
      wordsOf().map((word) => (word === genesis ? "00".repeat(32) : word)),
      /genesis/,
    );
    await expectRefused(wordsOf(["--token-file", "feed.pem"]), /UNAUTHENTICATED|token/);
    await writeFile(path("server.toml"), `listen = "127.0.0.1:0"\n`);
    await expectRefused([...wordsOf(), "--config", "server.toml"], /is given twice/);
    await expectRefused(
      wordsOf().map((word) => (word === "relays.toml" ? "server.toml" : word)),
      /listen is a key of a server/,
    );
    await run();
    await expectRefused(wordsOf(), /relay\.sock: EADDRINUSE/);
  });

  it("wait for a server that does not answer yet, and end by SIGTERM meanwhile", async () => {
    await grant();
    await configure(toFiles("siem"));
    const words = wordsOf().map((word) => (word === council.served.server.target ? "127.0.0.1:1" : word));
    const relays = running(words, { cwd: parent });
    started.push(relays);
    await relays.printed(/the server does not answer: trying again/);
    expect(await relays.end("SIGTERM")).to.equal(0);
  });

  it("have their directory alone, also before any of them has a socket, and when they start at once", async () => {
    await configure(toFiles("siem"));
    const words = wordsOf().map((word) => (word === council.served.server.target ? "127.0.0.1:1" : word));
    for (let round = 0; round < 3; round += 1) {
      const both = [running(words, { cwd: parent }), running(words, { cwd: parent })];
      started.push(...both);
      const isInUse = /in use by another process of relays/;
      await until(async () => both.some((one) => isInUse.test(one.said())), "one of them is refused");
      const third = await sigilHere(words, { cwd: parent });
      expect([third.exitCode, third.problems]).to.satisfy(
        ([code, problems]: readonly [number, string]) => code === 2 && problems.includes("in use by another"),
      );
      const others = both.filter((one) => !isInUse.test(one.said()));
      expect(others).to.have.length(1);
      expect(await others[0]?.end("SIGTERM")).to.equal(0);
    }
  });

  it("notice after a restart that the server has another past than it had proved, until they are reset", async () => {
    await grant();
    // Its newest message is of both pasts, so that the destination tells nothing.
    await configure(toFiles("siem", 'kinds = ["note"]'));
    await put(council.as("operator"), "a/1", { n: 1 });
    const passed = async (): Promise<void> =>
      until(
        async () => BigInt((await relay("status")).relays[0]?.next ?? 0) === ledger().reader.size,
        "the relay has passed everything",
      );
    const check = async (times: number): Promise<void> => {
      for (let made = 0; made < times; made += 1) await council.served.as("guest").trust.check(question);
    };
    const { directory } = council.deployment;
    const moveServer = async (from: string, to: string): Promise<void> => {
      await council.served[Symbol.asyncDispose]();
      await rm(to, { recursive: true, force: true });
      await cp(from, to, { recursive: true, preserveTimestamps: true });
      await restartServer();
    };
    const older = path("older");
    await moveServer(directory, older);
    const relays = await run();
    await check(2);
    await passed();
    // Publishing again is no reason to take another past.
    await relay("reset", "siem", "--to", "0");
    await passed();
    expect(await relays.end("SIGTERM")).to.equal(0);
    await moveServer(older, directory);
    await check(4);
    await run();
    await untilError(/^refused: the server's feed does not verify: the tree of size/);
    await relay("resume", "siem");
    await untilError(/does not begin with that of size/);
    expect((await relay("reset", "siem", "--to", "0")).relays[0]?.generation).to.equal(3);
    await passed();
    expect((await relay("status")).relays[0]).to.include({ state: "running", error: null });
  });

  const openLedger = async (connection: SigilConnection): Promise<ServerLedger> => {
    const { hash } = await ledger().reader.readAt(0n);
    return ServerLedger.open(connection, hash, await ProvenTree.open(path("checkpoint.note")));
  };

  it("refuse a record that does not verify, and hand on nothing of it", async () => {
    await grant();
    await council.served.as("guest").trust.check(question);
    const connection = council.served.by("feed", key);
    const forged = async function* (
      ...asked: Parameters<SigilConnection["canon"]["watch"]>
    ): AsyncGenerator<WatchResponse, void, undefined> {
      for await (const response of connection.canon.watch(...asked)) {
        const { event } = response;
        const record = event?.$case === "record" ? event.value.record : undefined;
        if (record?.position === 5n) record.envelope = Buffer.from(record.envelope).fill(1, 40, 41);
        yield response;
      }
    };
    using outside = await openLedger({ ...connection, canon: { ...connection.canon, watch: forged } });
    const feed = outside.feedOf({ tenants: undefined, kinds: undefined, spaces: undefined }, "withheld");
    const positions: bigint[] = [];
    const { signal } = new AbortController();
    let fault: unknown;
    try {
      for await (const { items } of feed.from(0n, { signal }))
        positions.push(...items.map(({ position }) => position));
    } catch (error) {
      fault = error;
    }
    expect(positions).to.deep.equal([0n, 1n, 2n, 3n, 4n]);
    expect(fault).to.be.instanceOf(RelayFault).with.nested.property("error.kind", "refused");
    expect(await feed.hasLeaf(1n, "00".repeat(32), { signal })).to.equal(false);
  });

  it("learn where a version before stands, by its hash, as far as the grant names it", async () => {
    await grant();
    await council.served.as("guest").trust.check(question);
    const { reader } = ledger();
    const decision = await reader.readAt(reader.size - 1n);
    expect(decision.body.tenant).not.to.equal("relays");
    using outside = await openLedger(council.served.by("feed", key));
    const feed = outside.feedOf({ tenants: undefined, kinds: undefined, spaces: undefined }, "withheld");
    const { signal } = new AbortController();
    expect(await feed.positionOf(decision.hash, { signal })).to.equal(decision.position);
    expect(await feed.positionOf(sha256(decision.hash), { signal })).to.equal(undefined);
    await grant({ kinds: ["user_data"] });
    expect(await feed.positionOf(decision.hash, { signal })).to.equal(undefined);
  });

  it(`publish to NATS, over a server and relays that are killed${natsMissing === undefined ? "" : ` (${natsMissing})`}`, async function () {
    if (natsMissing !== undefined) return this.skip();
    await using nats = await startNats();
    await grant();
    await configure([`name = "bus"`, `to = "nats"`, `servers = ["${nats.url}"]`, `stream = "SIGIL"`]);
    for (let round = 0; round < 3; round += 1) {
      const relays = await run();
      for (let calls = 0; calls < 20; calls += 1) await council.served.as("guest").trust.check(question);
      if (round === 1) await restartServer();
      await relays.end("SIGKILL");
    }
    await run();
    const read = () => readStreamMessages(nats.url, "SIGIL");
    await untilPublished(read);
    await expectWhole(await read());
  });
});
