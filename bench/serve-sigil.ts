/** The server under test: the real one, on a scratch deployment, in a separate process. */
import { makeConfig } from "../src/config/config.ts";
import { startServer } from "../src/wire/server.ts";
import { actorInput, answerParent } from "./actor.ts";
import type { Scratch } from "./scratch.ts";

// LevelDB creates files by the umask, and a start refuses files that others may read.
process.umask(0o077);
const { directory } = actorInput<Scratch>();
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
  }),
});
const startedMs = performance.now() - startMs;

answerParent(
  {
    target: () => server.target,
    httpUrl: () => server.httpUrl,
    startMs: () => startedMs,
    size: () => Number(server.ledger.reader.size),
  },
  server.close,
);
