/** Principals, keys, modules and backups. */
import * as backup from "@sigil/proto/sigil/backup/v1/backup";
import * as principal from "@sigil/proto/sigil/identity/v1/principal";
import * as key from "@sigil/proto/sigil/key/v1/key";
import * as module from "@sigil/proto/sigil/module/v1/module";
import { callClientStream, callServerStream, type CallContext, type CallOptions } from "../call.ts";
import { judgeRunning, requireRan } from "../module/judge.ts";
import {
  completed,
  keyed,
  reading,
  serverStream,
  unary,
  type Partially,
  type ServerStream,
  type Unary,
} from "./method.ts";

export type BackupClient = {
  /** To resume an interrupted backup, start at the last complete checkpoint. */
  readonly backup: ServerStream<backup.BackupRequest, backup.BackupResponse>;
  /** To reattach after an interruption, call again with the id from the head. */
  readonly inspect: ServerStream<backup.InspectRequest, backup.InspectResponse>;
};

export type PrincipalClient = {
  /** Idempotent: returns an existing suspension. */
  readonly suspendPrincipal: Unary<principal.SuspendPrincipalRequest, principal.SuspendPrincipalResponse>;
  /** Repeatable: one that is withdrawn already is the answer. */
  readonly withdrawFeedGrant: Unary<principal.WithdrawFeedGrantRequest, principal.WithdrawFeedGrantResponse>;
  readonly getPrincipal: Unary<principal.GetPrincipalRequest, principal.GetPrincipalResponse>;
  readonly listPrincipals: Unary<principal.ListPrincipalsRequest, principal.ListPrincipalsResponse>;
};

export type KeyClient = {
  readonly listKeys: Unary<key.ListKeysRequest, key.ListKeysResponse>;
  readonly rotateKey: Unary<key.RotateKeyRequest, key.RotateKeyResponse>;
  readonly retireKey: Unary<key.RetireKeyRequest, key.RetireKeyResponse>;
  readonly listKeyRecords: Unary<key.ListKeyRecordsRequest, key.ListKeyRecordsResponse>;
  readonly listDataKeys: Unary<key.ListDataKeysRequest, key.ListDataKeysResponse>;
  readonly rotateDataKey: Unary<key.RotateDataKeyRequest, key.RotateDataKeyResponse>;
};

export type ModuleClient = {
  readonly run: Unary<module.RunRequest, module.RunResponse>;
  /** Ends with the result; without one it throws, and nothing that came before counts. */
  readonly runStream: ServerStream<module.RunStreamRequest, module.RunStreamResponse>;
  readonly getModule: Unary<module.GetModuleRequest, module.GetModuleResponse>;
  readonly listModules: Unary<module.ListModulesRequest, module.ListModulesResponse>;
  /** The manifest first, then the code in chunks. */
  readonly proposeModule: (
    parts:
      | AsyncIterable<Partially<module.ProposeModuleRequest>>
      | Iterable<Partially<module.ProposeModuleRequest>>,
    options?: CallOptions,
  ) => Promise<module.ProposeModuleResponse>;
  readonly retireModule: Unary<module.RetireModuleRequest, module.RetireModuleResponse>;
};

export const backupClient = (stub: backup.BackupServiceClient, context: CallContext): BackupClient => ({
  backup: serverStream(context, backup.BackupRequest, stub.backup.bind(stub)),
  inspect: serverStream(context, backup.InspectRequest, stub.inspect.bind(stub)),
});

export const principalClient = (
  stub: principal.PrincipalServiceClient,
  context: CallContext,
): PrincipalClient => ({
  suspendPrincipal: reading(context, principal.SuspendPrincipalRequest, stub.suspendPrincipal.bind(stub)),
  withdrawFeedGrant: reading(context, principal.WithdrawFeedGrantRequest, stub.withdrawFeedGrant.bind(stub)),
  getPrincipal: reading(context, principal.GetPrincipalRequest, stub.getPrincipal.bind(stub)),
  listPrincipals: reading(context, principal.ListPrincipalsRequest, stub.listPrincipals.bind(stub)),
});

export const keyClient = (stub: key.KeyServiceClient, context: CallContext): KeyClient => ({
  listKeys: reading(context, key.ListKeysRequest, stub.listKeys.bind(stub)),
  rotateKey: unary(context, key.RotateKeyRequest, stub.rotateKey.bind(stub)),
  retireKey: unary(context, key.RetireKeyRequest, stub.retireKey.bind(stub)),
  listKeyRecords: reading(context, key.ListKeyRecordsRequest, stub.listKeyRecords.bind(stub)),
  listDataKeys: reading(context, key.ListDataKeysRequest, stub.listDataKeys.bind(stub)),
  rotateDataKey: unary(context, key.RotateDataKeyRequest, stub.rotateDataKey.bind(stub)),
});

export const moduleClient = (stub: module.ModuleServiceClient, context: CallContext): ModuleClient => ({
  run: unary(context, module.RunRequest, stub.run.bind(stub), { after: requireRan }),
  runStream: (request, options) => {
    const asked = module.RunStreamRequest.fromPartial(request);
    const parts = callServerStream(stub.runStream.bind(stub), asked, context, options);
    return judgeRunning(asked.run ?? module.RunRequest.create(), parts);
  },
  getModule: reading(context, module.GetModuleRequest, stub.getModule.bind(stub)),
  listModules: reading(context, module.ListModulesRequest, stub.listModules.bind(stub)),
  proposeModule: (parts, options) =>
    callClientStream<module.ProposeModuleRequest, module.ProposeModuleResponse>(
      stub.proposeModule.bind(stub),
      completed<module.ProposeModuleRequest>(module.ProposeModuleRequest, parts),
      context,
      options,
    ),
  retireModule: keyed(context, module.RetireModuleRequest, stub.retireModule.bind(stub)),
});
