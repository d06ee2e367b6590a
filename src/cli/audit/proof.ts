/** `sigil audit proof`: a proof of inclusion as a file that other people's tools read. */
import { writeFile } from "node:fs/promises";
import { GetInclusionProofResponse } from "@sigil/client";
import { fromHex } from "@sigil/core/bytes";
import { formatTlogProof } from "@sigil/core/merkle";
import { countOf, exitCodes, jsonFlag, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { tenantFlag } from "../call/listing.ts";

const hashOf = (given: Arguments): Uint8Array | undefined => {
  const text = given.text("hash");
  if (text === undefined) return undefined;
  return /^[0-9a-f]{64}$/.test(text)
    ? fromHex(text)
    : usage("--hash must be a record's hash, 64 hexadecimal digits");
};

const nameOf = (given: Arguments) => {
  const [auditId, position, hash] = [given.words[0], countOf(given, "position"), hashOf(given)];
  if ([auditId, position, hash].filter((name) => name !== undefined).length !== 1) {
    return usage("name one record: AUDIT_ID, --position N or --hash HEX");
  }
  if (auditId === undefined && given.has("tenant")) return usage("--tenant goes with AUDIT_ID alone");
  return {
    ...(auditId === undefined ? {} : { auditId, tenant: given.text("tenant") ?? "" }),
    ...(position === undefined ? {} : { position }),
    ...(hash === undefined ? {} : { hash }),
  };
};

export const auditProof: Command = {
  name: "audit proof",
  about:
    "Print the proof that a record is in the ledger, as a C2SP tlog-proof: the path from the SHA-256 of its envelope to the\n" +
    "root of a signed checkpoint, the newest or of an earlier size. It holds hashes alone and shows nothing of the record.",
  words: ["[AUDIT_ID]"],
  flags: {
    position: { value: "N", about: "The record at this position of the ledger." },
    hash: { value: "HEX", about: "The record with this hash." },
    size: { value: "N", about: "In the tree of exactly so many records; the newest without it." },
    cose: { value: "FILE", about: "Also write it as a COSE receipt (RFC 9942)." },
    ...tenantFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil audit proof 0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11 > decision.tlog-proof",
    "sigil audit proof --position 17 --size 1000 --cose receipt.cbor",
  ],
  exits: ["0  printed", "2  usage error, not found, or no answer"],
  run: async (given, terminal) => {
    const [name, size, cose] = [nameOf(given), countOf(given, "size", 1n) ?? 0n, given.text("cose")];
    const response = await withConnection(given, terminal, ({ audit }) =>
      audit.getInclusionProof({ ...name, size, receipt: cose !== undefined }),
    );
    if (cose !== undefined) await writeFile(cose, response.receipt);
    if (given.has("json")) {
      terminal.print(JSON.stringify(GetInclusionProofResponse.toJSON(response)));
      return exitCodes.ok;
    }
    const { ledgerPosition: leafIndex, inclusionProof: proof, checkpoint } = response;
    terminal.print(formatTlogProof({ leafIndex, proof, checkpoint }).replace(/\n$/, ""));
    return exitCodes.ok;
  },
};
