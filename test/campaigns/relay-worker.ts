/**
 * One relay of `campaign:relay`: publishes a ledger of SIZE records and ends, or kills its process at a step.
 * `relay-worker.ts files|nats PLACE CURSOR SIZE STEP`, step 0 for none.
 */
import { filesDestination } from "../../src/relay/files.ts";
import { natsDestination } from "../../src/relay/nats.ts";
import { createRelayLedger, startRelay, until } from "../contract/relay-world.ts";

const [kind, place = "", cursorPath = "", size = "0", step = "0"] = process.argv.slice(2);
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

const source = createRelayLedger();
source.add(Number(size));
await using seen = await startRelay({
  source,
  destination: kind === "files" ? filesDestination(files) : natsDestination(nats),
  cursorPath,
  onStep,
});
await until(
  () => seen.relay.status.lag === 0n && seen.relay.status.state === "running",
  "everything published",
);
