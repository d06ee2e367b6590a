/** What a verified watch passes on of its caller's options. */
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  connect,
  ProofError,
  watchVerified,
  WatchResponse,
  type CallOptions,
  type VerifiedWatchOptions,
} from "@sigil/client";
import { parseHash } from "../../../src/core/bytes.ts";
import { signCheckpoint } from "../../../src/core/merkle/checkpoint.ts";
import { createWorld, newSigner, openWorld } from "../../contract/memory-ledger.ts";

describe("a verified watch", () => {
  it("walks the keys under its caller's signal and metadata, first and again, but not its deadline", async () => {
    const world = await createWorld();
    await using ledger = await openWorld(world);
    const { origin, size } = ledger.reader;
    const keyRecords = await ledger.reader.keyRecords();
    const root = parseHash(new Uint8Array(32));
    const checkpoint = await signCheckpoint({ origin, size, root }, newSigner());
    const walks: CallOptions[] = [];
    using sigil = connect({ target: "127.0.0.1:1", tls: "insecure" });
    const connection: Parameters<typeof watchVerified>[0] = {
      keys: {
        ...sigil.keys,
        listKeyRecords: async (_request, options = {}) => {
          walks.push(options);
          const records = keyRecords.map(({ position, envelope }) => ({
            ledgerPosition: position,
            envelope,
          }));
          return { records, nextPageToken: "" };
        },
      },
      canon: {
        ...sigil.canon,
        async *watch() {
          // Its key is not known, so that the keys are walked again.
          yield WatchResponse.fromPartial({ event: { $case: "heartbeat", value: { checkpoint } } });
        },
      },
    };
    const { signal } = new AbortController();
    const metadata = { "x-request-id": "r-7" };
    const options: VerifiedWatchOptions = {
      genesis: world.options.genesis,
      signal,
      metadata,
      deadlineMs: 60_000,
    };
    const refused = await watchVerified(connection, {}, options)
      .next()
      .catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(ProofError);
    expect(walks.every((walk) => walk.signal === signal)).to.equal(true);
    expect(walks).to.deep.equal([
      { signal, metadata },
      { signal, metadata },
    ]);
  });

  it("ends when it is aborted while it walks the keys", async () => {
    const { options } = await createWorld();
    using sigil = connect({ target: "127.0.0.1:1", tls: "insecure" });
    const aborting = new AbortController();
    const connection: Parameters<typeof watchVerified>[0] = {
      canon: sigil.canon,
      keys: {
        ...sigil.keys,
        listKeyRecords: async (request, call) => {
          aborting.abort();
          return sigil.keys.listKeyRecords(request, call);
        },
      },
    };
    const ended = await watchVerified(connection, {}, { genesis: options.genesis, signal: aborting.signal })
      .next()
      .catch((error: unknown) => error);
    expect(ended).to.include({ name: "SigilError", code: Code.CANCELLED });
  });
});
