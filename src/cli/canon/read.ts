/** `sigil canon get`, `list` and `history`. */
import { recordMeant } from "../call/principal-record.ts";
import {
  GetRecordResponse,
  GetSystemRecordResponse,
  ProofError,
  RecordView,
  VersionedRecord,
  type GetRecordRequest,
  type SigilConnection,
} from "@sigil/client";
import { equalBytes } from "@sigil/core/bytes";
import { jsonView } from "@sigil/core/cbor";
import type { RecordBody } from "@sigil/core/record";
import {
  countOf,
  exitCodes,
  jsonFlag,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { genesisFlag, genesisOf, orUnproven, verifyHere } from "../call/from-genesis.ts";
import { prettyJson } from "../terminal/json-text.ts";
import { limitFlag, limitOf, listAll } from "../call/listing.ts";
import { examineRecord } from "../call/proven-record.ts";
import {
  filterFlags,
  formatRecordFacts,
  formatRecords,
  nameOf,
  parseRecordHash,
  readFilter,
  spaceFlags,
} from "../call/record-view.ts";
import { orRefusal } from "../call/refusal.ts";
import type { Terminal } from "../terminal/terminal.ts";

const readExits = [
  "0  shown",
  "1  a record fails its proof (DATA_LOSS) or is not what the server says it is, or it is not for you",
  "2  not found, or no answer",
];

/** @throws usage if more than one is given. */
const readAt = (given: Arguments): GetRecordRequest["at"] => {
  const said = ["version", "hash", "at-size"].filter((flag) => given.has(flag));
  if (said.length > 1) usage(`--${said.join(" and --")} exclude each other`);
  const [version, size, hash] = [
    countOf(given, "version", 1n),
    countOf(given, "at-size", 1n),
    given.text("hash"),
  ];
  if (version !== undefined) return { $case: "version", value: version };
  if (size !== undefined) return { $case: "ledgerSize", value: size };
  return hash === undefined ? undefined : { $case: "hash", value: parseRecordHash(hash, "--hash") };
};

type Found = {
  readonly record: VersionedRecord | undefined;
  readonly json: unknown;
  readonly more: readonly (readonly [string, string | undefined])[];
};

/** Fetches a record; a system record requested by version comes with its quorum. */
const find = async (
  { canon }: SigilConnection,
  given: Arguments,
  at: GetRecordRequest["at"],
): Promise<Found> => {
  const name = nameOf(given);
  if (!given.has("system") || at?.$case === "hash" || at?.$case === "ledgerSize") {
    const response = await canon.getRecord({ ...name, ...(at === undefined ? {} : { at }) });
    return { record: response.record, json: GetRecordResponse.toJSON(response), more: [] };
  }
  const response = await canon.getSystemRecord({ id: name.id, version: at?.value ?? 0n });
  const { attestedBy, k, n, epoch, proposalId } = response;
  const quorum = `${k} of ${n}, epoch ${epoch}`;
  return {
    record: response.record,
    json: GetSystemRecordResponse.toJSON(response),
    more: [
      ["proposal", proposalId],
      ["attested by", attestedBy.join(", ")],
      ["quorum", proposalId === "" ? undefined : quorum],
    ],
  };
};

/**
 * Decodes the body and checks it against the server's fields; with a genesis hash also verifies it from there.
 * @throws ProofError.
 */
const prove = async (
  connection: SigilConnection,
  given: Arguments,
  { record }: Found,
  terminal: Terminal,
): Promise<RecordBody> => {
  const [genesis, hash] = [genesisOf(given), given.text("hash")];
  const proven = examineRecord(record, {
    id: given.words[0] === undefined ? undefined : recordMeant(given.words[0]).id,
    space: given.has("system") ? "system" : "user",
    tenant: given.text("tenant"),
    hash: hash === undefined ? undefined : parseRecordHash(hash, "--hash"),
  });
  if (genesis === undefined) return proven.body;
  const verified = await verifyHere(connection, genesis, proven.record);
  if (!equalBytes(verified.hash, proven.record.hash)) throw new ProofError("the record is another one");
  terminal.note("Verified here, from the genesis hash.");
  return proven.body;
};

const refusedOrUnproven = (terminal: Terminal, run: () => Promise<ExitCode>): Promise<ExitCode> =>
  orRefusal(terminal, () => orUnproven(terminal, run));

export const canonGet: Command = {
  name: "canon get",
  about:
    "Show a record: its payload on standard output, what else is known of it on standard error. The server verifies it\n" +
    "before it answers; payload and hash are taken from the signed bytes here. Takes level Observer.",
  words: ["[ID]"],
  flags: {
    version: { value: "N", about: "This version instead of the newest." },
    hash: { value: "HEX", about: "The record of this hash; ID may be left out." },
    "at-size": { value: "N", about: "The newest version among the first N records of the ledger." },
    ...genesisFlag,
    ...spaceFlags,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil canon get config/flags --key .sigil/keys/observer.pem --principal observer",
    "sigil canon get config/flags --version 2 --json",
    "sigil canon get trust_model/active --system > model.json   # a starting point for sigil propose",
  ],
  exits: readExits,
  run: (given, terminal) =>
    refusedOrUnproven(terminal, async () => {
      const at = readAt(given);
      if (given.words[0] === undefined && at?.$case !== "hash")
        usage("sigil canon get needs ID or --hash HEX");
      if (given.has("system") && given.has("tenant")) usage("--system and --tenant exclude each other");
      const { found, record, body } = await withConnection(given, terminal, async (connection) => {
        const each = await find(connection, given, at);
        if (each.record?.record === undefined) return usage("the server answered without a record");
        const proven = await prove(connection, given, each, terminal);
        return { found: each, record: each.record, body: proven };
      });
      if (given.has("json")) {
        terminal.print(JSON.stringify(found.json));
        return exitCodes.ok;
      }
      terminal.note(formatRecordFacts(record, found.more));
      if (record.tombstone) terminal.note("This version ends the record.");
      // From the bytes: the view in the reply is informational, and omitted if it is long.
      terminal.print(prettyJson(JSON.stringify(jsonView(body.payload))));
      return exitCodes.ok;
    }),
};

const viewFlag = {
  metadata: { about: "With --json: leave out payloads and envelopes." },
} as const;

/** Tables show no payloads, so none are requested. */
const viewOf = (given: Arguments): RecordView =>
  given.has("json") && !given.has("metadata") ? RecordView.RECORD_VIEW_FULL : RecordView.RECORD_VIEW_METADATA;

const printRecords = (given: Arguments, terminal: Terminal, records: readonly VersionedRecord[]): void => {
  if (!given.has("json")) {
    terminal.print(formatRecords(records, terminal));
    return;
  }
  for (const record of records) terminal.print(JSON.stringify(VersionedRecord.toJSON(record)));
};

export const canonList: Command = {
  name: "canon list",
  about:
    "List the newest versions of records in the order of their ids, as the ledger was when the command began. Takes\n" +
    "level Observer. Decisions are listed by sigil audit list.",
  flags: {
    ...filterFlags,
    deleted: { about: "Ended records too." },
    ...limitFlag,
    ...viewFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil canon list --kind config --key .sigil/keys/observer.pem --principal observer",
    "sigil canon list --system --json --metadata",
    "sigil canon list --prefix config/ --limit 100000 --json > export.jsonl",
  ],
  exits: readExits,
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [filter, limit, view] = [readFilter(given), limitOf(given), viewOf(given)];
      const records = await withConnection(given, terminal, ({ canon }) =>
        listAll(limit, terminal, async (page) => {
          const { records: items, nextPageToken } = await canon.listRecords({ filter, view, ...page });
          return { items, nextPageToken };
        }),
      );
      printRecords(given, terminal, records);
      return exitCodes.ok;
    }),
};

export const canonHistory: Command = {
  name: "canon history",
  about: "List the versions of one record, newest first, tombstones among them. Takes level Observer.",
  words: ["ID"],
  flags: {
    "oldest-first": { about: "Oldest first." },
    ...spaceFlags,
    ...limitFlag,
    ...viewFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil canon history config/flags --key .sigil/keys/observer.pem --principal observer",
    "sigil canon history trust_model/active --system --oldest-first --json",
  ],
  exits: readExits,
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [limit, view, oldestFirst] = [limitOf(given), viewOf(given), given.has("oldest-first")];
      const records = await withConnection(given, terminal, ({ canon }) =>
        listAll(limit, terminal, async (page) => {
          const query = { ...nameOf(given), view, oldestFirst, ...page };
          const { records: items, nextPageToken } = await canon.listHistory(query);
          return { items, nextPageToken };
        }),
      );
      printRecords(given, terminal, records);
      return exitCodes.ok;
    }),
};
