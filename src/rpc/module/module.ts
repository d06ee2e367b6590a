/** ModuleService over gRPC: converts requests to runs and proposals, and runs and modules to replies. */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import {
  ModuleServiceService as Modules,
  type GetModuleRequest,
  type GetModuleResponse,
  type ListModulesRequest,
  ListModulesResponse,
  Module as ModuleMessage,
  type ProposeModuleRequest,
  type ProposeModuleResponse,
  type RetireModuleRequest,
  type RetireModuleResponse,
  type RunRequest,
  RunResponse,
  type RunStreamRequest,
  type RunStreamResponse,
} from "@sigil/proto/sigil/module/v1/module";
import type { Module, ModuleQuery, RunAsked, RunDone } from "../../modules/domain.ts";
import type { ModuleService } from "../../modules/service.ts";
import { utf8Decode } from "@sigil/core/bytes";
import type { CallContext, Caller } from "../../identity/caller.ts";
import { formatProposal } from "../canon/messages.ts";
import { clientStreaming } from "../call/client-stream.ts";
import type { RpcEnvironment } from "../call/environment.ts";
import { readGetModule, readModuleQuery, readRetirement, readRun, readRunOf, readUpload } from "./fields.ts";
import { answerPage, fitOne, replyLimitOf } from "../bounds/reply-limit.ts";
import { piecesOf } from "../bounds/shorter.ts";
import { serverStreaming } from "../call/server-stream.ts";
import { unary } from "../call/unary.ts";
import { formatLevel, formatTime } from "../message/vocabulary.ts";

const formatModule = (module: Module): ModuleMessage => ({
  name: module.name,
  version: module.version,
  digest: module.payload.digest,
  minLevel: formatLevel(module.payload.minLoa),
  capabilities: [...module.payload.capabilities],
  limits: { ...module.payload.limits },
  active: module.active,
  retired: module.retired,
  recordHash: module.recordHash,
  ledgerPosition: module.position,
  time: formatTime(module.timeMs),
  codeBytes: BigInt(module.codeBytes),
});

/** The bytes as text if they are JSON, else "". */
const jsonText = (output: Uint8Array): string => {
  try {
    const text = utf8Decode(output);
    JSON.parse(text);
    return text;
  } catch {
    return "";
  }
};

const formatDone = (done: RunDone): RunResponse => ({
  output: done.output,
  outputJson: jsonText(done.output),
  exitCode: done.exitCode,
  logTail: new TextDecoder().decode(done.logTail),
  usage: {
    ...done.usage,
    wallUs: BigInt(done.usage.wallUs),
    cpuUs: BigInt(done.usage.cpuUs),
    memoryBytesPeak: BigInt(done.usage.memoryBytesPeak),
  },
  limits: { ...done.limits },
  auditId: done.auditId,
  runId: done.runId,
  ledgerPosition: done.position,
  version: done.version,
  digest: done.digest,
  outputDigest: done.outputDigest,
});

const nothing = new Uint8Array(0);

/**
 * Streams log and output, then the result. Buffers at most the run's own limits of output and log for a slow reader;
 * cancellation aborts the run.
 */
async function* runParts(
  service: ModuleService,
  caller: Caller,
  asked: RunAsked,
  call: CallContext,
): AsyncGenerator<RunStreamResponse, void, undefined> {
  let waiting: RunStreamResponse[] = [];
  let wake = (): void => {};
  const put = ($case: "log" | "output", value: Uint8Array): void => {
    waiting.push({ part: { $case, value } });
    wake();
  };
  let ended = false;
  const running = service.run(caller, asked, call, {
    onOutput: (chunk) => put("output", chunk),
    onLog: (chunk) => put("log", chunk),
  });
  const settled = running.then(
    () => {},
    () => {},
  );
  void settled.then(() => {
    ended = true;
    wake();
  });
  while (!ended || waiting.length > 0) {
    if (waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve));
    const parts = waiting;
    waiting = [];
    for (const { part } of parts) {
      if (part?.$case !== "log" && part?.$case !== "output") continue;
      for (const value of piecesOf(part.value, replyLimitOf(call)))
        yield { part: { $case: part.$case, value } };
    }
  }
  const done = await running;
  yield {
    part: { $case: "result", value: { ...formatDone(done), output: nothing, outputJson: "", logTail: "" } },
  };
}

const runHandlers = (service: ModuleService, rpc: RpcEnvironment): UntypedServiceImplementation => ({
  run: unary<RunRequest, RunResponse>(rpc, Modules.run.path, async (caller, request, call) =>
    fitOne(
      RunResponse,
      formatDone(await service.run(caller, readRun(request), call)),
      [(done) => ({ ...done, outputJson: "" })],
      replyLimitOf(call),
    ),
  ),
  runStream: serverStreaming<RunStreamRequest, RunStreamResponse>(
    rpc,
    Modules.runStream.path,
    (caller, { run }, call) => runParts(service, caller, readRunOf(run), call),
  ),
});

const recordHandlers = (service: ModuleService, rpc: RpcEnvironment): UntypedServiceImplementation => ({
  getModule: unary<GetModuleRequest, GetModuleResponse>(rpc, Modules.getModule.path, async (_, request) => {
    const { name, version } = readGetModule(request);
    const { module, attestedBy, k, n, proposalId } = await service.get(name, version);
    return { module: formatModule(module), attestedBy: [...attestedBy], k, n, proposalId };
  }),
  listModules: unary<ListModulesRequest, ListModulesResponse>(
    rpc,
    Modules.listModules.path,
    async (caller, request, call) => {
      const query = readModuleQuery(request);
      const list = async (asked: ModuleQuery): Promise<ListModulesResponse> => {
        const { modules, nextPageToken } = await service.list(caller, asked, call.signal);
        return { modules: modules.map(formatModule), nextPageToken };
      };
      const message = ListModulesResponse;
      return answerPage({ message, items: "modules", item: ModuleMessage, query, list }, call);
    },
  ),
  proposeModule: clientStreaming<ProposeModuleRequest, ProposeModuleResponse>(
    rpc,
    Modules.proposeModule.path,
    async (caller, requests, call) => {
      const { manifest, code } = await readUpload(requests);
      const { proposed, digest, codeBytes } = await service.propose(caller, manifest, code, call);
      const { proposal, auditId } = proposed;
      return { proposal: formatProposal(proposal), digest, codeBytes: BigInt(codeBytes), auditId };
    },
  ),
  retireModule: unary<RetireModuleRequest, RetireModuleResponse>(
    rpc,
    Modules.retireModule.path,
    async (caller, request, call) => {
      const { proposal, auditId } = await service.retire(caller, readRetirement(request), call);
      return { proposal: formatProposal(proposal), auditId };
    },
  ),
});

export const moduleHandlers = (
  service: ModuleService,
  rpc: RpcEnvironment,
): UntypedServiceImplementation => ({
  ...runHandlers(service, rpc),
  ...recordHandlers(service, rpc),
});
