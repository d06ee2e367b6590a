/** Listings and exports of thirty records of 0.9 MB, forty at a time, by callers that read and callers that do not. */
import { canonV1 } from "@sigil/client";
import { tally, type Attack, type World } from "../attack.ts";
import { call, finish, frame, open, pause, within } from "../wire.ts";

const { CanonServiceService: Canon, ListRecordsRequest, StreamRecordsRequest, ListHistoryRequest } = canonV1;

const records = 30;
const recordCharacters = 900_000;
const callsAtOnce = 40;

const prepare = async ({ as }: World): Promise<void> => {
  const { canon } = as("operator");
  for (let index = 0; index < records; index += 1) {
    await canon.writeRecord({
      id: `large/${index}`,
      kind: "note",
      schemaVersion: 0,
      content: { $case: "payloadJson", value: JSON.stringify({ text: "x".repeat(recordCharacters) }) },
      links: [],
      expectedVersion: undefined,
      idempotencyKey: "",
    });
  }
};

const listing = ListRecordsRequest.encode(
  ListRecordsRequest.fromPartial({ filter: { idPrefix: "large/" } }),
).finish();
const exporting = StreamRecordsRequest.encode(
  StreamRecordsRequest.fromPartial({ filter: { idPrefix: "large/" } }),
).finish();
const history = ListHistoryRequest.encode(ListHistoryRequest.fromPartial({ id: "large/0" })).finish();

const begin = async (world: World, path: string, message: Uint8Array) => {
  const token = world.token("observer");
  const session = await open(world.target);
  const calls = Array.from({ length: callsAtOnce }, () => {
    const stream = call(session, path, { token });
    stream.end(frame(message));
    return stream;
  });
  return { session, calls };
};

const readMs = 20_000;
const unreadMs = 3000;

const read =
  (path: string, message: Uint8Array): Attack["wave"] =>
  async (world) => {
    const { session, calls } = await begin(world, path, message);
    const outcomes = await within(readMs, Promise.all(calls.map(finish)));
    session.destroy();
    return outcomes === "late" ? `not answered in ${readMs} ms` : tally(outcomes);
  };

const unread =
  (path: string, message: Uint8Array): Attack["wave"] =>
  async (world) => {
    const { session } = await begin(world, path, message);
    await pause(unreadMs);
    session.destroy();
    return `${callsAtOnce} calls, nothing read`;
  };

export const largeLists: readonly Attack[] = [
  {
    name: "list-records",
    what: "40 parallel ListRecords over 30 records of 0.9 MB",
    prepare,
    wave: read(Canon.listRecords.path, listing),
  },
  {
    name: "list-unread",
    what: "40 ListRecords over 30 records of 0.9 MB that nobody reads",
    prepare,
    wave: unread(Canon.listRecords.path, listing),
  },
  {
    name: "export-unread",
    what: "40 StreamRecords over 30 records of 0.9 MB that nobody reads",
    prepare,
    wave: unread(Canon.streamRecords.path, exporting),
  },
  {
    name: "history-unread",
    what: "40 ListHistory of a record of 0.9 MB that nobody reads",
    prepare,
    wave: unread(Canon.listHistory.path, history),
  },
];
