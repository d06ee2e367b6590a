/**
 * The tiled log over HTTP: files below a prefix, each a call of AuditService.GetTile, so that identity, pacing, limits,
 * metrics and errors are those of any call. Source: C2SP tlog-tiles; docs/operating/tiles.md.
 */
import { AuditServiceService, GetTileRequest, GetTileResponse } from "@sigil/proto/sigil/audit/v1/audit";
import { parseTilePath } from "@sigil/core/merkle";
import { assert, SigilFault } from "../../errors.ts";
import { tilesCheckpointSecondsMax, tilesImmutableSeconds } from "../../limits.ts";
import { allowedMs } from "../../rpc/call/context.ts";
import type { RpcEnvironment } from "../../rpc/call/environment.ts";
import { problemAnswer, type Answer } from "../http/answer.ts";
import { timeoutMsOf } from "../http/headers.ts";
import { Refused, type Problem } from "../http/problem.ts";
import type { Arrived, Protocol } from "../http/protocol.ts";
import { hasBody, methodsOf, type Services, type Unary } from "../http/serving.ts";
import { Steps } from "../http/steps.ts";

export type TileFilesOptions = {
  readonly rpc: Pick<RpcEnvironment, "nowMs" | "deadlines">;
  readonly services: Services;
  /** A path; "/" for none. */
  readonly prefix: string;
  readonly readers: "authenticated" | "public";
  /** How often the checkpoint moves. */
  readonly checkpointMs: number;
};

/** Every resource has one path, so that no cache holds it twice. @throws Refused. */
const requireFile = (file: string): void => {
  if (file === "checkpoint") return;
  try {
    parseTilePath(file);
  } catch (error) {
    if (error instanceof SigilFault) throw new Refused("NO_SUCH_ROUTE", "a tiled log has no such file");
    throw error;
  }
};

export class TileFiles implements Protocol {
  readonly #options: TileFilesOptions;
  readonly #getTile: Unary;
  /** With a slash at its end. */
  readonly #base: string;
  readonly #checkpointHeaders: Answer["headers"];
  readonly #tileHeaders: Answer["headers"];

  constructor(options: TileFilesOptions) {
    this.#options = options;
    const method = methodsOf(options.services).get(AuditServiceService.getTile.path);
    assert(method?.kind === "unary", "tiles have no handler");
    this.#getTile = method;
    this.#base = options.prefix === "/" ? "/" : `${options.prefix}/`;
    const shared = options.readers === "public" ? "public" : "private";
    const checkpointSeconds = Math.min(tilesCheckpointSecondsMax, Math.ceil(options.checkpointMs / 1000));
    this.#checkpointHeaders = {
      "content-type": "text/plain; charset=utf-8",
      "cache-control": `${shared}, max-age=${checkpointSeconds}`,
    };
    this.#tileHeaders = {
      "content-type": "application/octet-stream",
      "cache-control": `${shared}, max-age=${tilesImmutableSeconds}, immutable`,
    };
  }

  readonly takes = (path: string): boolean =>
    path === `${this.#base}checkpoint` || path.startsWith(`${this.#base}tile/`);

  readonly problem = (problem: Problem): Answer => problemAnswer(problem, false);

  readonly answeredId = (_request: unknown, requestId: string): string => requestId;

  async answer({ request, response, path, metadata }: Arrived): Promise<Answer> {
    if (request.method !== "GET") throw new Refused("OTHER_METHOD", "the path takes GET", { allow: "GET" });
    if (hasBody(request)) throw new Refused("NOT_JSON", "GET takes no body", { connection: "close" });
    if (request.url !== path) throw new Refused("NO_SUCH_ROUTE", "a file of a tiled log has no query");
    const file = path.slice(this.#base.length);
    requireFile(file);
    const { nowMs, deadlines } = this.#options.rpc;
    const now = nowMs();
    const { deadlineMs } = allowedMs(now + (timeoutMsOf(request.rawHeaders) ?? Infinity), now, deadlines);
    const steps = new Steps(request, response, { metadata, deadlineMs: now + deadlineMs });
    const reply = await steps.call(this.#getTile, {
      bytes: () => GetTileRequest.encode({ path: file }).finish(),
      itemMetadata: () => undefined,
    });
    const headers = file === "checkpoint" ? this.#checkpointHeaders : this.#tileHeaders;
    return { status: 200, headers, text: GetTileResponse.decode(reply).content };
  }
}
