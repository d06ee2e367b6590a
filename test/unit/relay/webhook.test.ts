/** Webhooks as a destination: the suite of all, what a request says, and order by key. */
import { createHash, createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { parseSecrets } from "../../../src/relay/webhook/signature.ts";
import type { WebhookOptions } from "../../../src/relay/webhook/webhook.ts";
import { testDestination } from "../../contract/relay-destination.ts";
import { expectWhole, killAfter, startRelay, until, untilCaughtUp } from "../../contract/relay-world.ts";
import {
  createWebhookTls,
  openWebhookPlace,
  positionsOf,
  ruleOf,
  startAt,
  webhookSecret as secret,
  type WebhookPlace,
  type WebhookTls,
} from "../../contract/webhook-place.ts";
import { webhookFault } from "../../contract/webhook-receiver.ts";

describe("a webhook", () => {
  let tls: WebhookTls;
  before(async () => {
    tls = await createWebhookTls();
  });
  after(() => tls[Symbol.dispose]());

  const openPlace = (options: Partial<WebhookOptions> = {}): Promise<WebhookPlace> =>
    openWebhookPlace(tls, options);

  testDestination("a webhook", () => openPlace({ parallel: 2 }), "nothing");

  describe("request", () => {
    it("is a CloudEvent in binary mode, signed as Standard Webhooks says", async () => {
      await using place = await openPlace();
      const { source, start } = startAt(place);
      source.add(1);
      await using seen = await start();
      await untilCaughtUp(seen, { source });
      const [one] = place.receiver.accepted;
      const { envelope } = source.items[0]?.record ?? expect.fail("no record");
      expect(one?.path).to.equal("/hook/path-secret?token=query-secret");
      expect(one?.body.equals(envelope)).to.equal(true);
      expect(one?.headers).to.include({
        "content-type": "application/vnd.sigil.envelope.v1+cbor",
        "ce-type": "sigil.record.user_data.v1",
        "ce-subject": "acme/user/note/0",
        "webhook-id": createHash("sha256").update(envelope).digest("hex"),
      });
      expect(one?.headers).not.to.have.property("ce-datacontenttype");
      expect(one?.headers["ce-id"]).to.equal(one?.headers["webhook-id"]);
      expect(webhookFault(one ?? expect.fail("nothing"), secret, Date.now())).to.equal(undefined);
    });

    it("has the time of its attempt, so that a receiver refuses it later as a replay", async () => {
      let now = 1_700_000_000_000;
      await using place = await openPlace({ nowMs: () => now });
      place.receiver.answer = (_, response) => {
        now += 600_000;
        response.writeHead(place.receiver.received.length === 1 ? 503 : 204).end();
      };
      const { source, start } = startAt(place);
      source.add(1);
      await using seen = await start();
      await untilCaughtUp(seen, { source });
      const [first, second] = place.receiver.received;
      expect(webhookFault(second ?? expect.fail("once"), secret, 1_700_000_600_000)).to.equal(undefined);
      expect(webhookFault(first ?? expect.fail("never"), secret, 1_700_000_600_000)).to.equal(
        "an old timestamp",
      );
      expect(second?.headers["webhook-id"]).to.equal(first?.headers["webhook-id"]);
      // The time is signed: a replay cannot be given a new one.
      const forged = { ...first?.headers, "webhook-timestamp": "1700000600" };
      const body = first?.body ?? Buffer.alloc(0);
      expect(webhookFault({ headers: forged, body }, secret, 1_700_000_600_000)).to.equal(
        "no signature of the secret",
      );
    });

    it("is signed as another implementation signs it", () => {
      // Of the reference libraries' own tests.
      const message = {
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestampSeconds: 1_614_265_330,
        body: Buffer.from('{"test": 2432232314}'),
      };
      const wanted = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
      expect(parseSecrets("v1", secret)(message)).to.equal(wanted);
      const other = `whsec_${Buffer.alloc(32, 1).toString("base64")}`;
      const [first, second, ...more] = parseSecrets("v1", `${other}\n${secret}\n`)(message).split(" ");
      expect(first).to.match(/^v1,/).and.not.equal(wanted);
      expect([second, more]).to.deep.equal([wanted, []]);
    });

    it("is signed with Ed25519 where that is configured", () => {
      const { privateKey, publicKey } = generateKeyPairSync("ed25519");
      const seed = privateKey.export({ format: "der", type: "pkcs8" }).subarray(-32);
      const publicBytes = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
      const message = { id: "a", timestampSeconds: 7, body: Buffer.from("b") };
      for (const bytes of [seed, Buffer.concat([seed, publicBytes])]) {
        const signed = parseSecrets("v1a", `whsk_${bytes.toString("base64")}`)(message);
        const [, encoded = ""] = /^v1a,(.+)$/.exec(signed) ?? [];
        const key = createPublicKey(privateKey);
        expect(verify(null, Buffer.from("a.7.b"), key, Buffer.from(encoded, "base64"))).to.equal(true);
      }
      const foreign = Buffer.concat([seed, Buffer.alloc(32)]).toString("base64");
      expect(() => parseSecrets("v1a", `whsk_${foreign}`)).to.throw("Ed25519 seed");
    });

    it("is not made with a secret that is none, whose text no error has", () => {
      const bad = [
        "",
        "topsecret",
        "whsec_",
        "whsec_dG9wc2VjcmV0",
        "whsec_top secret",
        "whsec_topsecret!",
        "whsk_x",
      ];
      for (const text of bad) {
        for (const scheme of ["v1", "v1a"] as const) {
          expect(() => parseSecrets(scheme, text))
            .to.throw(/secret|key/)
            .with.property("message")
            .that.does.not.match(/top|dG9w/);
        }
      }
    });
  });

  describe("lane", () => {
    const send = async (place: WebhookPlace, ids: readonly string[]) => {
      const { source, start } = startAt(place);
      for (const id of ids) source.add(1, { id });
      return { source, seen: await start() };
    };

    it("has one request in flight and ledger order for each key, and keys go in parallel", async () => {
      await using place = await openPlace();
      place.receiver.answer = async () => {
        await until(() => place.receiver.peaks.all >= 2, "two keys in flight");
        await delay(3);
      };
      const ids = Array.from({ length: 40 }, (_, at) => `note/${(at >> 1) % 3}`);
      const { source, seen } = await send(place, ids);
      await using _ = seen;
      await untilCaughtUp(seen, { source });
      for (const id of new Set(ids)) {
        const wanted = ids.flatMap((one, at) => (one === id ? [String(at)] : []));
        expect(positionsOf(place.receiver.accepted, `acme/user/${id}`)).to.deep.equal(wanted);
      }
      expect(place.receiver.peaks.key).to.equal(1);
      expect(place.receiver.peaks.all).to.be.within(2, 4);
    });

    it("tries again what failed, in order, and nothing that was accepted beside it", async () => {
      await using place = await openPlace();
      let failures = 3;
      place.receiver.answer = ({ message }, response) => {
        if (message["sigilposition"] === "1" && failures-- > 0) response.writeHead(500).end();
      };
      const { source, seen } = await send(place, ["a", "b", "a", "b", "c"]);
      await using _ = seen;
      await untilCaughtUp(seen, { source });
      expect(positionsOf(place.receiver.received, "acme/user/b")).to.deep.equal(["1", "1", "1", "1", "3"]);
      expect(positionsOf(place.receiver.received, "acme/user/a")).to.deep.equal(["0", "2"]);
      expect(positionsOf(place.receiver.received, "acme/user/c")).to.deep.equal(["4"]);
      expect(place.stops).to.deep.equal([]);
    });

    it("stops at a refused record while other keys go on, over a restart, until it is resumed", async () => {
      await using place = await openPlace();
      let isRefusing = true;
      place.receiver.answer = ({ message }, response) => {
        if (isRefusing && message["sigilposition"] === "1") response.writeHead(422).end();
      };
      const { source, start } = startAt(place);
      for (const id of ["a", "b", "a", "b"]) source.add(1, { id });
      {
        await using seen = await start();
        await untilCaughtUp(seen, { source });
        const { stopped } = seen.relay.status;
        const rule = "the receiver answered 422";
        expect(stopped).to.deep.equal([{ key: "acme/user/b", position: 1n, pending: 2, rule }]);
      }
      const again = { source, destination: place.destination(), cursorPath: place.cursorPath };
      source.add(1, { id: "b" });
      source.add(1, { id: "a" });
      await using seen = await startRelay(again);
      await untilCaughtUp(seen, { source });
      expect(seen.relay.status.stopped[0]).to.include({ position: 1n, pending: 3 });
      expect(positionsOf(place.receiver.accepted)).to.deep.equal(["0", "2", "5"]);
      // A resume that is refused again changes nothing.
      await seen.relay.resume();
      await until(() => positionsOf(place.receiver.received, "acme/user/b").length === 2, "tried again");
      await untilCaughtUp(seen, { source });
      expect(seen.relay.status.stopped[0]).to.include({ position: 1n, pending: 3 });
      isRefusing = false;
      await seen.relay.resume();
      await until(() => seen.relay.status.stopped.length === 0, "going on");
      source.add(1, { id: "b" });
      await untilCaughtUp(seen, { source });
      expect(positionsOf(place.receiver.accepted, "acme/user/b")).to.deep.equal(["1", "3", "4", "6"]);
      expectWhole(await place.messages(), source.items);
      expect(await readFile(join(place.root, "keys.json"), "utf8")).to.equal("[]\n");
    });

    it("loses nothing that it holds back when it is killed between any two steps", async () => {
      for (let steps = 7; steps <= 24; steps += 1) {
        await using place = await openPlace({ parallel: 2 });
        let isRefusing = true;
        place.receiver.answer = ({ message }, response) => {
          if (isRefusing && message["subject"] === "acme/user/b") response.writeHead(422).end();
        };
        const { onStep, died } = killAfter(steps);
        const { source, start } = startAt(place, { destination: place.destination(onStep), onStep });
        for (const id of ["a", "b", "b", "a"]) source.add(1, { id });
        const killed = await start();
        const end = await Promise.race([died, untilCaughtUp(killed, { source }).then(() => "no step")]);
        if (end === "no step") await killed.relay.close();
        // The cursor's file follows the cursor: what it says must be no further than what was saved.
        await delay(20);
        const again = { source, destination: place.destination(), cursorPath: place.cursorPath };
        await using seen = await startRelay(again);
        await untilCaughtUp(seen, { source });
        expect(seen.relay.status.stopped[0], end).to.include({ position: 1n, pending: 2 });
        isRefusing = false;
        await seen.relay.resume();
        await until(() => seen.relay.status.stopped.length === 0, "going on");
        expectWhole(await place.messages(), source.items);
      }
    });

    it("gives what was erased while it was stopped without data", async () => {
      await using place = await openPlace();
      let isRefusing = true;
      place.receiver.answer = (_, response) => void (isRefusing && response.writeHead(410).end());
      const { source, seen } = await send(place, ["a", "a"]);
      await using _ = seen;
      await untilCaughtUp(seen, { source });
      expect(await readFile(join(place.root, "keys.json"), "utf8")).not.to.contain("data");
      source.erase(0);
      isRefusing = false;
      await seen.relay.resume();
      await until(() => seen.relay.status.stopped.length === 0, "going on");
      const [erased, whole] = await place.messages();
      expect(erased).to.include({ type: "sigil.erased.v1", sigilposition: "0" });
      expect(place.receiver.accepted[0]?.body.length).to.equal(0);
      expect(whole).to.include({ sigilposition: "1", sigilprev: "0" });
      expectWhole(await place.messages(), source.items);
    });

    it("gives a refused record to the dead letters where that is configured, and says so", async () => {
      const root = await mkdtemp(join(tmpdir(), "sigil-dead-"));
      const path = join(root, "dead.jsonl");
      await writeFile(path, '{"torn":');
      await using place = await openPlace({ poison: { kind: "dead_letter", path } });
      place.receiver.answer = ({ message }, response) => {
        if (message["sigilposition"] === "1") response.writeHead(400).end();
      };
      const { source, seen } = await send(place, ["a", "b", "b"]);
      await using _ = seen;
      await untilCaughtUp(seen, { source });
      const rule = "the receiver answered 400";
      expect(place.givenUp).to.deep.equal([{ key: "acme/user/b", position: 1n, rule }]);
      expect(seen.relay.status.stopped).to.deep.equal([]);
      expect(positionsOf(place.receiver.accepted)).to.have.members(["0", "2"]);
      const [torn, letter = "", ...more] = (await readFile(path, "utf8")).split("\n");
      expect([torn, more]).to.deep.equal(['{"torn":', [""]]);
      expect(JSON.parse(letter)).to.include({ sigilposition: "1" }).and.have.property("data_base64");
      await rm(root, { recursive: true });
    });

    it("writes each dead letter whole, though keys are refused at the same time", async () => {
      const root = await mkdtemp(join(tmpdir(), "sigil-dead-"));
      const path = join(root, "dead.jsonl");
      await using place = await openPlace({ poison: { kind: "dead_letter", path }, parallel: 6 });
      place.receiver.answer = async (_, response) => {
        await until(() => place.receiver.received.length === 6, "six keys in flight");
        response.writeHead(400).end();
      };
      const { source, start } = startAt(place);
      // Longer than what one write takes.
      source.add(6, {}, 900_000);
      await using seen = await start();
      await untilCaughtUp(seen, { source });
      expect(place.givenUp).to.have.length(6);
      const letters = (await readFile(path, "utf8")).trimEnd().split("\n");
      const read = letters.map((line): unknown => JSON.parse(line));
      expect(read).to.have.length(6);
      for (const one of read) expect(one).to.have.property("data_base64").with.length(1_200_000);
      await rm(root, { recursive: true });
    });

    it("tries no more stopped keys of a receiver that is down than those in flight, and goes on publishing", async () => {
      await using place = await openPlace();
      let status = 422;
      place.receiver.answer = ({ message }, response) => {
        if (message["subject"] !== "acme/user/new") response.writeHead(status).end();
      };
      const ids = Array.from({ length: 20 }, (_, at) => `note/${at}`);
      const { source, seen } = await send(place, ids);
      await using _ = seen;
      await untilCaughtUp(seen, { source });
      expect(seen.relay.status.stopped).to.have.length(20);
      status = 503;
      await seen.relay.resume();
      await until(() => place.receiver.received.length >= 24, "tried again");
      source.add(1, { id: "new" });
      await untilCaughtUp(seen, { source });
      // Four failures in a row, and three more that were under way.
      expect(place.receiver.received.length - 20 - 1).to.be.within(4, 7);
      expect(seen.relay.status.stopped).to.have.length(20);
      status = 204;
      await seen.relay.resume();
      await until(() => seen.relay.status.stopped.length === 0, "going on");
      expectWhole(await place.messages(), source.items);
    });

    it("stops where one record fails again and again while others are accepted", async () => {
      await using place = await openPlace();
      const { source, start } = startAt(place);
      place.receiver.answer = ({ message }, response) => {
        if (message["sigilposition"] !== "0") return;
        response.writeHead(500).end();
        if (source.size() < 40n) source.add(1);
      };
      source.add(1, { id: "broken" });
      await using seen = await start();
      await until(() => place.stops.length > 0, "stopped");
      await untilCaughtUp(seen, { source });
      expect(place.stops).to.have.length(1);
      expect(place.stops[0]).to.include({ key: "acme/user/broken", position: 0n });
      expect(place.stops[0]?.rule).to.contain("answered 500, 8 times while others were accepted");
    });

    it("does not stop for a receiver that is down altogether", async () => {
      await using place = await openPlace();
      place.receiver.answer = (_, response) => {
        response.writeHead(place.receiver.received.length > 60 ? 204 : 503).end();
      };
      const { source, seen } = await send(place, ["a", "b", "c", "d", "e"]);
      await using _ = seen;
      await untilCaughtUp(seen, { source });
      expect(place.stops).to.deep.equal([]);
      expectWhole(await place.messages(), source.items);
    });

    it("keeps the relay from going on without its file of stopped keys", async () => {
      await using place = await openPlace();
      await writeFile(join(place.root, "keys.json"), '[{"key":"acme/user/b"}]');
      expect(await ruleOf(place, "refused")).to.contain("no list of stopped keys");
      expect(place.receiver.received).to.deep.equal([]);
    });
  });
});
