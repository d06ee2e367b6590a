/** The control socket: what an erasure's action may be. */
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect } from "chai";
import { describe, it } from "mocha";
import { openRelayControl } from "../../../src/relay/control.ts";
import { filesDestination } from "../../../src/relay/files.ts";
import { readFileMessages } from "../../contract/relay-messages.ts";
import { createRelayLedger, startRelay, untilCaughtUp } from "../../contract/relay-world.ts";

const post = (socketPath: string, path: string): Promise<readonly [number | undefined, string]> =>
  new Promise((resolve, reject) => {
    request({ socketPath, path, method: "POST" }, (response) => {
      text(response).then((body) => resolve([response.statusCode, body]), reject);
    })
      .on("error", reject)
      .end();
  });

describe("the control socket of relays", () => {
  it("erases nothing for an action that is none, whatever every object has by that name", async () => {
    const root = await mkdtemp(join(tmpdir(), "sigil-control-"));
    const [directory, path] = [join(root, "events"), join(root, "relay.sock")];
    const source = createRelayLedger();
    source.add(3);
    {
      await using seen = await startRelay({
        source,
        destination: filesDestination({
          directory,
          fileBytesMax: 1 << 20,
          fileAgeMsMax: 60_000,
          nowMs: Date.now,
        }),
        cursorPath: join(root, "cursor.json"),
      });
      await untilCaughtUp(seen, { source });
      await using _ = await openRelayControl({
        path,
        relays: [seen.relay],
        size: source.size,
        isErased: async () => true,
        onFault: (cause) => expect.fail(String(cause)),
      });
      const before = await readFileMessages(directory);
      for (const action of ["constructor", "toString", "__proto__", "", "purge old"]) {
        const query = new URLSearchParams({ tenant: "acme", action });
        const [status, body] = await post(path, `/relays/test/erase?${query.toString()}`);
        expect([status, body], action).to.deep.equal([
          400,
          '{"rule":"action must be count, erase or purge-old"}',
        ]);
      }
      expect(await readFileMessages(directory)).to.deep.equal(before);
    }
    await rm(root, { recursive: true });
  });
});
