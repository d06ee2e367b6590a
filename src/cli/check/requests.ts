/**
 * A file of check requests, JSON Lines: `{"action": "…", "target": "…", "subject": "…", "session": "…", "input": …}`.
 * Text input is sent unchanged, other JSON values as compact JSON; `input_base64` takes bytes. At most
 * `requestLinesMax` lines; empty lines are skipped.
 */
import { RecordProof, type CheckRequest } from "@sigil/client";
import { nearest } from "../../config/nearest.ts";
import { fromBase64, utf8Encode } from "@sigil/core/bytes";
import { usage } from "../terminal/command.ts";

export type NumberedRequest = { readonly line: number; readonly request: CheckRequest };

const requestLinesMax = 1_000_000;

const textFields = ["action", "target", "subject", "session", "idempotency_key"] as const;
const fields: readonly string[] = [...textFields, "input", "input_base64", "keep_input", "disclose"];

const emptyRequest: CheckRequest = {
  action: "",
  target: "",
  subject: "",
  session: "",
  input: new Uint8Array(0),
  keepInput: false,
  disclose: false,
  proof: RecordProof.RECORD_PROOF_UNSPECIFIED,
  idempotencyKey: "",
};

type Line = Readonly<Record<string, unknown>>;

const parseObject = (text: string, line: number): Line => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return usage(`line ${line} is not JSON`);
  }
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Line) : usage(`line ${line} must be a JSON object`);
};

const readInput = (given: Line, line: number): Uint8Array => {
  const { input, input_base64: base64 } = given;
  if (input !== undefined && base64 !== undefined) usage(`line ${line} has both input and input_base64`);
  if (input !== undefined) return utf8Encode(typeof input === "string" ? input : JSON.stringify(input));
  if (base64 === undefined) return emptyRequest.input;
  try {
    return fromBase64(typeof base64 === "string" ? base64 : "?");
  } catch {
    return usage(`line ${line}: input_base64 must be base64`);
  }
};

/** @throws usage naming the line. */
const parseRequest = (text: string, line: number): CheckRequest => {
  const given = parseObject(text, line);
  for (const name of Object.keys(given)) {
    if (!fields.includes(name)) {
      usage(`line ${line}: "${name}" is not a field of a request; did you mean "${nearest(name, fields)}"?`);
    }
  }
  const textOf = (name: (typeof textFields)[number]): string => {
    const value = given[name] ?? "";
    return typeof value === "string" ? value : usage(`line ${line}: ${name} must be text`);
  };
  const flagOf = (name: string): boolean => {
    const value = given[name] ?? false;
    return typeof value === "boolean" ? value : usage(`line ${line}: ${name} must be true or false`);
  };
  return {
    action: textOf("action"),
    target: textOf("target"),
    subject: textOf("subject"),
    session: textOf("session"),
    idempotencyKey: textOf("idempotency_key"),
    input: readInput(given, line),
    keepInput: flagOf("keep_input"),
    disclose: flagOf("disclose"),
    proof: RecordProof.RECORD_PROOF_UNSPECIFIED,
  };
};

/** @throws usage naming the first invalid line. */
export const parseRequests = (content: string): readonly NumberedRequest[] => {
  const lines = content.split("\n");
  if (lines.length > requestLinesMax) usage(`a file may hold ${requestLinesMax} lines`);
  const requests = lines.flatMap((text, index) =>
    text.trim() === "" ? [] : [{ line: index + 1, request: parseRequest(text, index + 1) }],
  );
  return requests.length > 0 ? requests : usage("the file holds no request");
};
