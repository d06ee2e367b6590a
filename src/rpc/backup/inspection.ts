/** BackupService.Inspect over gRPC: streams an inspection's progress and report. */
import type { InspectRequest, InspectResponse } from "@sigil/proto/sigil/backup/v1/backup";
import { InspectionStep } from "@sigil/proto/sigil/backup/v1/backup";
import type { InspectionPart, InspectionService } from "../../deployment/backup/inspection.ts";
import { invalidField } from "../../errors.ts";
import { inspectionIdBytes } from "../../limits.ts";
import type { StreamAnswer } from "../call/server-stream.ts";

const STEPS = {
  rebuild: InspectionStep.INSPECTION_STEP_UNSPECIFIED,
  records: InspectionStep.INSPECTION_STEP_RECORDS,
  indexes: InspectionStep.INSPECTION_STEP_INDEXES,
} as const;

const formatPart = (part: InspectionPart): InspectResponse => {
  switch (part.kind) {
    case "head": {
      const { id, origin, size, checkpoint } = part.head;
      return {
        part: { $case: "head", value: { inspectionId: id, origin, ledgerSize: size, checkpoint } },
      };
    }
    case "progress": {
      const { step, done, total } = part.progress;
      return { part: { $case: "progress", value: { step: STEPS[step], done, total } } };
    }
    case "finding": {
      const { position, step, rule } = part.problem;
      return { part: { $case: "finding", value: { position: position ?? undefined, step, rule } } };
    }
    case "erased":
      return { part: { $case: "erased", value: part.tenant } };
    case "end":
      return { part: { $case: "end", value: { found: BigInt(part.found), recordsRead: part.size } } };
  }
};

async function* messages(parts: AsyncIterable<InspectionPart>): AsyncGenerator<InspectResponse> {
  for await (const part of parts) yield formatPart(part);
}

const idPattern = /^[0-9a-f-]+$/;

const readInspectionId = (id: string): string => {
  if (id === "" || (id.length === inspectionIdBytes && idPattern.test(id))) return id;
  return invalidField("inspection_id", "must be one that a head gave, or empty");
};

export const inspectAnswer =
  (inspections: InspectionService): StreamAnswer<InspectRequest, InspectResponse> =>
  (caller, { inspectionId }, call) =>
    messages(inspections.inspect(caller, readInspectionId(inspectionId), call.signal));
