/** The server under test: the real one, on a scratch deployment, in a separate process. */
import { toHex } from "@sigil/core/bytes";
import { makeConfig } from "../src/config/config.ts";
import { readRelays } from "../src/config/relays.ts";
import { startServer } from "../src/wire/server.ts";
import { actorInput, answerParent } from "./actor.ts";
import type { Scratch } from "./scratch.ts";

/** Relays as a flag has them: none unless told. */
export type ServeInput = Scratch & { readonly relays?: string };

// LevelDB creates files by the umask, and a start refuses files that others may read.
process.umask(0o077);
const { directory, relays = "[]" } = actorInput<ServeInput>();
const anyPort = { host: "127.0.0.1", port: 0 };
const startMs = performance.now();
const server = await startServer({
  config: makeConfig({
    data: directory,
    listen: anyPort,
    operator_listen: anyPort,
    http_listen: anyPort,
    // Subjects and resources of these types are names as they are, as Check has them.
    "authzen.subject_type": "principal",
    "authzen.resource_type": "target",
    log_level: "warn",
    relays: readRelays(relays),
  }),
});
const startedMs = performance.now() - startMs;

answerParent(
  {
    target: () => server.target,
    httpUrl: () => server.httpUrl,
    startMs: () => startedMs,
    genesis: async () => toHex((await server.ledger.reader.readAt(0n)).hash),
    size: () => Number(server.ledger.reader.size),
  },
  server.close,
);
