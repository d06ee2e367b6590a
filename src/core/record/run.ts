/** What the record of a module's run says, of whichever version, with what was disclosed of it. Pure. */
import { parseDigestValue, type Digested, type Disclosures } from "./commitment.ts";
import { parseModuleRun, parseModuleRun1, type RecordedRun } from "./kinds/module-run.ts";
import type { RecordBody } from "./record.ts";

const disclosed = (disclosures: Disclosures, path: string): Digested | undefined => {
  const opening = disclosures[path];
  return opening && parseDigestValue(opening.value, `disclosures.${path}.value`);
};

/** @param disclosures already checked against the record. @throws malformedRecord. */
export const readModuleRun = (
  { payload, schemaVersion }: Pick<RecordBody, "payload" | "schemaVersion">,
  disclosures: Disclosures = {},
): RecordedRun => {
  if (schemaVersion === 1) return parseModuleRun1(payload);
  const { input: _, output: __, usage, ...run } = parseModuleRun(payload);
  const [input, output] = [disclosed(disclosures, "input"), disclosed(disclosures, "output")];
  const inputBytes = input?.bytes ?? null;
  return {
    ...run,
    inputDigest: input?.digest ?? null,
    inputBytes,
    outputDigest: output?.digest ?? null,
    usage: usage && { ...usage, inputBytes, outputBytes: output?.bytes ?? null },
  };
};
