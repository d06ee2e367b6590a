/**
 * Wires the modules: the host functions of runs on Trust and Canon, and proposals on Canon. Called only by server.ts.
 */
import { modulePrefix } from "@sigil/core/record";
import { CanonServiceService } from "@sigil/proto/sigil/canon/v1/canon";
import { TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";
import type { QuorumService, RecordsService } from "../canon/service.ts";
import type { Config } from "../config/config.ts";
import type { CallContext, Caller } from "../identity/caller.ts";
import { authorize } from "../identity/permissions.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { CodeFiles } from "../modules/code-files.ts";
import type { HostedRun, HostFunctions } from "../modules/hosting.ts";
import type { Sandbox } from "../modules/sandbox/run.ts";
import type { RunningDependencies, RunQuestion } from "../modules/running.ts";
import { createModuleService, type ModuleDependencies, type ModuleService } from "../modules/service.ts";
import { fail } from "../errors.ts";
import { jsonView } from "@sigil/core/cbor";
import { readAction, readRecordId, readTarget } from "../rpc/message/fields.ts";
import type { CheckQuestion, Decision } from "../trust/decision.ts";
import type { TrustService } from "../trust/service.ts";

export type ModuleParts = {
  readonly config: Config;
  readonly ledger: Ledger;
  readonly trust: TrustService;
  readonly records: RecordsService;
  readonly quorum: QuorumService;
  readonly files: CodeFiles;
  readonly sandbox: Sandbox;
} & Pick<
  RunningDependencies,
  "randomBytes" | "newId" | "nowMs" | "monotonicMs" | "onRun" | "onFault" | "isStopping"
>;

const nothing = new Uint8Array(0);

const checkBy =
  (trust: TrustService) =>
  (
    caller: Caller,
    question: Pick<CheckQuestion, "action" | "target" | "session" | "input" | "minLevel">,
    call: CallContext,
  ): Promise<Decision> =>
    trust.check(caller, { ...question, subject: "", keepInput: false, idempotencyKey: "" }, call);

const decideBy = (trust: TrustService): RunningDependencies["decide"] => {
  const check = checkBy(trust);
  return async (caller, question: RunQuestion, call) => {
    const { chain, auditId, hash } = await check(caller, question, call);
    return { verdict: chain.verdict, reason: chain.reason, auditId, hash };
  };
};

/** A module's reads and checks are authorized like its caller's: by the RPC's level, and by a separate decision. */
const hostFunctions = (trust: TrustService, records: RecordsService): HostFunctions => {
  const check = checkBy(trust);
  const allowRead = async ({ caller, call, session }: HostedRun, id: string): Promise<void> => {
    authorize(caller, CanonServiceService.getRecord.path);
    // Validates the id first, so that no decision is recorded for an id that GetRecord would refuse.
    readRecordId(id, "id");
    const [action, target] = ["canon.read", `canon/user/${id}`];
    const { chain, auditId } = await check(caller, { action, target, session, input: nothing }, call);
    if (chain.verdict === "allow") return;
    fail({ kind: "denied", action, target, verdict: chain.verdict, why: chain.reason, auditId });
  };
  return {
    readRecord: async (run, id) => {
      await allowRead(run, id);
      const name = { id, space: "user", tenant: "" } as const;
      const { record, version } = await records.get(run.caller, name, { kind: "newest" });
      const { kind, payload } = record.body;
      return JSON.stringify({ id, version: Number(version), kind, payload: jsonView(payload) });
    },
    check: async ({ caller, call, session }, action, target) => {
      authorize(caller, TrustServiceService.check.path);
      const question = { action: readAction(action, "action"), target: readTarget(target, "target") };
      const { chain, auditId } = await check(caller, { ...question, session, input: nothing }, call);
      const { verdict, reason } = chain;
      return JSON.stringify({ allowed: verdict === "allow", verdict, reason, audit_id: auditId });
    },
  };
};

const listVersions =
  (records: RecordsService): ModuleDependencies["listVersions"] =>
  (caller, { pageSize, pageToken, includeRetired }, signal) =>
    records.list(
      caller,
      {
        filter: {
          space: "system",
          tenant: "",
          kind: "module",
          idPrefix: modulePrefix,
          linkTarget: null,
          fromMs: undefined,
          untilMs: undefined,
          includeTombstones: includeRetired,
        },
        presentation: { view: "full", payloadMask: [] },
        pageSize,
        pageToken,
      },
      signal,
    );

export const wireModules = (parts: ModuleParts): ModuleService => {
  const { config, trust, records, quorum } = parts;
  return createModuleService({
    ...parts,
    caps: {
      wallMs: config.module_wall_ms_max,
      memoryPages: config.module_memory_pages_max,
      outputBytes: config.module_output_bytes_max,
      logBytes: config.module_log_bytes_max,
      inputBytes: config.module_input_bytes_max,
      hostCalls: config.module_host_calls_max,
    },
    decide: decideBy(trust),
    host: hostFunctions(trust, records),
    readVersion: quorum.systemRecord,
    listVersions: listVersions(records),
    propose: quorum.propose,
  });
};

/** Adds a rule to proposals: a module's code must be stored here and fit its manifest. */
export const withCodeCheck = (quorum: QuorumService, modules: ModuleService): QuorumService => ({
  ...quorum,
  propose: (caller, proposal, call) => {
    const { id, content } = proposal;
    if (!id.startsWith(modulePrefix) || content.kind !== "payload") {
      return quorum.propose(caller, proposal, call);
    }
    const checkAllowed = (allowed: CallContext) => modules.checkPayload(content.payload, caller, allowed);
    return quorum.propose(caller, { ...proposal, checkAllowed }, call);
  },
});
