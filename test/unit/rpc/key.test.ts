/** Lists of keys over the wire: whole, in pages that their caller takes, and what follows from them. */
import { createHash, randomBytes } from "node:crypto";
import { connect, walkKeys, type SigilConnection } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import type { Caller } from "../../../src/identity/caller.ts";
import { createKeyService, type KeyServiceDeps } from "../../../src/deployment/keys.ts";
import { parsePublicKey, parseThumbprint, toBase64Url } from "../../../src/core/bytes.ts";
import { createWorld, openWorld } from "../../contract/memory-ledger.ts";
import { startFakeServer } from "./fake-server.ts";

const root: Caller = { principal: "root", tenant: "system", level: "root", credential: "token", peer: "" };
const shortest = 16_384;

const notMade = (): never => {
  throw new Error("not made up");
};

/** For a caller that takes the shortest reply, and for one that takes what gRPC does. */
const serving = async (
  ledger: KeyServiceDeps["ledger"],
  work: (short: SigilConnection, long: SigilConnection) => Promise<void>,
): Promise<void> => {
  const keys = createKeyService({ ledger, onChange: () => {} });
  await using server = await startFakeServer({ keys, rpc: { identify: async () => root } });
  const channelOptions = { "grpc.max_receive_message_length": shortest };
  const caller = connect({ target: server.target, tls: "insecure", retry: "none", channelOptions });
  try {
    await work(caller, server.connection);
  } finally {
    caller.close();
  }
};

/** Every page's items. */
const pagesOf = async <Item>(
  page: (pageToken: string) => Promise<{ readonly items: readonly Item[]; readonly nextPageToken: string }>,
): Promise<readonly (readonly Item[])[]> => {
  const pages: (readonly Item[])[] = [];
  for (let pageToken = ""; pages.length < 100;) {
    const { items, nextPageToken } = await page(pageToken);
    pages.push(items);
    if (nextPageToken === "") return pages;
    pageToken = nextPageToken;
  }
  throw new Error("the list does not end");
};

describe("lists of keys", () => {
  it("come in pages that fit what the caller takes, each key once, and whole for who takes more", async () => {
    const entries = Array.from({ length: 300 }, (_, at) => ({
      role: at % 2 === 0 ? ("record" as const) : ("checkpoint" as const),
      publicKey: parsePublicKey(randomBytes(32)),
      thumbprint: parseThumbprint(createHash("sha256").update(String(at)).digest()),
      validFrom: BigInt(at),
      validTo: BigInt(at + 1),
      retiredFrom: null,
    }));
    const ledger: KeyServiceDeps["ledger"] = {
      reader: {
        ring: { entries },
        authenticate: async (_, bytes) => createHash("sha256").update(bytes).digest(),
        keyRecords: notMade,
        dataKeys: notMade,
      },
      rotateKey: notMade,
      retireKey: notMade,
      rotateDataKey: notMade,
    };
    await serving(ledger, async (short, long) => {
      const pages = await pagesOf(async (pageToken) => {
        const { keys, nextPageToken } = await short.keys.listKeys({ pageToken });
        return { items: keys.map(({ thumbprint }) => toBase64Url(thumbprint)), nextPageToken };
      });
      expect(pages.length).to.be.within(2, 4);
      const whole = await long.keys.listKeys({});
      expect([whole.keys.length, whole.nextPageToken]).to.deep.equal([entries.length, ""]);
      expect(pages.flat()).to.deep.equal(whole.keys.map(({ thumbprint }) => toBase64Url(thumbprint)));
    });
  });

  it("come as records in pages too, and are walked to the last", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const rotations = 50;
    for (let turn = 0; turn < rotations; turn += 1) await ledger.rotateKey("checkpoint", undefined);
    await serving(ledger, async (short) => {
      const pages = await pagesOf(async (pageToken) => {
        const { records, nextPageToken } = await short.keys.listKeyRecords({ pageToken });
        return { items: records.map(({ ledgerPosition }) => ledgerPosition), nextPageToken };
      });
      expect(pages.length).to.be.within(2, 4);
      expect(pages.flat()).to.deep.equal((await ledger.reader.keyRecords()).map(({ position }) => position));
      const walked = await walkKeys(short, world.options.genesis);
      expect(walked.keys).to.have.length(rotations + 2);
    });
  });
});
