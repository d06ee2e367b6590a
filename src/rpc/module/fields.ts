/** Validates ModuleService's fields by the rules in the proto comments. Errors use the proto's field names. */
import type {
  GetModuleRequest,
  ListModulesRequest,
  ModuleLimits,
  ModuleManifest,
  ProposeModuleRequest,
  RetireModuleRequest,
  RunRequest,
} from "@sigil/proto/sigil/module/v1/module";
import type { Manifest, ModuleQuery, Retirement, RunAsked } from "../../modules/domain.ts";
import { utf8Encode } from "@sigil/core/bytes";
import { invalidField, SigilFault } from "../../errors.ts";
import { recordIdBytesMax } from "@sigil/core/limits";
import { moduleCapabilitiesMax, moduleTitleBytesMax } from "../../limits.ts";
import { readHash, readLevel, readPageSize, readText } from "../message/fields.ts";
import { readPutting } from "../canon/proposal-fields.ts";

const nameShape = new RegExp(`^[a-z0-9][a-z0-9._-]{0,${moduleTitleBytesMax - 1}}$`);

const readName = (name: string, field = "name"): string =>
  nameShape.test(name)
    ? name
    : invalidField(
        field,
        `must be 1 to ${moduleTitleBytesMax} bytes of a-z, 0-9 and . _ -, and begin with a letter or digit`,
      );

const checkJson = (text: string): void => {
  try {
    JSON.parse(text);
  } catch {
    // Without the parser's message, which would quote the input.
    invalidField("input_json", "must be JSON");
  }
};

const readInput = (input: RunRequest["input"]): Uint8Array => {
  if (input === undefined) return new Uint8Array(0);
  if (input.$case === "inputBytes") return input.value;
  checkJson(input.value);
  return utf8Encode(input.value);
};

/** @throws invalidField. */
export const readRun = ({ name, version, digest, input, wallMs }: RunRequest): RunAsked => ({
  name: readName(name),
  version,
  digest: digest.length === 0 ? null : readHash(digest, "digest"),
  input: readInput(input),
  wallMs,
});

/** @throws invalidField. */
export const readRunOf = (run: RunRequest | undefined): RunAsked => {
  if (run === undefined) return invalidField("run", "must be given");
  try {
    return readRun(run);
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "invalidField") throw error;
    return invalidField(`run.${error.error.field}`, error.error.rule);
  }
};

/** @throws invalidField. */
export const readGetModule = ({ name, version }: GetModuleRequest) => ({ name: readName(name), version });

/** @throws invalidField. */
export const readModuleQuery = (request: ListModulesRequest): ModuleQuery => ({
  pageSize: readPageSize(request.pageSize),
  pageToken: request.pageToken,
  includeRetired: request.includeRetired,
});

const readLimits = (limits: ModuleLimits | undefined): Manifest["limits"] => {
  if (limits === undefined) return invalidField("manifest.limits", "must be given");
  const { wallMs, memoryPages, outputBytes } = limits;
  const named = { wall_ms: wallMs, memory_pages: memoryPages, output_bytes: outputBytes };
  for (const [name, value] of Object.entries(named)) {
    if (value === 0) invalidField(`manifest.limits.${name}`, "must be 1 or more");
  }
  return { wallMs, memoryPages, outputBytes };
};

const readCapabilities = (capabilities: readonly string[]): readonly string[] => {
  const field = "manifest.capabilities";
  if (capabilities.length > moduleCapabilitiesMax)
    invalidField(field, `must be at most ${moduleCapabilitiesMax}`);
  return capabilities.map((each, index) => readText(each, `${field}[${index}]`, recordIdBytesMax + 16));
};

const prefixed = <Value>(read: () => Value): Value => {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "invalidField") throw error;
    return invalidField(`manifest.${error.error.field}`, error.error.rule);
  }
};

const readManifest = (manifest: ModuleManifest): Manifest => ({
  ...prefixed(() => readPutting(manifest)),
  name: readName(manifest.name, "manifest.name"),
  minLevel: readLevel(manifest.minLevel, "manifest.min_level"),
  capabilities: readCapabilities(manifest.capabilities),
  limits: readLimits(manifest.limits),
  digest: manifest.digest.length === 0 ? null : readHash(manifest.digest, "manifest.digest"),
  expectedVersion: manifest.expectedVersion,
});

async function* chunksOf(parts: AsyncIterator<ProposeModuleRequest>): AsyncGenerator<Uint8Array> {
  for (let next = await parts.next(); next.done !== true; next = await parts.next()) {
    const { part } = next.value;
    if (part?.$case !== "chunk") return invalidField("part", "must be a chunk after the manifest");
    yield part.value;
  }
}

/** Reads the manifest, then streams the code. @throws invalidField. */
export const readUpload = async (
  requests: AsyncIterable<ProposeModuleRequest>,
): Promise<{ readonly manifest: Manifest; readonly code: AsyncIterable<Uint8Array> }> => {
  const parts = requests[Symbol.asyncIterator]();
  const first = await parts.next();
  const part = first.done === true ? undefined : first.value.part;
  if (part?.$case !== "manifest") return invalidField("part", "must be the manifest first");
  return { manifest: readManifest(part.value), code: chunksOf(parts) };
};

/** @throws invalidField. */
export const readRetirement = (request: RetireModuleRequest): Retirement => ({
  ...readPutting(request),
  name: readName(request.name),
  expectedVersion: request.expectedVersion,
});
