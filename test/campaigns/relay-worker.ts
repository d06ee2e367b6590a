/**
 * One relay of `campaign:relay`: publishes a ledger of SIZE records and ends, or kills its process at a step. The
 * ledger is made up, or a server's, which is read over gRPC by the principal "feed".
 * `relay-worker.ts files|nats|kafka|sqs PLACE CURSOR SIZE STEP [SERVER ORIGIN GENESIS KEY]`, step 0 for none.
 */
import { readFile } from "node:fs/promises";
import { connect, createTokenSigner } from "@sigil/client";
import { ProvenTree } from "../../src/cli/relay/proven-tree.ts";
import { ServerLedger } from "../../src/cli/relay/server-feed.ts";
import { fromHex, parseHash } from "../../src/core/bytes.ts";
import type { Destination } from "../../src/relay/destination.ts";
import { filesDestination } from "../../src/relay/files.ts";
import { kafkaDestination } from "../../src/relay/kafka/kafka.ts";
import { natsDestination } from "../../src/relay/nats.ts";
import { sqsDestination } from "../../src/relay/sqs/sqs.ts";
import { createRelayLedger, startRelay, until } from "../contract/relay-world.ts";
import { sqsRegion } from "../contract/sqs-server.ts";

const [
  kind,
  place = "",
  cursorPath = "",
  size = "0",
  step = "0",
  server,
  origin = "",
  genesis = "",
  keyPath = "",
] = process.argv.slice(2);
let left = Number(step);

const onStep = async (): Promise<void> => {
  left -= 1;
  if (left === 0) process.kill(process.pid, "SIGKILL");
};

const files = { directory: place, fileBytesMax: 4000, fileAgeMsMax: 3_600_000, nowMs: Date.now, onStep };
const nats = {
  servers: [place],
  stream: "S",
  subjectPrefix: "s",
  replicas: 1,
  credentials: { kind: "none" },
  tls: null,
  onStep,
} as const;

const kafka = {
  connection: { servers: [place], tls: null, login: { kind: "none" } },
  topic: "s",
  partitions: 3,
  replicas: 1,
  messageBytesMax: 1 << 20,
  onStep,
} as const;

const sqs = {
  queue: "s.fifo",
  region: sqsRegion,
  endpoint: place,
  owner: "",
  groups: "record",
  onMissing: "create",
  onStep,
} as const;

const destinationOf = (): Destination => {
  if (kind === "files") return filesDestination(files);
  if (kind === "sqs") return sqsDestination(sqs);
  return kind === "nats" ? natsDestination(nats) : kafkaDestination(kafka);
};

const madeUp = () => {
  const source = createRelayLedger();
  source.add(Number(size));
  return source;
};

const serverLedger = async (target: string): Promise<ServerLedger> => {
  const privateKey = await readFile(keyPath, "utf8");
  const signer = createTokenSigner({ principal: "feed", origin, privateKey });
  const proven = await ProvenTree.open(`${cursorPath}.note`);
  return ServerLedger.open(connect({ target, tls: "insecure", signer }), parseHash(fromHex(genesis)), proven);
};

using outside = server === undefined ? undefined : await serverLedger(server);
await using seen = await startRelay({
  source:
    outside?.feedOf({ tenants: undefined, kinds: undefined, spaces: undefined }, "withheld") ?? madeUp(),
  destination: destinationOf(),
  cursorPath,
  onStep,
});
await until(
  () => seen.relay.status.next >= BigInt(size) && seen.relay.status.state === "running",
  "everything published",
);
