/** Dead letters of a webhook after an erasure: what is left of a tenant's, also when the relay is killed meanwhile. */
import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { killAfter, startRelay, untilCaughtUp, type SeenMessage } from "../../contract/relay-world.ts";
import {
  createWebhookTls,
  openWebhookPlace,
  startAt,
  type WebhookTls,
} from "../../contract/webhook-place.ts";

describe("dead letters of an erased tenant", () => {
  let tls: WebhookTls;
  before(async () => {
    tls = await createWebhookTls();
  });
  after(() => tls[Symbol.dispose]());

  /** Two tenants' letters, a line that a crash cut short within, and one at the end. */
  const openRefused = async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-dead-"));
    const path = join(root, "dead.jsonl");
    await writeFile(path, '{"subject":"acme/user/torn');
    const place = await openWebhookPlace(tls, { poison: { kind: "dead_letter", path } });
    place.receiver.answer = (_, response) => void response.writeHead(400).end();
    const { source, start } = startAt(place);
    source.add(2);
    source.add(1, { tenant: "acme-2" });
    source.add(1);
    {
      await using seen = await start();
      await untilCaughtUp(seen, { source });
    }
    await appendFile(path, '{"data_base64":"torn');
    for (const { position, record } of source.items)
      if (record?.body.tenant === "acme") source.erase(Number(position));
    const letters = async () => (await readFile(path, "utf8")).trimEnd().split("\n");
    const remove = async (): Promise<void> => {
      await place[Symbol.asyncDispose]();
      await rm(root, { recursive: true });
    };
    return { place, path, root, source, start, letters, [Symbol.asyncDispose]: remove };
  };

  it("lose everything but their places, and it is said that the receiver has what it took", async () => {
    await using refused = await openRefused();
    const { start, letters, path } = refused;
    const before = await letters();
    await using seen = await start();
    const counted = await seen.relay.erase({ tenant: "acme", action: "count" });
    expect(counted).to.include({ outcome: "unable", found: 3, left: 3 });
    expect(await letters()).to.deep.equal(before);
    const erased = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(erased).to.include({ outcome: "unable", found: 3, left: 0, error: null });
    expect(erased.cannot.join()).to.contain("whoever runs it must remove what it received");
    const after = await letters();
    // Lines that a crash cut short are gone: whose they were cannot be told.
    expect(after).to.have.length(4);
    expect(after.filter((line) => line.includes("acme-2"))).to.deep.equal(
      before.filter((line) => line.includes("acme-2")),
    );
    const own = after.map((line) => JSON.parse(line) as SeenMessage).filter(({ subject }) => !subject);
    expect(own.map(({ sigilposition }) => sigilposition)).to.have.members(["0", "1", "3"]);
    for (const one of own)
      expect(one).to.include({ type: "sigil.erased.v1" }).and.not.have.any.keys("data_base64");
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    const again = await seen.relay.erase({ tenant: "acme", action: "purge old" });
    expect(again).to.include({ outcome: "unable", found: 0, left: 0 });
  });

  it("are whole after a kill between any two steps, and the next erasure finishes", async () => {
    await using refused = await openRefused();
    const { source, start, place, letters, root } = refused;
    const before = await letters();
    const { cursorPath } = place;
    const died: string[] = [];
    for (let steps = 1; steps <= 4; steps += 1) {
      const kill = killAfter(steps);
      const seen = await startRelay({ source, destination: place.destination(kill.onStep), cursorPath });
      void kill.died.then((step) => died.push(step));
      const ended = seen.relay.erase({ tenant: "acme", action: "erase" });
      await Promise.race([kill.died, ended]);
      const found = await letters();
      expect(found.length === before.length || found.length === 4, `after ${steps} steps`).to.equal(true);
      kill.bury();
      await seen.relay.close();
    }
    expect(died).to.include.members(["erasing", "written anew", "replaced"]);
    await using seen = await start();
    const erased = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(erased).to.include({ left: 0 });
    expect((await letters()).filter((line) => line.includes("acme/user"))).to.deep.equal([]);
    expect(await readdir(root)).to.deep.equal(["dead.jsonl"]);
  });

  it("are none where nothing was refused yet", async () => {
    const path = join(tmpdir(), "sigil-dead-none", "dead.jsonl");
    await using place = await openWebhookPlace(tls, { poison: { kind: "dead_letter", path } });
    const { source, start } = startAt(place);
    source.add(1);
    await using seen = await start();
    await untilCaughtUp(seen, { source });
    const erased = await seen.relay.erase({ tenant: "acme", action: "erase" });
    expect(erased).to.include({ outcome: "unable", found: 0, left: 0, error: null });
  });
});
