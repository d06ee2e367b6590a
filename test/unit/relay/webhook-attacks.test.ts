/** What receivers, name servers and networks may try with a webhook relay. */
import { readFile, stat } from "node:fs/promises";
import type { LookupFunction } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { parseRetryAfter } from "../../../src/relay/webhook/post.ts";
import { createGate } from "../../../src/relay/webhook/reachable.ts";
import type { WebhookOptions } from "../../../src/relay/webhook/webhook.ts";
import { createAuthority, type Pair } from "../../contract/certificates.ts";
import { until, untilCaughtUp } from "../../contract/relay-world.ts";
import {
  answering,
  createWebhookTls,
  openWebhookPlace,
  ruleOf,
  startAt,
  webhookSecret as secret,
  type WebhookPlace,
  type WebhookTls,
} from "../../contract/webhook-place.ts";
import { startReceiver } from "../../contract/webhook-receiver.ts";

describe("an attack on a webhook relay", () => {
  let tls: WebhookTls;
  before(async () => {
    tls = await createWebhookTls();
  });
  after(() => tls[Symbol.dispose]());

  const openPlace = (options: Partial<WebhookOptions> = {}, served?: Pair | "plain"): Promise<WebhookPlace> =>
    openWebhookPlace(tls, options, served);

  it("by a redirect to a metadata service reaches nothing", async () => {
    await using place = await openPlace();
    await using internal = await startReceiver(undefined);
    for (const [status, location] of [
      [302, "http://169.254.169.254/latest/meta-data/"],
      [307, `http://127.0.0.1:${internal.port}/`],
      [308, "/other"],
    ] as const) {
      place.receiver.answer = (_, response) => void response.writeHead(status, { location }).end();
      const rule = await ruleOf(place, "refused");
      expect(rule).to.equal(`the receiver answered ${status}: redirects are not followed`);
    }
    expect(internal.received).to.deep.equal([]);
    expect(place.receiver.received.every(({ path }) => path.startsWith("/hook/"))).to.equal(true);
  });

  it("by a name of a private, local or metadata address reaches nothing", async () => {
    for (const address of ["10.1.2.3", "169.254.169.254", "127.0.0.2"]) {
      const seen: string[] = [];
      await using place = await openPlace({ lookup: answering(() => address, seen) });
      expect(await ruleOf(place, "refused")).to.contain(`the host is ${address}`);
      expect(seen).not.to.deep.equal([]);
    }
    for (const url of [
      "https://10.1.2.3/",
      "https://[fd00::1]/",
      "https://0x7f000002/",
      "https://[::ffff:10.0.0.1]/",
    ]) {
      await using place = await openPlace({ url });
      expect(await ruleOf(place, "refused"), url).to.contain("private_addresses");
    }
  });

  it("by a name with one closed address among open ones reaches nothing", async () => {
    const lookup: LookupFunction = (_, __, callback) =>
      callback(null, [
        { address: "127.0.0.1", family: 4 },
        { address: "10.0.0.1", family: 4 },
      ]);
    await using place = await openPlace({ lookup });
    expect(await ruleOf(place, "refused")).to.contain("10.0.0.1");
    expect(place.receiver.received).to.deep.equal([]);
  });

  it("by rebinding finds that the address checked is the one connected to", async () => {
    const names: string[] = [];
    // Open when first asked, the internal service ever after.
    const lookup = answering((call) => (call === 1 ? "127.0.0.1" : "127.0.0.2"), names);
    await using place = await openPlace({ lookup });
    await using internal = await startReceiver(tls.pair, { host: "127.0.0.2", port: place.receiver.port });
    place.receiver.answer = (_, response) => void response.writeHead(204, { connection: "close" }).end();
    const { source, start } = startAt(place);
    source.add(1);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    expect(names).to.have.length(1);
    source.add(1);
    await until(() => seen.errors.length > 0, "refused");
    expect(seen.errors[0]).to.include({ kind: "refused" });
    expect(seen.errors[0]?.rule).to.contain("the host is 127.0.0.2");
    expect(internal.received).to.deep.equal([]);
    expect(place.receiver.accepted).to.have.length(1);
  });

  it("by a name of another machine gets no plain HTTP, listed or not", async () => {
    const privateAddresses = ["127.0.0.1", "10.0.0.0/8"];
    for (const address of ["10.0.0.1", "93.184.216.34"]) {
      await using refused = await openPlace({ privateAddresses, lookup: answering(() => address) }, "plain");
      expect(await ruleOf(refused, "refused")).to.contain(address);
    }
    await using place = await openPlace({ privateAddresses }, "plain");
    const { source, start } = startAt(place);
    source.add(1);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    expect(place.receiver.accepted).to.have.length(1);
  });

  it("on addresses is held to the special-purpose registries", () => {
    const isOpen = createGate({ opened: ["10.9.0.0/16", "fd00:1::/32"], isLoopbackOnly: false });
    const closed =
      "0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 168.63.129.16 169.254.169.254 172.31.255.255 192.168.0.1 " +
      "224.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:a9fe:a9fe ::10.0.0.1 64:ff9b::a9fe:a9fe 2002:a00:1:: " +
      "fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1";
    const open = "10.9.1.2 fd00:1::5 8.8.8.8 172.32.0.1 100.128.0.1 2606:4700::1111 ::ffff:8.8.8.8";
    expect(closed.split(" ").filter(isOpen)).to.deep.equal([]);
    expect(open.split(" ").filter((one) => !isOpen(one))).to.deep.equal([]);
  });

  it("by a certificate of another authority or name gets nothing", async () => {
    using foreign = await createAuthority();
    const wrong = await foreign.issue("receiver", "DNS:localhost");
    const otherName = await tls.authority.issue("other", "DNS:other.test");
    const reject = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      for (const served of [wrong, otherName]) {
        await using place = await openPlace({}, served);
        expect(await ruleOf(place, "refused")).to.match(/^the receiver's certificate: [A-Z_]+$/);
        expect(place.receiver.received).to.deep.equal([]);
      }
    } finally {
      if (reject === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = reject;
    }
  });

  it("by no answer costs one request its time", async () => {
    await using place = await openPlace({ timeoutMs: 100 });
    place.receiver.answer = () => new Promise(() => {});
    expect(await ruleOf(place, "retryable")).to.equal("no answer within 100 ms");
  });

  it("by an endless body costs its connection and no memory", async () => {
    await using place = await openPlace();
    let [sent, ended] = [0, 0];
    place.receiver.answer = (_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(16 << 10))) sent += 16 << 10;
      };
      response.on("drain", more);
      response.on("close", () => (ended += 1));
      more();
    };
    const { source, start } = startAt(place);
    source.add(2);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    await until(() => ended >= 2, "both ended");
    expect(place.receiver.accepted).to.have.length(2);
    // Of what the relay reads, and what the sockets of both sides hold.
    expect(sent).to.be.below(64 << 20);
  });

  it("by a large body costs its connection, which a small one does not", async () => {
    for (const [bytes, connections] of [
      [1000, 1],
      [4 << 20, 2],
    ] as const) {
      await using place = await openPlace();
      place.receiver.answer = (_, response) => void response.writeHead(200).end(Buffer.alloc(bytes));
      const { source, start } = startAt(place);
      for (let one = 0; one < 2; one += 1) source.add(1, { id: "same" });
      await using seen = await start();
      await untilCaughtUp(seen, { source });
      expect(new Set(place.receiver.received.map(({ port }) => port)).size).to.equal(connections);
    }
  });

  it("by Retry-After delays within a bound", async () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(parseRetryAfter("3", now)).to.equal(3000);
    expect(parseRetryAfter("999999999", now)).to.equal(600_000);
    expect(parseRetryAfter("Thu, 01 Jan 2026 00:00:09 GMT", now)).to.equal(9000);
    expect(parseRetryAfter("Thu, 01 Jan 1970 00:00:09 GMT", now)).to.equal(0);
    for (const value of [undefined, "soon"]) expect(parseRetryAfter(value, now)).to.equal(undefined);
    await using place = await openPlace();
    place.receiver.answer = (_, response) => {
      if (place.receiver.received.length < 2) response.writeHead(429, { "retry-after": "7" }).end();
    };
    const slept: number[] = [];
    const { source, start } = startAt(place, {
      sleep: async (ms) => {
        slept.push(ms);
        await delay(1);
      },
    });
    source.add(1);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    expect(slept).to.include(7000);
  });

  it("on secrets finds them in no status, error or file of the relay's", async () => {
    const parts = ["path-secret", "query-secret", secret, secret.slice("whsec_".length)];
    const text: string[] = [];
    for (const status of [302, 422, 500]) {
      await using place = await openPlace();
      place.receiver.answer = (_, response) => void response.writeHead(status).end(parts.join(" "));
      const { source, start } = startAt(place);
      source.add(1);
      await using seen = await start();
      await until(() => seen.errors.length > 0 || place.stops.length > 0, "something");
      await seen.relay.close();
      const files = await Promise.all(
        ["keys.json", "cursor.json"].map(async (name) => {
          const path = join(place.root, name);
          const held = await stat(path).catch(() => undefined);
          expect((held?.mode ?? 0) & 0o077).to.equal(0);
          return held === undefined ? "" : readFile(path, "utf8");
        }),
      );
      const said = [seen.errors, seen.relay.status, place.stops, files];
      text.push(
        JSON.stringify(said, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
      );
    }
    expect(text.join("\n")).to.contain("webhook at https://localhost").and.contain("422");
    for (const part of parts) expect(text.join("\n")).not.to.contain(part);
  });
});
