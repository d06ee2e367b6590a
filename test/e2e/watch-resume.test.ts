/** Watches over a real server that is stopped and started again on its port: every record once, verified or not. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { connect, RecordView, watchVerified, type SigilConnection } from "@sigil/client";
import { fromHex } from "../../src/core/bytes.ts";
import { freePort } from "../contract/free-port.ts";
import { makeDeployment } from "./deployment.ts";

const genesisOf = async (directory: string): Promise<Uint8Array> =>
  fromHex(
    (JSON.parse(await readFile(join(directory, "deployment.json"), "utf8")) as { readonly genesis: string })
      .genesis,
  );

type Reading = AsyncGenerator<string>;

const kinds = { kinds: ["note"], fromPosition: 0n };

const readings: Readonly<Record<string, (sigil: SigilConnection, genesis: Uint8Array) => Reading>> = {
  "sigil.watch": async function* (sigil) {
    for await (const { event } of sigil.watch(kinds)) {
      if (event?.$case === "record") yield event.value.record?.id ?? "";
    }
  },
  "watchVerified that resumes": async function* (sigil, genesis) {
    for await (const event of watchVerified(
      sigil,
      { ...kinds, view: RecordView.RECORD_VIEW_FULL },
      { genesis, onBreak: "resume" },
    )) {
      if (event.kind === "record") yield event.record.id;
    }
  },
};

describe("a watch over restarts of the server", () => {
  for (const [name, read] of Object.entries(readings)) {
    it(`has every record once, by ${name}`, async () => {
      await using deployment = await makeDeployment();
      const listen = { host: "127.0.0.1", port: await freePort() };
      const target = `127.0.0.1:${listen.port}`;
      const open = () => connect({ target, tls: "insecure", signer: deployment.signer("operator") });
      using watcher = open();
      const reading = read(watcher, await genesisOf(deployment.directory));
      const ids: string[] = [];
      for (let round = 0; round < 3; round += 1) {
        await using _ = await deployment.serve({ config: { listen } });
        using writer = open();
        for (const each of [1, 2]) {
          const id = `note/${round}-${each}`;
          await writer.canon.writeRecord({
            id,
            kind: "note",
            content: { $case: "payloadJson", value: "{}" },
          });
          ids.push(id);
        }
        if (round === 1) await writer.trust.check({ action: "write", target: "user/notes" });
        for (const each of [1, 2])
          expect((await reading.next()).value, `${each}`).to.equal(`note/${round}-${each}`);
      }
      expect(ids).to.have.length(6);
      watcher.close();
      await reading.return(undefined);
    });
  }
});
