/** The committed FileDescriptorSet of all protos. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Relative to the sources, and to dist/src/ in the published package. */
const descriptorPaths = ["../../generated/descriptors.binpb", "../../../generated/descriptors.binpb"];

export const readDescriptors = (): Uint8Array => {
  const paths = descriptorPaths.map((path) => fileURLToPath(new URL(path, import.meta.url)));
  return readFileSync(paths.find((path) => existsSync(path)) ?? paths[0] ?? "");
};
