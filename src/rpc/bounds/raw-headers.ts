/**
 * Checks a call's raw headers before grpc-js reads them. grpc-js drops (and prints) values that are not printable
 * ASCII, and of two `authorization` values node:http2 keeps only the first: a caller with a malformed credential would
 * be served without it. Such headers are marked as malformed here, so that the call is refused. Values with control
 * characters are dropped by nghttp2 and cannot be detected.
 */
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream, ServerOptions } from "node:http2";
import { assert } from "../../errors.ts";

/** Headers that must not be ignored: credentials, and the limits of the call. */
const neverIgnored: ReadonlySet<string> = new Set(["authorization", "grpc-timeout", "sigil-reply-bytes-max"]);
/** Names under which a token might be sent by mistake. */
const misnamed: ReadonlySet<string> = new Set(["authorization-bin"]);

/** Replaces a malformed value; not a valid token, timeout or number. */
const malformed = "malformed";

const legalName = /^[:0-9a-z_.-]+$/;
/** Values that grpc-js accepts, without surrounding white space. */
const legalValue = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;

const isLegal = (name: string, value: string): boolean => legalName.test(name) && legalValue.test(value);

/** @param raw names and values alternating, as received. */
const judgeHeaders = (headers: IncomingHttpHeaders, raw: readonly string[]): void => {
  let authorizations = 0;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const [name = "", value = ""] = [raw[at], raw[at + 1]];
    if (name === "authorization") authorizations += 1;
    if (misnamed.has(name)) headers.authorization = malformed;
    if (isLegal(name, value)) continue;
    if (neverIgnored.has(name)) headers[name] = malformed;
    else if (!name.startsWith(":")) delete headers[name];
  }
  if (authorizations > 1) headers.authorization = malformed;
};

type SetUp = (http2Server: Http2Server, ...rest: readonly unknown[]) => void;

/** The method that sets up each HTTP/2 server of grpc-js before it listens. */
const setUpName = "_setupHandlers";

type Inside = {
  readonly commonServerOptions?: ServerOptions & { strictFieldWhitespaceValidation?: boolean };
  [setUpName]?: SetUp;
};

/** Hooks into grpc-js internals, since it has no API for this. Call it before the server is bound. */
export const watchRawHeaders = (server: object): void => {
  const inside: Inside = server;
  const { commonServerOptions: options, [setUpName]: setUp } = inside;
  assert(options !== undefined, "grpc-js keeps its HTTP/2 options elsewhere");
  assert(setUp !== undefined, "grpc-js sets its HTTP/2 servers up elsewhere");
  // Otherwise headers with surrounding white space would be dropped silently.
  options.strictFieldWhitespaceValidation = false;
  inside[setUpName] = (http2Server, ...rest) => {
    http2Server.on(
      "stream",
      (_stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw?: readonly string[]) =>
        judgeHeaders(headers, raw ?? []),
    );
    setUp.call(server, http2Server, ...rest);
  };
};
