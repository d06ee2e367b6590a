/** `sigil audit evidence`: a record and all that proves it, as one file that `sigil verify` reads. */
import { writeFile } from "node:fs/promises";
import { readEvidence } from "@sigil/client";
import { countOf, exitCodes, usage, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { tenantFlag } from "../call/listing.ts";
import { parseRecordHash } from "../call/record-view.ts";

export const auditEvidence: Command = {
  name: "audit evidence",
  about:
    "Print a decision, or any record, with all that a stranger needs to verify it: the records of the signing keys from\n" +
    "genesis on, the model, the subject's enrolment, the registry, and the path of each to one signed checkpoint. sigil verify\n" +
    "reads it, without a server. It holds the record's content: give it to whom that may be given.",
  words: ["[AUDIT_ID]"],
  flags: {
    hash: { value: "HEX", about: "The record with this hash, of any kind." },
    size: { value: "N", about: "By the checkpoint of exactly so many records." },
    cosigned: { about: "Only by a checkpoint that witnesses cosigned; without it that is preferred." },
    output: { value: "FILE", about: "Where it goes; default standard output." },
    ...tenantFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil audit evidence 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 > decision.sigil",
    "sigil audit evidence --hash 5be4f6a1… --output notes.sigil",
  ],
  exits: ["0  written", "2  usage error, not found, or no answer"],
  run: async (given, terminal) => {
    const [auditId, hex, output] = [given.words[0], given.text("hash"), given.text("output")];
    if ((auditId === undefined) === (hex === undefined)) usage("name one record: AUDIT_ID or --hash HEX");
    const request = {
      ...(auditId === undefined ? {} : { auditId }),
      ...(hex === undefined ? {} : { hash: parseRecordHash(hex, "--hash") }),
      tenant: given.text("tenant") ?? "",
      size: countOf(given, "size", 1n) ?? 0n,
      cosigned: given.has("cosigned"),
    };
    const file = await withConnection(given, terminal, (connection) => readEvidence(connection, request));
    if (output === undefined) terminal.printBytes(file);
    else await writeFile(output, file).catch(() => usage(`--output: ${output} cannot be written`));
    return exitCodes.ok;
  },
};
