/** The module service: run, get, list, propose and retire modules. Implemented with running.ts and proposing.ts. */
import { fail, invalidField } from "../errors.ts";
import type { CborValue } from "@sigil/core/cbor";
import { parseModule, type ModulePayload, modulePrefix } from "@sigil/core/record";
import type { CallContext, Caller } from "../identity/caller.ts";
import type { ProjectionLedger } from "../ledger/feed.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Proposed, SystemRecord, VersionedRecord } from "../canon/domain.ts";
import type { CodeFiles } from "./code-files.ts";
import type {
  ApprovedModule,
  Manifest,
  Module,
  ModulePage,
  ModuleQuery,
  ProposedCode,
  Retirement,
  RunAsked,
  RunDone,
} from "./domain.ts";
import { checkModule, parseCapabilities } from "./sandbox/limits.ts";
import { proposeCode, proposeRetirement, type ProposingDependencies } from "./proposing.ts";
import type { InspectionRequest } from "./sandbox/run.ts";
import { ModuleRegistry, type Standing } from "./registry.ts";
import { Running, type RunningDependencies, type RunWatch } from "./running.ts";

export type ModuleService = AsyncDisposable & {
  /** The run's record is durable when it resolves. `watch` receives log and output before that. */
  readonly run: (caller: Caller, asked: RunAsked, call: CallContext, watch?: RunWatch) => Promise<RunDone>;
  /** @param version 0n for the newest. @throws notFound, recordCorrupt. */
  readonly get: (name: string, version: bigint) => Promise<ApprovedModule>;
  /** @throws invalidPageToken, recordCorrupt. */
  readonly list: (caller: Caller, query: ModuleQuery, signal: AbortSignal) => Promise<ModulePage>;
  readonly propose: (
    caller: Caller,
    manifest: Manifest,
    code: AsyncIterable<Uint8Array>,
    call: CallContext,
  ) => Promise<ProposedCode>;
  /** Checks that a payload names stored code that fits it. @throws invalidField, malformedModule, malformedRecord. */
  readonly checkPayload: (payload: CborValue, caller: Caller, call: CallContext) => Promise<void>;
  readonly retire: (caller: Caller, retirement: Retirement, call: CallContext) => Promise<Proposed>;
};

export type ModuleDependencies = Omit<RunningDependencies, "ledger" | "registry" | "closing"> &
  Pick<ProposingDependencies, "propose"> & {
    readonly ledger: Pick<Ledger, "append"> & ProjectionLedger<"head">;
    readonly files: CodeFiles;
    readonly readVersion: (id: string, version: bigint) => Promise<SystemRecord>;
    /** The newest version of each, by id. */
    readonly listVersions: (
      caller: Caller,
      query: ModuleQuery,
      signal: AbortSignal,
    ) => Promise<{ readonly records: readonly VersionedRecord[]; readonly nextPageToken: string }>;
  };

/** Checks code completely before it is proposed to a quorum. */
const checkCodeWith =
  ({ sandbox, caps }: Pick<RunningDependencies, "sandbox" | "caps">) =>
  async (request: InspectionRequest, manifest: ModulePayload): Promise<void> => {
    const capabilities = parseCapabilities(manifest.capabilities, "manifest.capabilities");
    checkModule(await sandbox.inspect(request), capabilities, { ...caps, ...manifest.limits });
  };

class Modules implements ModuleService {
  readonly #deps: ModuleDependencies;
  readonly #registry: ModuleRegistry;
  readonly #running: Running;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(deps: ModuleDependencies) {
    this.#deps = deps;
    this.#registry = new ModuleRegistry(deps);
    this.#running = new Running({
      ...deps,
      registry: this.#registry,
      closing: this.#closing.signal,
    });
  }

  run(caller: Caller, asked: RunAsked, call: CallContext, watch?: RunWatch): Promise<RunDone> {
    const running = this.#running.run(caller, asked, call, watch);
    const ended = running.catch(() => {});
    this.#underWay.add(ended);
    void ended.finally(() => this.#underWay.delete(ended));
    return running;
  }

  async get(name: string, version: bigint): Promise<ApprovedModule> {
    const id = modulePrefix + name;
    const newest = await this.#registry.find(id);
    if (newest === undefined) return fail({ kind: "notFound", what: "module", id: name });
    const isNewest = version === 0n || version === newest.approved.record.version;
    const standing = isNewest ? newest : await this.#registry.at(id, version);
    const { attestedBy, k, n, proposalId } = standing.approved;
    const module = await this.#describe(standing, isNewest);
    return { module, attestedBy, k, n, proposalId };
  }

  async list(caller: Caller, query: ModuleQuery, signal: AbortSignal): Promise<ModulePage> {
    const { records, nextPageToken } = await this.#deps.listVersions(caller, query, signal);
    const modules: Module[] = [];
    for (const { record, version } of records) {
      const { id } = record.body;
      const newest = await this.#registry.find(id);
      const isNewest = newest?.approved.record.version === version;
      // Pages show the ledger as of the start of the walk, without later commits.
      modules.push(await this.#describe(isNewest ? newest : await this.#registry.at(id, version), isNewest));
    }
    return { modules, nextPageToken };
  }

  propose(caller: Caller, manifest: Manifest, code: AsyncIterable<Uint8Array>, call: CallContext) {
    return proposeCode({ ...this.#deps, checkCode: checkCodeWith(this.#deps) }, caller, manifest, code, call);
  }

  async checkPayload(payload: CborValue, { tenant }: Caller, { signal }: CallContext): Promise<void> {
    const manifest = parseModule(payload);
    const bytes = async (): Promise<Uint8Array> => {
      const code = await this.#deps.files.read(manifest.digest);
      if (code.kind === "whole") return code.bytes;
      const rule = "must be the digest of code that is here; ModuleService.ProposeModule takes it in";
      return invalidField("payload.digest", rule);
    };
    await checkCodeWith(this.#deps)({ bytes, tenant, signal }, manifest);
  }

  retire(caller: Caller, retirement: Retirement, call: CallContext): Promise<Proposed> {
    return proposeRetirement(this.#deps, caller, retirement, call);
  }

  /** Kills running modules; their records are durable when it resolves. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#underWay);
  }

  async #describe({ approved, payload }: Standing, isNewest: boolean): Promise<Module> {
    const { record, version, tombstone } = approved.record;
    return {
      name: record.body.id.slice(modulePrefix.length),
      version,
      payload,
      active: isNewest && !tombstone,
      retired: tombstone,
      recordHash: record.hash,
      position: record.position,
      timeMs: record.body.ts,
      codeBytes: await this.#deps.files.sizeOf(payload.digest),
    };
  }
}

export const createModuleService = (deps: ModuleDependencies): ModuleService => new Modules(deps);
