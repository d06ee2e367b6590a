/** Everything that a relay published, read from the destination as a consumer does. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { SeenMessage } from "./relay-world.ts";

const current = "events.jsonl";

/** Whole lines in the order of names, the current file last; also while the relay writes and rotates. */
export const readFileMessages = async (directory: string): Promise<readonly SeenMessage[]> => {
  const names = (await readdir(directory).catch(() => []))
    .filter((name) => name !== current && name.endsWith(".jsonl"))
    .sort();
  const texts = await Promise.all(
    [...names, current].map((name) => readFile(join(directory, name), "utf8").catch(() => "")),
  );
  return texts
    .join("")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as SeenMessage);
};

export const withStreams = async <Result>(
  url: string,
  use: (streams: JetStreamManager["streams"]) => Promise<Result>,
): Promise<Result> => {
  const connection = await connect({ servers: url });
  try {
    return await use((await jetstreamManager(connection)).streams);
  } finally {
    await connection.close();
  }
};

export type StreamMessage = SeenMessage & { readonly natsSubject: string };

/** Binary mode, headers percent-decoded once as the binding requires. */
export const readStreamMessages = (url: string, stream: string): Promise<readonly StreamMessage[]> =>
  withStreams(url, async (streams) => {
    const { state } = await streams.info(stream);
    const messages: StreamMessage[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
      const message = await streams.getMessage(stream, { seq });
      if (message === null) continue;
      const { header, data, subject } = message;
      const attributes = header
        .keys()
        .filter((name) => name.toLowerCase().startsWith("ce-"))
        .map((name) => [name.toLowerCase().slice(3), decodeURIComponent(header.get(name))] as const);
      const body = data.length === 0 ? {} : { data };
      messages.push({ ...Object.fromEntries(attributes), ...body, natsSubject: subject });
    }
    return messages;
  });
