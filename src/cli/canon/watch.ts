/** `sigil canon watch`: records as they are committed. Resumes an interrupted stream. */
import {
  ErasedRecord,
  RecordFilter,
  RecordProof,
  RecordView,
  type SigilError,
  Space,
  VersionedRecord,
  type WatchRequest,
  type WatchResponse,
} from "@sigil/client";
import { toBase64, toHex } from "@sigil/core/bytes";
import { countOf, exitCodes, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, describeCallError, withConnection } from "../call/connection.ts";
import { interruption } from "../terminal/interruption.ts";
import { timeText } from "../call/listing.ts";
import { readVerdictName } from "../call/decision.ts";
import { readWatchFilter, watchFilterFlags } from "../call/record-view.ts";
import { orRefusal } from "../call/refusal.ts";
import { resumeWatch } from "../call/resumed-watch.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";

const eventJson = (event: VersionedRecord | ErasedRecord, { proof, nextPosition }: WatchResponse) => {
  const shown =
    "leaf" in event ? { erased: ErasedRecord.toJSON(event) } : (VersionedRecord.toJSON(event) as object);
  const proved = proof === undefined ? {} : { inclusionProof: proof.hashes.map(toBase64) };
  return JSON.stringify({ ...shown, ...proved, nextPosition: String(nextPosition) });
};

const erasedLine = ({ position, leaf }: ErasedRecord, { paint }: Terminal): string =>
  [String(position), paint("dim", "erased"), toHex(leaf).slice(0, 12)].join("  ");

const eventLine = ({ record, version, tombstone }: VersionedRecord, { paint }: Terminal): string => {
  const id = printable(record?.id ?? "");
  const what = tombstone ? paint("red", "ended") : printable(record?.kind ?? "");
  const hash = toHex(record?.hash ?? new Uint8Array(0)).slice(0, 12);
  return [String(record?.position ?? ""), timeText(record?.time), id, `v${version}`, what, hash].join("  ");
};

const spacesByName: ReadonlyMap<string, Space> = new Map([
  ["user", Space.SPACE_USER],
  ["system", Space.SPACE_SYSTEM],
]);

/** @throws usage. */
const spaceOf = (name: string): Space => spacesByName.get(name) ?? usage("--space must be user or system");

/** @throws usage. */
const filterOf = (given: Arguments): RecordFilter => {
  const filter = RecordFilter.fromPartial(readWatchFilter(given));
  if (!given.has("space")) return filter;
  if (given.has("system")) usage("--space stands instead of --system");
  return { ...filter, space: Space.SPACE_UNSPECIFIED };
};

/** @throws usage. */
const requestOf = (given: Arguments): Partial<WatchRequest> => ({
  filter: filterOf(given),
  tenants: [...given.texts("tenants")],
  kinds: [...given.texts("kinds")],
  spaces: given.texts("space").map(spaceOf),
  principals: [...given.texts("who")],
  verdicts: given.texts("verdict").map(readVerdictName),
  allKinds: given.has("all-kinds"),
  ...(given.has("proof") ? { proof: RecordProof.RECORD_PROOF_INCLUSION } : {}),
  view:
    given.has("json") && !given.has("metadata")
      ? RecordView.RECORD_VIEW_FULL
      : RecordView.RECORD_VIEW_METADATA,
});

export const canonWatch: Command = {
  name: "canon watch",
  about:
    "Print records as they are committed, one a line, in ledger order, each once. Goes on by itself where a connection or\n" +
    "a token ends. Ctrl-C ends it. Takes level Observer, or a feed grant (sigil feed grant).",
  flags: {
    from: { value: "POSITION", about: "Begin at this ledger position; default now." },
    ...watchFilterFlags,
    tenants: {
      value: "NAME",
      multiple: true,
      about: "Tenants whose user spaces are watched, instead of --tenant; '*' is every one.",
    },
    kinds: {
      value: "KIND",
      multiple: true,
      about: "Kinds, instead of --kind; frozen_chain is decisions.",
    },
    "all-kinds": { about: "Records of every kind, decisions too." },
    space: { value: "SPACE", multiple: true, about: "user or system, or both, instead of --system." },
    who: {
      value: "PRINCIPAL",
      multiple: true,
      about: "Only what was decided by or about it, and the records that those decisions allowed.",
    },
    verdict: { value: "VERDICT", multiple: true, about: "Only decisions: allow, deny or review." },
    proof: { about: "With --json: whole records, each with its proof of inclusion." },
    metadata: { about: "With --json: leave out payloads and envelopes." },
    json: { about: "Print JSON Lines; nextPosition of the last one is where to go on." },
    ...connectionFlags,
  },
  examples: [
    "sigil canon watch --key .sigil/keys/observer.pem --principal observer",
    "sigil canon watch --kind config --from 0 --json",
    "sigil canon watch --tenants '*' --kinds frozen_chain --verdict deny --key relay.pem --principal relay",
  ],
  exits: ["0  ended by Ctrl-C", "1  refused, or a record fails its proof", "2  no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [request, from] = [requestOf(given), countOf(given, "from")];
      using interrupted = interruption();
      if (given.has("proof") && (!given.has("json") || given.has("metadata"))) {
        usage("--proof takes --json, without --metadata");
      }
      const onEvent = (response: WatchResponse): void => {
        const { event } = response;
        if (event?.$case !== "record" && event?.$case !== "erased") return;
        terminal.progress("");
        if (given.has("json")) terminal.print(eventJson(event.value, response));
        else if (event.$case === "record") terminal.print(eventLine(event.value, terminal));
        else terminal.print(erasedLine(event.value, terminal));
      };
      const onBreak = (error: SigilError): void =>
        terminal.progress(`${describeCallError(error)?.split("\n")[0] ?? ""}: trying again`);
      await withConnection(given, terminal, async (connection) => {
        const watching = { request, connection, stop: interrupted.signal, onBreak };
        for await (const response of resumeWatch(watching, from)) onEvent(response);
      });
      return exitCodes.ok;
    }),
};
