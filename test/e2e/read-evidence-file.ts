/** An evidence file as its reader verifies it. */
import type { Hash } from "../../src/core/bytes.ts";
import { parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { verifyEvidence, type EvidenceVerdict } from "../../src/core/verify/evidence.ts";
import type { VerifySignature } from "../../src/core/verify/record.ts";

export const readEvidenceFile = async (
  file: Uint8Array,
  genesis: Hash,
  verify: VerifySignature,
): Promise<{ readonly verdict: EvidenceVerdict; readonly disclosures: boolean }> => ({
  verdict: await verifyEvidence(file, { genesis }, { verify }),
  disclosures: (parseEvidence(file).disclosures ?? new Uint8Array(0)).length > 0,
});
