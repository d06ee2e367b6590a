/**
 * The commit policy: whether answers follow the local commit, or wait until cosignatures cover their records as well.
 * Everything is decided and recorded as without it. What waits is each answer, and whatever acts on a decision outside
 * the ledger: a module. Called only by server.ts and services.ts. Source: docs/operating/witness.md.
 */
import type { QuorumService, RecordsService } from "../canon/service.ts";
import type { CallContext } from "../identity/caller.ts";
import type { PrincipalService } from "../identity/directory/principal-service.ts";
import type { ModuleService } from "../modules/service.ts";
import type { TrustService } from "../trust/service.ts";

/**
 * Resolves when the record at a position may be answered for. @throws notCosigned, notServing, or why the call ended.
 */
export type Cover = (position: bigint, call: Pick<CallContext, "signal">) => Promise<void>;

/** Services whose answers may say what was decided. */
export type Answering = {
  readonly trust: TrustService;
  readonly records: RecordsService;
  readonly quorum: QuorumService;
  readonly directory: PrincipalService;
};

type Placed = { readonly position: bigint };

/** Below every position if there is none: nothing is waited for. */
const lastOf = (placed: readonly Placed[]): bigint =>
  placed.reduce((last, { position }) => (position > last ? position : last), -1n);

/** Answers once the last record of a step is covered. */
const answeringBy =
  (cover: Cover) =>
  async <Result>(
    call: CallContext,
    step: Promise<Result>,
    positionOf: (result: Result) => bigint,
  ): Promise<Result> => {
    const result = await step;
    await cover(positionOf(result), call);
    return result;
  };

/**
 * @param cover undefined where answers follow the commit.
 * @param newest the last position of the ledger: at or above everything that a step has written.
 */
export const withCommitPolicy = (
  { trust, records, quorum, directory }: Answering,
  cover: Cover | undefined,
  newest: () => bigint,
): Answering => {
  if (cover === undefined) return { trust, records, quorum, directory };
  const answer = answeringBy(cover);
  return {
    trust: {
      ...trust,
      check: (caller, question, call) =>
        answer(call, trust.check(caller, question, call), (it) => it.position),
      batchCheck: (caller, questions, key, call) =>
        answer(call, trust.batchCheck(caller, questions, key, call), (items) =>
          lastOf(items.flatMap((item) => (item.kind === "decided" ? [item.decision] : []))),
        ),
    },
    records: {
      ...records,
      write: (caller, write, key, call) =>
        answer(call, records.write(caller, write, key, call), ({ record }) => record.position),
      batchWrite: (caller, writes, key, call) =>
        answer(call, records.batchWrite(caller, writes, key, call), (written) =>
          lastOf(written.map(({ record }) => record)),
        ),
    },
    quorum: {
      ...quorum,
      propose: (caller, proposal, call) =>
        answer(call, quorum.propose(caller, proposal, call), (made) => made.proposal.position),
      proposeWitnessChange: (caller, proposal, call) =>
        answer(call, quorum.proposeWitnessChange(caller, proposal, call), (made) => made.proposal.position),
      attest: (id, statement, call) => answer(call, quorum.attest(id, statement, call), newest),
      commit: (caller, id, call) =>
        answer(call, quorum.commit(caller, id, call), ({ record: { record } }) => record.position),
      withdraw: (caller, id, reason, call) => answer(call, quorum.withdraw(caller, id, reason, call), newest),
    },
    directory: {
      ...directory,
      suspend: (caller, question, call) =>
        answer(call, directory.suspend(caller, question, call), ({ suspension }) => suspension.position),
      withdraw: (caller, principal, call) =>
        answer(call, directory.withdraw(caller, principal, call), (it) => it.position),
    },
  };
};

/** Its decisions wait by themselves, being those of an answering trust service; so do its proposals. */
export const coverModules = (modules: ModuleService, cover: Cover | undefined): ModuleService => {
  if (cover === undefined) return modules;
  const answer = answeringBy(cover);
  return {
    run: (caller, asked, call, watch) =>
      answer(call, modules.run(caller, asked, call, watch), (it) => it.position),
    get: (name, version) => modules.get(name, version),
    list: (caller, query, signal) => modules.list(caller, query, signal),
    propose: (caller, manifest, code, call) => modules.propose(caller, manifest, code, call),
    checkPayload: (payload, caller, call) => modules.checkPayload(payload, caller, call),
    retire: (caller, retirement, call) => modules.retire(caller, retirement, call),
    [Symbol.asyncDispose]: () => modules[Symbol.asyncDispose](),
  };
};
