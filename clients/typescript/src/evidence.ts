/** Fetches evidence files: a record with all that a stranger needs to verify it. Source: docs/spec/verify.md. */
import type { GetEvidenceRequest } from "@sigil/proto/sigil/audit/v1/audit";
import { concatBytes } from "@sigil/core/bytes";
import { evidenceBytesMax } from "@sigil/core/limits";
import type { CallOptions } from "./call.ts";
import type { AuditClient } from "./services/audit.ts";
import { ProofError } from "./walk.ts";

/**
 * @param request names the record by `auditId` or `hash`.
 * @returns the file, not verified. @throws SigilError; ProofError if it is longer than such a file may be.
 */
export const readEvidence = async (
  { audit }: { readonly audit: AuditClient },
  request: Partial<GetEvidenceRequest>,
  options: CallOptions = {},
): Promise<Uint8Array> => {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const { chunk } of audit.getEvidence(request, options)) {
    bytes += chunk.length;
    if (bytes > evidenceBytesMax) {
      throw new ProofError(
        `an evidence file has at most ${evidenceBytesMax} bytes, and the server sends more`,
      );
    }
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
};
