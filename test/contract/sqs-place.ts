/** A queue of its own as a destination of a relay, in one group unless told. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqsDestination, type SqsOptions } from "../../src/relay/sqs/sqs.ts";
import type { DestinationPlace, SeenMessage } from "./relay-world.ts";
import { drainQueue, sqsRegion, type SqsServer } from "./sqs-server.ts";

let made = 0;

export type SqsPlace = DestinationPlace & { readonly queue: string };

/** @param endpoint of what the relay asks, if not the server itself. */
export const openSqsPlace = async (
  server: SqsServer,
  endpoint = server.url,
  options: Partial<SqsOptions> = {},
): Promise<SqsPlace> => {
  const root = await mkdtemp(join(tmpdir(), "sigil-relay-"));
  made += 1;
  const queue = options.queue ?? `q${made}.fifo`;
  const { groups = "feed" } = options;
  const taken: SeenMessage[] = [];
  return {
    queue,
    cursorPath: join(root, "cursor.json"),
    destination: (onStep) =>
      sqsDestination({
        queue,
        region: sqsRegion,
        endpoint,
        owner: "",
        groups,
        onMissing: "create",
        ...options,
        ...(onStep === undefined ? {} : { onStep }),
      }),
    messages: async () => {
      const drained = await drainQueue(server.url, queue);
      taken.push(
        ...drained.map((one) => ({ ...one, ...(groups === "record" ? { lane: one["sqsGroup"] } : {}) })),
      );
      return [...taken];
    },
    wipe: async () => void (await drainQueue(server.url, queue)),
    [Symbol.asyncDispose]: () => rm(root, { recursive: true }),
  };
};
