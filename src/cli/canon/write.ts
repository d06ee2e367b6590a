/** `sigil canon put` and `sigil canon rm`: one version of a user record. */
import { WriteRecordResponse, type WriteRecordRequest } from "@sigil/client";
import { toHex } from "@sigil/core/bytes";
import { cborBytesMax, schemaVersionMax } from "@sigil/core/limits";
import { jsonCharactersMax } from "../../limits.ts";
import {
  countOf,
  exitCodes,
  jsonFlag,
  required,
  usage,
  wholeNumber,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { readBytes, readText } from "../terminal/input-file.ts";
import { recordMeant, withPrincipal } from "../call/principal-record.ts";
import { parseRecordHash } from "../call/record-view.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

const writeFlags = {
  expect: {
    value: "N",
    about: "Write only when the record is at version N; 0 means that there must be none.",
  },
  "idempotency-key": { value: "KEY", about: "Makes a repeat safe for 24 hours." },
} as const;

const writeExits = [
  "0  written",
  "1  refused: denied, another version than expected, or the key was used for something else",
  "2  usage error, or it may or may not have been written: repeat it with the same key",
];

const readContent = async (
  given: Arguments,
  terminal: Terminal,
): Promise<NonNullable<WriteRecordRequest["content"]>> => {
  const [json, cbor] = [given.text("json-file"), given.text("cbor")];
  if (json !== undefined && cbor !== undefined) usage("--json-file and --cbor exclude each other");
  if (cbor !== undefined) {
    return { $case: "payloadCbor", value: await readBytes(cbor, "--cbor", terminal, cborBytesMax) };
  }
  const path = json ?? usage("--json-file FILE or --cbor FILE is needed");
  const text = await readText(path, "--json-file", terminal, jsonCharactersMax);
  return { $case: "payloadJson", value: withPrincipal(text, recordMeant(given.words[0] ?? "")) };
};

const readLink = (text: string) => {
  const at = text.lastIndexOf("=");
  if (at < 1) usage(`--link "${text}" must be LABEL=HASH`);
  return {
    label: text.slice(0, at),
    target: parseRecordHash(text.slice(at + 1), `--link ${text.slice(0, at)}`),
  };
};

const formatWritten = (verb: string, written: WriteRecordResponse, { paint }: Terminal): string => {
  const { record, version, ledgerPosition, auditId, replayed } = written;
  const facts = formatPairs([
    ["version", String(version)],
    ["position", String(ledgerPosition)],
    ["hash", toHex(record?.hash ?? new Uint8Array(0))],
    ["audit id", auditId],
    ["replayed", replayed ? "yes: the stored answer to an earlier request" : undefined],
  ]);
  return `${paint("green", verb)}  ${printable(record?.id ?? "")}\n\n${facts}`;
};

const write = (
  verb: string,
  given: Arguments,
  terminal: Terminal,
  request: Partial<WriteRecordRequest>,
): Promise<ExitCode> =>
  orRefusal(terminal, async () => {
    const expectedVersion = countOf(given, "expect");
    const written = await withConnection(given, terminal, ({ canon }) =>
      canon.writeRecord({
        ...request,
        id: recordMeant(given.words[0] ?? "").id,
        idempotencyKey: given.text("idempotency-key") ?? "",
        ...(expectedVersion === undefined ? {} : { expectedVersion }),
      }),
    );
    terminal.print(
      given.has("json")
        ? JSON.stringify(WriteRecordResponse.toJSON(written))
        : formatWritten(verb, written, terminal),
    );
    return exitCodes.ok;
  });

export const canonPut: Command = {
  name: "canon put",
  about:
    "Write one version of a record of your tenant: its first or its next. Takes level Operator. What the system space\n" +
    "holds is written by sigil propose.",
  words: ["ID"],
  flags: {
    kind: { value: "KIND", about: "What the record is; an id keeps its kind for life." },
    "json-file": { value: "FILE|-", about: "The payload as JSON." },
    cbor: { value: "FILE|-", about: "The payload as canonical CBOR." },
    link: { value: "LABEL=HASH", about: "Link to another record by its hash.", multiple: true },
    "schema-version": { value: "N", about: "Version of the kind's payload schema; default 1." },
    ...writeFlags,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil canon put config/flags --kind config --json-file flags.json --key .sigil/keys/operator.pem --principal operator",
    "sigil canon get config/flags | jq '.dark = true' | sigil canon put config/flags --kind config --json-file - --expect 3",
  ],
  exits: writeExits,
  run: async (given, terminal) => {
    const kind = required(given, "kind", "KIND");
    const schemaVersion = wholeNumber(given.text("schema-version") ?? "1", "schema-version", [
      1,
      schemaVersionMax,
    ]);
    const links = given.texts("link").map(readLink);
    const content = await readContent(given, terminal);
    return write("WRITTEN", given, terminal, { kind, schemaVersion, links, content });
  },
};

export const canonRm: Command = {
  name: "canon rm",
  about:
    "End a record of your tenant: its newest version becomes a tombstone. Its history stays. Takes level Operator.",
  words: ["ID"],
  flags: { ...writeFlags, ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil canon rm config/flags --key .sigil/keys/operator.pem --principal operator",
    "sigil canon rm config/flags --expect 4",
  ],
  exits: writeExits,
  run: (given, terminal) => write("ENDED", given, terminal, { content: { $case: "tombstone", value: true } }),
};
