/**
 * Path templates of `google.api.http`, and how a request's path is matched with them: literals byte for byte, each
 * captured part decoded once. A path has at most one template, and a name at most one path of it. Pure. Source:
 * google/api/http.proto, "Path template syntax".
 */
import { invalidField } from "../../errors.ts";

/** `**` takes one segment or more, `*` just one. Neither is followed by a verb. */
type Part =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "one" | "rest"; readonly field: string };

export type Template = {
  readonly text: string;
  /** Only the last may be "rest". */
  readonly parts: readonly Part[];
};

/** A field by its path, and the path segments that it captures, still percent-encoded. */
export type Capture = { readonly field: string; readonly segments: readonly string[] };

const shape = /^(?:\/(?:[a-z][a-z_-]*|\{[a-z_.]+(?:=\*\*)?\}))+(?::[a-z]+)?$/;

/**
 * @throws Error for what the gateway does not serve: a verb after a variable, a variable that takes segments before the
 * end.
 */
export const parseTemplate = (text: string): Template => {
  const parts = text.split("/").slice(1).map(parsePart);
  const restAt = parts.findIndex(({ kind }) => kind === "rest");
  if (!shape.test(text) || (restAt >= 0 && restAt < parts.length - 1) || /\}:/.test(text)) {
    throw new Error(`no template that is served: ${text}`);
  }
  return { text, parts };
};

const parsePart = (text: string): Part => {
  const [, field, stars] = /^\{([a-z_.]+)(=\*\*)?\}$/.exec(text) ?? [];
  if (field === undefined) return { kind: "literal", text };
  return { kind: stars === undefined ? "one" : "rest", field };
};

/** @param segments of a path, encoded. @returns undefined when it is another path. */
export const matchTemplate = (
  { parts }: Template,
  segments: readonly string[],
): readonly Capture[] | undefined => {
  const last = parts.at(-1);
  if (last?.kind === "rest" ? segments.length < parts.length : segments.length !== parts.length)
    return undefined;
  const captures: Capture[] = [];
  for (const [index, part] of parts.entries()) {
    const segment = segments[index] ?? "";
    if (part.kind === "literal") {
      if (part.text !== segment) return undefined;
    } else {
      captures.push({ field: part.field, segments: part.kind === "one" ? [segment] : segments.slice(index) });
    }
  }
  return captures;
};

/** Whether some path is matched by both. */
export const overlap = (a: Template, b: Template): boolean => {
  const aRest = a.parts.at(-1)?.kind === "rest";
  const bRest = b.parts.at(-1)?.kind === "rest";
  const [aCount, bCount] = [a.parts.length, b.parts.length];
  if (aRest ? !bRest && bCount < aCount : bRest ? aCount < bCount : aCount !== bCount) return false;
  return a.parts.slice(0, bCount).every((part, index) => {
    const other = b.parts[index];
    return part.kind !== "literal" || other?.kind !== "literal" || part.text === other.text;
  });
};

/** Which of two that overlap a path belongs to: the one with the earlier literal. Negative for `a`. */
export const compareTemplates = (a: Template, b: Template): number => {
  for (const [index, part] of a.parts.entries()) {
    const other = b.parts[index];
    if (other === undefined) return 1;
    const [mine, others] = [part.kind === "literal", other.kind === "literal"];
    if (mine !== others) return mine ? -1 : 1;
  }
  return a.parts.length - b.parts.length;
};

const escape = /%(?![0-9A-Fa-f]{2})/;

/** Percent-decoding, once. @throws invalidField. */
export const decodePart = (field: string, text: string): string => {
  const refuse = (rule: string): never => invalidField(field, rule);
  if (escape.test(text)) return refuse("must have two hexadecimal digits after each % in the URL");
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse("must be UTF-8 in the URL");
  }
};

/**
 * The text that a field is given by the path. A slash is written as a slash and no segment is empty or a dot segment,
 * so that every proxy on the way sees the path that is decided on. @throws invalidField.
 */
export const decodeCapture = ({ field, segments }: Capture): string => {
  const refuse = (rule: string): never => invalidField(field, rule);
  const decoded = segments.map((segment) => {
    const text = decodePart(field, segment);
    if (text === "") return refuse("must have no empty segment in the path");
    if (text === "." || text === "..") return refuse("must have no . or .. segment in the path");
    if (text.includes("/")) return refuse("must have its slashes unencoded in the path");
    return text;
  });
  return decoded.join("/");
};
