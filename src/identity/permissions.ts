/**
 * The permission table: RPC → minimum level of access. Pure. RPCs not in the table need Root, so a new RPC is closed by
 * default. The proto comments state the same levels; a test compares them.
 */
import { fail } from "../errors.ts";
import type { Caller } from "./caller.ts";
import { isAtLeast, type Level } from "@sigil/core/record";

const LEVELS_NEEDED: ReadonlyMap<string, Level> = new Map<string, Level>([
  ["/sigil.trust.v1.TrustService/Check", "guest"],
  ["/sigil.trust.v1.TrustService/BatchCheck", "guest"],
  ["/sigil.trust.v1.TrustService/StreamChecks", "guest"],
  ["/sigil.trust.v1.TrustService/GetActiveModel", "observer"],
  ["/sigil.trust.v1.TrustService/Simulate", "observer"],
  ["/sigil.audit.v1.AuditService/GetFrozenChain", "guest"],
  ["/sigil.audit.v1.AuditService/ListFrozenChains", "observer"],
  ["/sigil.audit.v1.AuditService/VerifyFrozenChain", "guest"],
  ["/sigil.audit.v1.AuditService/ReplayDecision", "guest"],
  ["/sigil.audit.v1.AuditService/GetCheckpoint", "guest"],
  ["/sigil.audit.v1.AuditService/GetInclusionProof", "guest"],
  ["/sigil.audit.v1.AuditService/GetConsistencyProof", "guest"],
  ["/sigil.audit.v1.AuditService/GetEvidence", "guest"],
  ["/sigil.audit.v1.AuditService/ProveCompleteness", "guest"],
  ["/sigil.audit.v1.AuditService/GetTile", "guest"],
  ["/sigil.canon.v1.CanonService/WriteRecord", "operator"],
  ["/sigil.canon.v1.CanonService/BatchWriteRecords", "operator"],
  ["/sigil.canon.v1.CanonService/GetRecord", "observer"],
  ["/sigil.canon.v1.CanonService/ListRecords", "observer"],
  ["/sigil.canon.v1.CanonService/StreamRecords", "observer"],
  ["/sigil.canon.v1.CanonService/ListHistory", "observer"],
  ["/sigil.canon.v1.CanonService/Watch", "observer"],
  ["/sigil.canon.v1.CanonService/ProposeRecord", "mentor"],
  ["/sigil.canon.v1.CanonService/GetProposal", "observer"],
  ["/sigil.canon.v1.CanonService/ListProposals", "observer"],
  ["/sigil.canon.v1.CanonService/AttestProposal", "guest"],
  ["/sigil.canon.v1.CanonService/CommitProposal", "mentor"],
  ["/sigil.canon.v1.CanonService/WithdrawProposal", "mentor"],
  ["/sigil.canon.v1.CanonService/GetSystemRecord", "observer"],
  ["/sigil.canon.v1.WitnessService/ListWitnesses", "guest"],
  ["/sigil.canon.v1.WitnessService/ProposeWitnessChange", "mentor"],
  ["/sigil.canon.v1.WitnessService/GetQuorum", "guest"],
  // The trust model decides about a run, with the module's own level as a minimum.
  ["/sigil.module.v1.ModuleService/Run", "guest"],
  ["/sigil.module.v1.ModuleService/RunStream", "guest"],
  ["/sigil.module.v1.ModuleService/GetModule", "observer"],
  ["/sigil.module.v1.ModuleService/ListModules", "observer"],
  ["/sigil.module.v1.ModuleService/ProposeModule", "mentor"],
  ["/sigil.module.v1.ModuleService/RetireModule", "mentor"],
  ["/sigil.identity.v1.PrincipalService/SuspendPrincipal", "mentor"],
  ["/sigil.identity.v1.PrincipalService/WithdrawFeedGrant", "root"],
  // Below Mentor only for the caller itself.
  ["/sigil.identity.v1.PrincipalService/GetPrincipal", "guest"],
  ["/sigil.identity.v1.PrincipalService/ListPrincipals", "guest"],
  ["/sigil.key.v1.KeyService/ListKeys", "root"],
  ["/sigil.key.v1.KeyService/RotateKey", "root"],
  ["/sigil.key.v1.KeyService/RetireKey", "root"],
  ["/sigil.key.v1.KeyService/ListKeyRecords", "guest"],
  ["/sigil.key.v1.KeyService/ListDataKeys", "root"],
  ["/sigil.key.v1.KeyService/RotateDataKey", "root"],
  ["/sigil.backup.v1.BackupService/Backup", "root"],
  ["/sigil.backup.v1.BackupService/Inspect", "root"],
  // It asks about other subjects, which needs as much as such a check.
  ["/envoy.service.auth.v3.Authorization/Check", "operator"],
  ["/grpc.health.v1.Health/Check", "guest"],
  ["/grpc.health.v1.Health/List", "guest"],
  ["/grpc.health.v1.Health/Watch", "guest"],
  ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "guest"],
  ["/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "guest"],
]);

/** @param rpc the full path, `/package.Service/Method`. */
export const requiredLevel = (rpc: string): Level => LEVELS_NEEDED.get(rpc) ?? "root";

/** What a feed grant opens beside what a Guest may call: reading the feed, and nothing else. */
const feedRpc = "/sigil.canon.v1.CanonService/Watch";

/** @throws levelTooLow naming the required level. */
export const authorize = (caller: Caller, rpc: string): void => {
  if (rpc === feedRpc && caller.feed !== undefined) return;
  const needed = requiredLevel(rpc);
  if (!isAtLeast(caller.level, needed)) fail({ kind: "levelTooLow", rpc, needed, actual: caller.level });
};
