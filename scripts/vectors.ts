/**
 * `npm run vectors`: regenerates our golden vectors. Deterministic, so a diff afterwards is a format change and must be
 * reviewed. `test/vectors/cbor-appendix-a.json`, `merkle-inclusion.json` and `merkle-consistency.json` are not ours.
 */
import { writeFile } from "node:fs/promises";
import { vectorFiles as merkleVectorFiles } from "./vectors-merkle.ts";
import {
  evidenceVectorFiles,
  packVectorFiles,
  recordVectorFiles,
  valueVectorFiles,
} from "./vectors/files.ts";
import { projectionVectorFiles } from "./vectors/projections.ts";

const files = {
  ...recordVectorFiles(),
  ...valueVectorFiles(),
  ...projectionVectorFiles(),
  ...(await merkleVectorFiles()),
  ...(await evidenceVectorFiles()),
  ...(await packVectorFiles()),
};
for (const [name, content] of Object.entries(files)) {
  await writeFile(new URL(`../test/vectors/${name}`, import.meta.url), content);
}
