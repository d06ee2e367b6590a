/** The program of a schema thread: compiles JSON Schemas and validates payloads, one request at a time. */
import { parentPort } from "node:worker_threads";
import { BoundedMap } from "../../identity/bounded-map.ts";
import { cborDecode } from "@sigil/core/cbor";
import { assert, SigilFault } from "../../errors.ts";
import { jsonSchemaCacheEntriesMax } from "../../limits.ts";
import { compileSchema, type CompiledSchema } from "./json-schema.ts";
import type { SchemaAnswer, SchemaReady, SchemaRequest } from "./schema-messages.ts";

const port = parentPort;
assert(port !== null, "this program runs in a thread of its own");

const compiled = new BoundedMap<string, CompiledSchema>(jsonSchemaCacheEntriesMax);

const schemaOf = ({ key, schema, onSlowPattern }: SchemaRequest): CompiledSchema => {
  const known = compiled.get(`${onSlowPattern} ${key}`);
  if (known !== undefined) return known;
  const made = compileSchema(cborDecode(schema), onSlowPattern);
  compiled.set(`${onSlowPattern} ${key}`, made);
  return made;
};

const answer = (request: SchemaRequest): SchemaAnswer => {
  try {
    const schema = schemaOf(request);
    if (request.payload === null) return { kind: "sound" };
    const rule = schema.refusalOf(cborDecode(request.payload));
    return rule === null ? { kind: "sound" } : { kind: "refused", rule };
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "malformedRecord") {
      return { kind: "badSchema", field: error.error.field, rule: error.error.rule };
    }
    return { kind: "failed", rule: error instanceof Error ? error.message : "unknown" };
  }
};

port.postMessage({ kind: "ready" } satisfies SchemaReady);
port.on("message", (request: SchemaRequest) => port.postMessage(answer(request)));
