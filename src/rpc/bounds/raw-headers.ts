/**
 * Judges a call's headers as they came, before grpc-js reads them. It drops, and prints in full, a value that is not
 * printable ASCII, and of two `authorization` values node:http2 keeps the first: a caller who offers proof would be
 * served without it. What is offered and malformed is marked here, so that it is refused. What nghttp2 drops, a value
 * with a control character, nobody sees.
 */
import type { Http2Server, IncomingHttpHeaders, ServerHttp2Stream, ServerOptions } from "node:http2";
import { assert } from "../../errors.ts";

/** Proof, and what bounds the call: ignored, they would give the caller something else than it asked for. */
const neverIgnored: ReadonlySet<string> = new Set(["authorization", "grpc-timeout", "sigil-reply-bytes-max"]);
/** Names under which somebody might offer a token, and nobody looks. */
const misnamed: ReadonlySet<string> = new Set(["authorization-bin"]);

/** What stands for a malformed value: no token, no timeout and no number. */
const malformed = "malformed";

const legalName = /^[:0-9a-z_.-]+$/;
/** What grpc-js takes, without outer white space. */
const legalValue = /^(?:[!-~](?:[ -~]*[!-~])?)?$/;

const isLegal = (name: string, value: string): boolean => legalName.test(name) && legalValue.test(value);

/** @param raw names and values in turn, as they came. */
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

/** What every HTTP/2 server of grpc-js goes through before it listens. */
const setUpName = "_setupHandlers";

type Inside = {
  readonly commonServerOptions?: ServerOptions & { strictFieldWhitespaceValidation?: boolean };
  [setUpName]?: SetUp;
};

/** Reaches into grpc-js, which has no place for this. To be called before the server is bound. */
export const watchRawHeaders = (server: object): void => {
  const inside: Inside = server;
  const { commonServerOptions: options, [setUpName]: setUp } = inside;
  assert(options !== undefined, "grpc-js keeps its HTTP/2 options elsewhere");
  assert(setUp !== undefined, "grpc-js sets its HTTP/2 servers up elsewhere");
  // Outer white space is shown to us, where it would be dropped with its header.
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
